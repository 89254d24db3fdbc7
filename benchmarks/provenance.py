"""Where a result comes from: what the examples write beside it."""

import os.path as osp
import platform
import subprocess
from pathlib import Path

import torch


def processor():
    """Returns the name of the processor, as far as it is known."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if 'model name' in line]
    return names[0] if names else platform.machine()


def provenance(args, device, places=('root', 'run', 'json')):
    """Returns settings, commit and machine; places on this machine are no settings.

    Args:
        args: What the flags say.
        device: The device on which the model was trained.
    """
    commit = subprocess.run(
        ['git', 'describe', '--always', '--dirty'],
        cwd=osp.dirname(osp.realpath(__file__)),
        capture_output=True,
        text=True,
    ).stdout.strip()
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name not in places
    }
    return {
        'settings': settings,
        'commit': commit or None,
        'machine': {
            'device': str(device),
            'gpu': torch.cuda.get_device_name(device) if device.type == 'cuda' else None,
            'processor': processor(),
            'threads': torch.get_num_threads(),
            'torch': torch.__version__,
        },
    }

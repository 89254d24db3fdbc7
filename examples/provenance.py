"""Where a result comes from: what the examples write beside it."""

import os.path as osp
import platform
import subprocess
from pathlib import Path

import torch


def provenance(args, device, places=('root', 'run', 'json')):
    """Returns settings, commit and machine; places on this machine are no settings."""
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
            'processor': platform.processor() or platform.machine(),
            'threads': torch.get_num_threads(),
            'torch': torch.__version__,
        },
    }

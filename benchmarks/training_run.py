"""What the scripts share that train a model: flags, the run, and what it leaves."""

import platform
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch

from iedr_geo.training import fit

HERE = Path(__file__).resolve().parent


def add_run_flags(parser):
    """Adds the flags of a script that trains a model and keeps the run."""
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda')
    parser.add_argument('--run', help='folder of checkpoints, logs and model')
    parser.add_argument('--resume', action='store_true', help='go on from the last epoch')
    parser.add_argument('--overwrite', action='store_true', help='begin the run again')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')


def run_folder(args, *names):
    """Returns the folder of a run, by default of these names."""
    name = '-'.join(str(name) for name in names if name is not None)
    return Path(args.run or HERE.parent / 'runs' / name)


def fit_by_flags(module, args, *names, **kwargs):
    """Returns the folder of a run and what fit returns."""
    folder = run_folder(args, *names)
    result = fit(
        module,
        folder,
        max_epochs=args.epochs,
        patience=args.patience,
        resume=args.resume,
        overwrite=args.overwrite,
        progress=not args.quiet,
        accelerator={'cuda': 'gpu'}.get(args.device, args.device),
        **kwargs,
    )
    if module.global_rank > 0:  # Of several processes, the first one evaluates and saves.
        sys.exit()
    return folder, result


def print_metrics(part, evaluations, *without):
    """Prints a row of metrics for each model, but for those that are left out."""
    frame = pd.DataFrame({n: each.metrics for n, each in evaluations.items()}).T
    frame = frame.drop(columns=list(without))
    width = max(map(len, frame)) + 2
    print(f'\n{part:12}' + ''.join(f'{name:>{width}}' for name in frame))
    for name, values in frame.iterrows():
        print(f'{name:12}' + ''.join(f'{value:{width}.4f}' for value in values))


def processor():
    """Returns the name of the processor, as far as it is known."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if 'model name' in line]
    return names[0] if names else platform.machine()


def record(args, training, result):
    """Returns settings, commit, machine and history of a run.

    Places on this machine are no settings.
    """
    device = result.device
    commit = subprocess.run(
        ['git', 'describe', '--always', '--dirty'],
        cwd=HERE,
        capture_output=True,
        text=True,
    ).stdout.strip()
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name not in ('root', 'run', 'json')
    }
    return {
        'settings': settings | {'training': training},
        'commit': commit or None,
        'machine': {
            'device': str(device),
            'gpu': torch.cuda.get_device_name(device) if device.type == 'cuda' else None,
            'processor': processor(),
            'threads': torch.get_num_threads(),
            'torch': torch.__version__,
        },
        'history': result.history,
        'seconds_per_epoch': result.seconds_per_epoch,
        'best_epoch': result.best_epoch,
    }

"""Runs what the pages of results are written from, the most telling runs first.

python benchmarks/run_queue.py --data FOLDER [--jobs 2] [--only frappe]

FOLDER holds the raw files of each dataset in a folder of its own: that of its name, or
cars for those of the CARSKit collection. A run whose JSON file is there is not run again,
and one that was stopped goes on from its last epoch, so the queue may be stopped and
started at any time.
"""

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import iedr_runs
import macridvae_runs
import sdrl_runs
from iedr_presets import DATASETS

RUNS = iedr_runs.RUNS | macridvae_runs.RUNS | sdrl_runs.RUNS
HERE = Path(__file__).resolve().parent
RESULTS = HERE / 'results'


def command(name, words, args):
    """Returns the command of a run, given its script and flags."""
    dataset = re.search(r'--dataset (\S+)', words)[1]
    script, *flags = words.split()
    root = args.data / getattr(DATASETS.get(dataset), 'folder', dataset)
    run = HERE.parent / 'runs' / name
    return [
        *(sys.executable, HERE / script, *flags),
        *('--threads', '1', '--quiet', '--run', run),
        *('--json', RESULTS / f'{name}.json'),
        *(('--root', root) if root.exists() else ()),
        *(('--resume',) if (run / 'last.ckpt').exists() else ('--overwrite',)),
    ]


def start(name, words, args):
    """Runs what has no result yet, with its output in a file of the run's folder."""
    if (RESULTS / f'{name}.json').exists():
        return
    log = HERE.parent / 'runs' / f'{name}.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f'{name}: {words}', flush=True)
    with log.open('w') as out:
        code = subprocess.run(
            [*map(str, command(name, words, args))], stdout=out, stderr=out
        ).returncode
    if code != 0:
        print(f'{name} failed: see {log}', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--jobs', type=int, default=1, help='how many at a time')
    parser.add_argument('--only', default='', help='a pattern of names')
    args = parser.parse_args()
    chosen = [item for item in RUNS.items() if re.search(args.only, item[0])]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda item: start(*item, args), chosen))

"""Chooses a recipe of the variant *separate* on validation lists, by successive halving.

python benchmarks/study.py --datasets planted outings --data FOLDER --jobs 2

Configurations are drawn from a grid. All are trained for a few epochs, the best third of
them for twice as many, and so on; the schedule of each run ends with its epochs. What
counts is the mean rank over the datasets, by NDCG@10 of validation lists: the test part
stays unread. Each run leaves its JSON in the folder `study` of the results, and is not
run again.
"""

import argparse
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from iedr_presets import DATASETS
from run_queue import RESULTS, start

GRID = {
    'objective': ('softmax', 'softmax', 'bce'),
    'bce_weight': (0.0, 0.3, 1.0, 3.0),
    'negatives': (4, 8, 16, 32),
    'positives': (64, 128, 256),
    'learning_rate': (0.003, 0.006, 0.01),
    'weight_decay': (0.0, 1e-5, 3e-5, 1e-4, 3e-4),
    'channels': (32, 64),
    'disentangling_weight': (0.0, 0.03, 0.1, 0.3),
}
TODAY = {
    'objective': 'softmax',
    'bce_weight': 1.0,
    'negatives': 16,
    'positives': 128,
    'learning_rate': 0.006,
    'weight_decay': 1e-4,
    'channels': 64,
    'disentangling_weight': 0.1,
}
SHARE = 3  # One in so many goes on, for twice as many epochs.


def configurations(number, seed):
    """Returns today's recipe, and others that are drawn from the grid."""
    draw = random.Random(seed)
    others = ({n: draw.choice(v) for n, v in GRID.items()} for _ in range(number - 1))
    return [TODAY, *others]


def command(configuration, dataset, epochs):
    """Returns the command of a run."""
    given = dict(configuration)
    positives = given.pop('positives')
    given['batch_size'] = positives * (1 + given['negatives'])
    given |= {'dataset': dataset, 'epochs': epochs, 'decay_epochs': epochs}
    flags = ' '.join(f'--{name} {value}' for name, value in given.items())
    return f'iedr.py {flags} --valid_only'


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--datasets', choices=DATASETS, nargs='+', default=['planted'])
    parser.add_argument('--data', type=Path, default=Path(), help='raw files, by dataset')
    parser.add_argument('--number', type=int, default=24, help='of configurations')
    parser.add_argument('--epochs', type=int, default=3, help='of the first round')
    parser.add_argument('--jobs', type=int, default=1, help='how many at a time')
    parser.add_argument('--seed', type=int, default=0, help='of the draws')
    args = parser.parse_args()
    left = dict(enumerate(configurations(args.number, args.seed)))
    epochs = args.epochs
    while left:
        runs = {
            f'study/{dataset}-{args.seed}-{number}-{epochs}': command(
                each, dataset, epochs
            )
            for number, each in left.items()
            for dataset in args.datasets
        }
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(lambda run: start(*run, args), runs.items()))
        found = pd.DataFrame(index=list(left), columns=args.datasets, dtype=float)
        for number in left:
            for dataset in args.datasets:
                name = f'study/{dataset}-{args.seed}-{number}-{epochs}'
                content = json.loads((RESULTS / f'{name}.json').read_text())
                found.loc[number, dataset] = content['valid']['ndcg@10']
        ranked = found.rank(ascending=False).mean(axis=1).sort_values()
        table = found.loc[ranked.index].join(pd.DataFrame(left).T)
        print(f'\n{epochs} epochs, the best first\n{table.round(4).to_string()}')
        kept = ranked.index[: len(left) // SHARE]
        left = {number: left[number] for number in kept}
        epochs *= 2

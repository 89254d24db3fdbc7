"""Writes docs/results.md from the JSON files of the runs in docs/results.

python docs/results.py
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
METRICS = ('ndcg@5', 'ndcg@10', 'recall@5', 'recall@10', 'auc')
PAPER = {  # Frappe, the same candidate lists: Table 3, Section 7.3.1.
    'IEDR': (0.7240, 0.7411, 0.8594, 0.9125, 0.9634),
    'SIGN': (0.6938, 0.7149, 0.8391, 0.9037, 0.9592),
    'noCIED': (None, 0.7005, None, None, None),
    'noCL': (None, 0.7021, None, None, None),
}
LABELS = {
    'dropout': 'IEDR + message dropout and pointwise terms',
    'released': "IEDR as in the authors' scripts",
}
QUIET = ('training', 'quiet', 'resume', 'overwrite')  # Without effect on a result.

INTRODUCTION = """# Results

This page is written by `python docs/results.py` from the JSON files in `docs/results`,
each of which a run of the command beside it has left there with its settings, commit,
machine and history. Metrics are in percent.

**Protocol.** The validation lists alone choose the epoch (NDCG@10, patience 10, at most
200 epochs); the test lists are ranked once, with the model of that epoch. Ties count as
the expectation over tied orders, AUC is over all rows. Frappe: users with more than 5
records, their last row for test and the one before for validation, and the candidate
lists of the paper's authors (1 + 99 items), so that the paper's figures stand on the
same data. With 695 lists, NDCG has a standard error of about 1.5 points. Planted: each
user's last row against 99 uniform negatives; *oracle* ranks by the scores that the data
were drawn by.

**Reading.** One seed each so far: on Frappe, differences of less than about three points
are no evidence. Without CIED (*noCIED*) and without its contrastive half (*noCL*) the
model is where the paper has these ablations. IEDR itself falls short of the paper: with
the losses as the paper states them, the contrastive term does not raise the ranking
here. Message dropout and pointwise terms, which the authors' scripts have and the paper
does not mention, go together with a higher ranking, and the scripts' own losses with
them to the highest. A run with fewer than 10 epochs after its best one was ended by
`--epochs`, not by early stopping.
"""


def row(name, values, *rest):
    numbers = ['' if value is None else f'{100 * value:.2f}' for value in values]
    return '| ' + ' | '.join([name, *numbers, *rest]) + ' |'


def command(settings):
    parts = ['python examples/iedr.py']
    for name, value in settings.items():
        if name not in QUIET and value is not None and value is not False:
            parts.append(f'--{name}' if value is True else f'--{name} {value}')
    return f'`{" ".join(parts)}`'


def page():
    runs = [json.loads(path.read_text()) for path in sorted(HERE.glob('results/*.json'))]
    lines = [INTRODUCTION]
    for dataset in ('frappe', 'planted'):
        chosen = [run for run in runs if run['settings']['dataset'] == dataset]
        if not chosen:
            continue
        lines += [
            f'## {dataset.capitalize()}\n',
            f'| model | {" | ".join(METRICS)} | best epoch | s / epoch | run |',
            '|---' * (len(METRICS) + 4) + '|',
        ]
        if dataset == 'frappe':
            for name, values in PAPER.items():
                lines.append(row(f'{name}, paper', values, '', '', ''))
        for name, metrics in chosen[0]['baselines'].items():
            lines.append(row(name, [metrics[m] for m in METRICS], '', '', ''))
        for run in chosen:
            settings = run['settings']
            variant = settings['variant']
            lines.append(
                row(
                    f'{LABELS.get(variant, variant)}, seed {settings["seed"]}',
                    [run['test'][metric] for metric in METRICS],
                    f'{run["best_epoch"] + 1} of {len(run["history"])}',
                    f'{run["seconds_per_epoch"]:.0f}',
                    f'{command(settings)} at {run["commit"]}',
                )
            )
        lines.append('')
    return '\n'.join(lines)


if __name__ == '__main__':
    (HERE / 'results.md').write_text(page())

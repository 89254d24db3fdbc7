"""Writes docs/results.md from the JSON files of the runs in docs/results.

python docs/results.py
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
METRICS = ('ndcg@5', 'ndcg@10', 'recall@5', 'recall@10', 'auc')
PAPER = {  # Table 3 of the paper: Frappe, the same candidate lists.
    'IEDR': (0.7240, 0.7411, 0.8594, 0.9125, 0.9634),
    'SIGN': (0.6938, 0.7149, 0.8391, 0.9037, 0.9592),
}

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
"""


def row(name, values, *rest):
    cells = [name, *(f'{100 * value:.2f}' for value in values), *rest]
    return '| ' + ' | '.join(cells) + ' |'


def command(settings):
    parts = ['python examples/iedr.py']
    for name in ('dataset', 'variant', 'seed', 'epochs', 'threads'):
        if settings[name] is not None:
            parts.append(f'--{name} {settings[name]}')
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
                lines.append(row(f'{name}, paper', values, '', '', 'Table 3'))
        else:
            for name, metrics in chosen[0]['baselines'].items():
                lines.append(row(name, [metrics[m] for m in METRICS], '', '', ''))
        for run in chosen:
            settings = run['settings']
            lines.append(
                row(
                    f'{settings["variant"]}, seed {settings["seed"]}',
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

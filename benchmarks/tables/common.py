"""What the pages of results share: reading runs, comparing them, and Markdown."""

import json
import runpy
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
import pandas as pd
from scipy.stats import t as student

from iedr_geo.evaluation import Evaluation

BENCHMARKS = Path(__file__).resolve().parents[1]
RESULTS = BENCHMARKS / 'results'
SILENT = ('training', 'quiet', 'resume', 'overwrite')  # Without effect on a result.


def write(name, page):
    """Writes a page of the documentation."""
    (RESULTS.parents[1] / 'docs' / f'{name}.md').write_text(page)


def read(folder):
    """Returns what the files of a folder hold, by their names."""
    paths = sorted((RESULTS / folder).glob('*.json'))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def read_runs(folder, section, label):
    """Returns the runs of a folder by section, label and seed, in this order.

    Args:
        folder: The folder.
        section: The section of a run, given its settings.
        label: Its label in the section, likewise.
    """
    sections = {}
    for name, run in read(folder).items():
        settings = run['settings']
        runs = sections.setdefault(section(settings), {})
        runs = runs.setdefault(label(settings), {})
        if settings['seed'] in runs:
            raise ValueError(f'{name} is a second run of {label(settings)}')
        runs[settings['seed']] = run
    return dict(sorted(sections.items()))


def changed(settings, known, ordinary):
    """Returns the settings that are not ordinary, by name.

    Args:
        settings: The settings of a run.
        known: The names of those that say nothing, or are said elsewhere.
        ordinary: The values of flags that are not given.
    """
    return {
        name: value
        for name, value in settings.items()
        if name not in known
        and value is not None
        and value is not False
        and value != ordinary.get(name)
    }


def in_words(settings):
    """Returns settings as the labels of models have them."""
    return [
        name.replace('_', ' ') if value is True else f'{name} {value}'
        for name, value in settings.items()
    ]


def ordered(models, known):
    """Returns runs by label, those that are known first and in their order."""
    first = [name for name in known if name in models]
    rest = sorted(name for name in models if name not in first)
    return {name: models[name] for name in (*first, *rest)}


def missing(script, folder):
    """Returns a sentence on the runs of a list that are not there, if any."""
    wanted = runpy.run_path(str(BENCHMARKS / f'{script}.py'))['RUNS']
    there = {f'{folder}/{name}' for name in read(folder)}
    left = [name.removeprefix(f'{folder}/') for name in wanted if name not in there]
    if not left:
        return []
    names = ', '.join(f'`{name}`' for name in left)
    return [
        f'\nOf {len(wanted)} runs, {len(left)} are missing, without which all of this is '
        f'said: {names}.'
    ]


def commands(script, models, flags):
    """Returns a list of the commands that gave the runs of a section.

    Args:
        script: The script, relative to the checkout.
        models: The runs of the section by label and seed.
        flags: The flags and their values, given a run's settings.
    """
    lines = ['The runs:', '']
    for run in (run for runs in models.values() for run in runs.values()):
        parts = [f'python {script}']
        for name, value in flags(run['settings']).items():
            if value is not None and value is not False:
                parts.append(f'--{name}' if value is True else f'--{name} {value}')
        lines.append(f'- `{" ".join(parts)}` at {run["commit"]}')
    return [*lines, '']


def _mean_over(runs, seeds, part, metric):
    values = np.mean([runs[seed][part][metric] for seed in seeds], axis=0)
    return Evaluation({}, pd.DataFrame({'user': range(len(values)), metric: values}))


def paired(runs, reference, part, metric):
    """Returns the evaluations of runs and of a reference, each the mean over the seeds of
    both, or nothing if they have none in common.

    Args:
        runs: Runs by seed.
        reference: What they are compared with.
        part: The key of their values of each list.
        metric: The metric.
    """
    seeds = [
        s for s in runs if s in reference and part in runs[s] and part in reference[s]
    ]
    if not seeds:
        return None
    return [_mean_over(each, seeds, part, metric) for each in (runs, reference)]


def pooled(pairs):
    """Returns the evaluations of the test users of all splits together."""
    sides = zip(*pairs, strict=True)
    return [
        Evaluation({}, pd.concat([each.per_list for each in side], ignore_index=True))
        for side in sides
    ]


def over_pairs(pairs, metric):
    """Returns what paired evaluations on several splits say, in points, if there are at
    least two: the difference in each, the interval over the users of all, and that over
    splits.
    """
    pairs = [pair for pair in pairs if pair is not None]
    if len(pairs) < 2:
        return None
    each = [apart(pair, metric)[0] for pair in pairs]
    half = student.ppf(0.975, len(each) - 1) * stdev(each) / len(each) ** 0.5
    centre = mean(each)
    return each, apart(pooled(pairs), metric), [centre, centre - half, centre + half]


def apart(pair, metric):
    """Returns by how much a metric of the first evaluation is above that of the second
    on the same lists, with its 95 % bootstrap interval, in points.
    """
    found = pair[0].difference(pair[1]).loc[metric]
    return [100 * found[name] for name in ('mean', 'low', 'high')]


def interval(mean, low, high):
    """Returns a difference and its interval as text."""
    return f'{mean:+.2f} [{low:+.2f}, {high:+.2f}]'


def difference(runs, reference, part, metric):
    """Returns the paired difference over the seeds of both, in points; see
    :func:`paired`.
    """
    pair = None if runs is reference else paired(runs, reference, part, metric)
    return '' if pair is None else interval(*apart(pair, metric))


def values(runs, *path):
    """Returns what the files of runs hold under some keys, of those that have it."""
    found = []
    for run in runs.values():
        for key in path:
            run = run.get(key, {})
        found.append(run)
    return [value for value in found if value != {}]


def cell(numbers, scale=100, form='.2f'):
    """Returns the median and, of several numbers, the lowest and the highest."""
    if not numbers:
        return ''
    spread = f'{scale * min(numbers):{form}} to {scale * max(numbers):{form}}'
    middle = f'{scale * median(numbers):{form}}'
    return f'{middle} ({spread})' if len(numbers) > 1 else middle


def summary(values, form='.2f', scale=1):
    """Returns the mean and, of several values, their standard deviation."""
    spread = f' ± {scale * stdev(values):{form}}' if len(values) > 1 else ''
    return f'{scale * mean(values):{form}}{spread}'


def percent(values):
    return summary(values, scale=100)


def epochs(runs):
    """Returns the best epoch of each run, and how many there were."""
    return ', '.join(f'{run["best_epoch"] + 1} of {len(run["history"])}' for run in runs)


def table(head, rows):
    """Returns the lines of a table in Markdown."""
    lines = ['| ' + ' | '.join(cells) + ' |' for cells in (head, *rows)]
    return [lines[0], '|---' * len(head) + '|', *lines[1:], '']

"""What the pages of results share."""

from statistics import mean, stdev


def row(cells):
    return '| ' + ' | '.join(cells) + ' |'


def percent(values):
    spread = f' ± {100 * stdev(values):.2f}' if len(values) > 1 else ''
    return f'{100 * mean(values):.2f}{spread}'


def interval(found):
    """Returns a row of `Evaluation.difference`, in points."""
    mean, low, high = (100 * found[name] for name in ('mean', 'low', 'high'))
    return f'{mean:+.2f} [{low:+.2f}, {high:+.2f}]'

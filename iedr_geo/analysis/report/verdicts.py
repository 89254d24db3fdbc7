"""Whether a measure tells the factors apart: the one rule for all of them."""

from __future__ import annotations

import pandas as pd

KEY = ['group', 'measure', 'side']
# Limits are of what is left to chance. Of many rows, next to nothing is beyond chance:
# what counts as little is therefore a share of what the factor itself has.
LITTLE, MUCH = 1 / 10, 1 / 3
RULE = (
    'A measure separates the factors if the one that is to have it is beyond the limit, '
    'below which 95 % of what is left to chance is, and the other has less than a third '
    'as much beyond chance: yes if that is less than a tenth or within the limit, else '
    'partly.'
)


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the measures that are to tell the factors apart, and whether each does.

    Args:
        table: The table of a :class:`DisentanglementReport`.
    """
    table = table[table['wanted'] != '']
    size = table['value'].where(table['wanted'] != 'zero', table['value'].abs())
    table = table.assign(
        excess=size - table['baseline'],
        is_beyond=size > table['limit'],
        is_high=table['wanted'] == 'high',
    )
    rows = []
    for key, part in table.groupby(KEY, sort=False):
        high, low = part[part['is_high']], part[~part['is_high']]
        if not len(high):
            continue  # There is nothing that it could be a share of.
        own = high['excess'].min()
        other = low['excess'].max() if len(low) else 0.0
        separates = 'no'
        if high['is_beyond'].all() and other < MUCH * own:
            is_little = other < LITTLE * own or not low['is_beyond'].any()
            separates = 'yes' if is_little else 'partly'
        rows.append((*key, own, other, separates))
    return pd.DataFrame(rows, columns=[*KEY, 'own', 'other', 'separates'])

"""The changes between two lists of one user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def compare(
    ranks: Sequence[pd.Series], scores: Sequence[pd.Series], parts: Sequence[pd.DataFrame]
) -> pd.DataFrame:
    """Returns a row for each item: its ranks and scores, and what becomes of them.

    Args:
        ranks: The ranks in both lists by item, missing where an item is not in the list.
        scores: The scores in both by item.
        parts: The parts of the scores, likewise.
    """
    rise = (ranks[0] - ranks[1]).fillna(0)
    change = np.select(
        [ranks[0].isna(), ranks[1].isna(), rise > 0, rise < 0],
        ['enters', 'leaves', 'rises', 'falls'],
        'stays',
    )
    difference = parts[1] - parts[0]
    columns = {
        'rank_a': ranks[0].astype('Int64'),
        'rank_b': ranks[1].astype('Int64'),
        'change': change,
        'score_a': scores[0],
        'score_b': scores[1],
    }
    table = pd.concat([pd.DataFrame(columns), difference.add_suffix('_change')], axis=1)
    if len(difference.columns):
        table['factor'] = difference.abs().idxmax(axis=1)
    return table

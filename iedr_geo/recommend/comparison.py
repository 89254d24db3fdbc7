"""The changes between two lists of one user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def compare(
    ranks: Sequence[pd.Series], scores: Sequence[pd.DataFrame], parts: Sequence[str]
) -> pd.DataFrame:
    """Returns a row for each item: its ranks and scores, and what becomes of them.

    Args:
        ranks: The ranks in both lists by item, missing where an item is not in the list.
        scores: The column :obj:`score` in both, and its parts, by item.
        parts: The names of the parts.
    """
    rise = (ranks[0] - ranks[1]).fillna(0)
    change = np.select(
        [ranks[0].isna(), ranks[1].isna(), rise > 0, rise < 0],
        ['enters', 'leaves', 'rises', 'falls'],
        'stays',
    )
    difference = (scores[1] - scores[0])[list(parts)]
    columns = {
        'rank_a': ranks[0].astype('Int64'),
        'rank_b': ranks[1].astype('Int64'),
        'change': change,
        'score_a': scores[0]['score'],
        'score_b': scores[1]['score'],
        **difference.add_suffix('_change'),
    }
    if parts:
        columns['factor'] = difference.abs().idxmax(axis=1)
    return pd.DataFrame(columns)

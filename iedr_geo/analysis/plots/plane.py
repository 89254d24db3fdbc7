"""Vectors as points in a plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.analysis.plots import style


def in_a_plane(tables: Sequence[Tensor], seed: int) -> list[style.Floats]:
    """Returns points for the rows of all tables in one plane."""
    from sklearn.manifold import TSNE

    width = max(2, *(table.size(1) for table in tables))  # A plane needs two columns.
    rows = torch.cat([F.pad(table, (0, width - table.size(1))) for table in tables])
    if not rows.isfinite().all():
        raise ValueError('The factors hold values that are not finite')
    if (rows == rows[0]).all():
        raise ValueError('The factors of all rows are equal: there is nothing to plot')
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init='pca', random_state=seed)
    points = tsne.fit_transform(rows.detach().double().cpu().numpy())
    return np.split(points, np.cumsum([len(table) for table in tables])[:-1])

"""Vectors as features: what is stored, and what is shared."""

import numpy as np
import pytest
import torch
from cinema import column_of, fit

from iedr_geo.data import Categorical, Vector

CELLS = [[3.0, 4.0], [0, 0], None, [6, 8], [3.0, -4.0], [3, 4]]
UNIT = [[0.6, 0.8], [0, 0], [0.6, 0.8], [0.6, -0.8], [0.6, 0.8]]


@pytest.mark.parametrize('normalize', [True, False])
def test_nodes(normalize: bool):
    frame = column_of(CELLS, object).assign(g='x')
    schema = fit([Categorical('g'), Vector('f', normalize)], frame)
    first = schema.offsets('item')['f']
    assert schema.vocabulary['item']['f'] == ['<vector>', '1']
    graphs = schema.encode('item', frame)
    nodes = graphs.x.view(6, 2)[:, 1]
    assert nodes.tolist() == [first + 2, first + 2, first + 1, *[first + 2] * 3]
    assert list(graphs.vectors) == [first + 2] and graphs.value is None
    vectors = torch.tensor(UNIT if normalize else [cell for cell in CELLS if cell])
    torch.testing.assert_close(graphs.vectors[first + 2], vectors.float())
    # Equal where the vectors are: 3, 4 and 6, 8 are if they are normalised.
    groups = [0, 1, 2, 0, 3, 0] if normalize else [0, 1, 2, 3, 4, 0]
    ids = graphs.node_id.view(6, 2)[:, 1].tolist()
    pairs = set(zip(ids, groups, strict=True))
    assert len(pairs) == len(set(ids)) == len(set(groups))
    assert not set(ids) & set(graphs.node_id.view(6, 2)[:, 0].tolist())
    assert schema.distinct('item', frame)[1].tolist() == groups


@pytest.mark.parametrize('scale', [1e-30, 1e-3, 1e25])
def test_length_one_at_any_scale(scale: float):
    frame = column_of([[3 * scale, 4 * scale]])
    [vectors] = fit(Vector('f'), frame).encode('item', frame).vectors.values()
    torch.testing.assert_close(vectors, torch.tensor([[0.6, 0.8]]))


def test_rows_that_differ_in_the_end():
    """None is told from another by a shorter text of bytes."""
    frame = column_of([[1.0, 0.0], [1.0, 1e-40], [1.0, 0.0], [0.0, 0.0], None])
    schema = fit(Vector('f', normalize=False), frame)
    assert schema.distinct('item', frame)[1].tolist() == [0, 1, 0, 2, 3]


def test_new_rows():
    schema = fit(Vector('f'), column_of(CELLS))
    graphs = schema.encode('item', column_of([None, np.nan]))
    assert graphs.x.tolist() == [schema.offsets('item')['f'] + 1] * 2
    [vectors] = graphs.vectors.values()
    assert vectors.shape == (0, 2)
    with pytest.raises(ValueError, match=r"'f' holds vectors of length 3, .* have 2"):
        schema.encode('item', column_of([[1, 2, 3]]))

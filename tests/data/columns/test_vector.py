"""Vectors as features: what is stored, what is shared and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Vector,
)

OTHER = pd.DataFrame({'other': ['o']})
CELLS = [[3.0, 4.0], [0, 0], None, [6, 8], [3.0, -4.0], [3, 4]]
UNIT = [[0.6, 0.8], [0, 0], [0.6, 0.8], [0.6, -0.8], [0.6, 0.8]]


def fit(column: Vector, cells: list, *others: Categorical) -> FeatureSchema:
    other = [Categorical('other')]
    frame = pd.DataFrame({'v': pd.Series(cells, dtype=object), 'other': 'o'})
    schema = FeatureSchema(other, [*others, column], other)
    return schema.fit({'user': OTHER, 'item': frame, 'context': OTHER})


def table(cells: list) -> pd.DataFrame:
    return pd.DataFrame({'v': pd.Series(cells, dtype=object), 'other': 'o'})


@pytest.mark.parametrize('normalize', [True, False])
def test_nodes(normalize: bool):
    schema = fit(Vector('v', normalize), CELLS, Categorical('other'))
    first = schema.offsets('item')['v']
    assert schema.vocabulary['item']['v'] == ['<vector>', '1']
    graphs = schema.encode('item', table(CELLS))
    nodes = graphs.x.view(6, 2)[:, 1]
    assert nodes.tolist() == [first + 2, first + 2, first + 1, *[first + 2] * 3]
    assert list(graphs.vectors) == [first + 2] and graphs.value is None
    plain = [cell for cell in CELLS if cell is not None]
    vectors = torch.tensor(UNIT if normalize else plain)
    torch.testing.assert_close(graphs.vectors[first + 2], vectors.float())
    # Equal where the vectors are: 3, 4 and 6, 8 are if they are normalised.
    ids = graphs.node_id.view(6, 2)[:, 1].tolist()
    groups = [0, 1, 2, 0, 3, 0] if normalize else [0, 1, 2, 3, 4, 0]
    pairs = set(zip(ids, groups, strict=True))
    assert len(pairs) == len(set(ids)) == len(set(groups))
    assert not set(ids) & set(graphs.node_id.view(6, 2)[:, 0].tolist())


@pytest.mark.parametrize(
    'cells',
    [
        [np.array(cell) if cell else None for cell in CELLS],
        [np.array(cell, dtype=np.float16) if cell else np.nan for cell in CELLS],
        [tuple(cell) if cell else pd.NA for cell in CELLS],
        [torch.tensor(cell) if cell else None for cell in CELLS],
        [[str(v) for v in cell] if cell else None for cell in CELLS],
    ],
)
def test_other_types(cells: list):
    """One schema for all of them, and the same contexts."""
    schema = fit(Vector('v'), CELLS)
    expected, graphs = (schema.encode('item', table(c)) for c in (CELLS, cells))
    assert torch.equal(graphs.x, expected.x)
    assert torch.equal(graphs.node_id, expected.node_id)
    log = pd.DataFrame({'user': 1, 'item': 'a', 'v': pd.Series(cells, dtype=object)})
    kinds = FeatureSchema([Categorical('user')], [Categorical('item')], [Vector('v')])
    dataset = InteractionDataset.from_pandas(log, None, None, kinds)
    assert dataset.context.tolist() == [0, 1, 2, 0, 3, 0]


def test_arrow():
    pa = pytest.importorskip('pyarrow')
    column = pd.Series(
        pd.arrays.ArrowExtensionArray(pa.array(CELLS, pa.list_(pa.float64())))
    )
    schema = fit(Vector('v'), CELLS)
    graphs = schema.encode('item', pd.DataFrame({'v': column}))
    assert torch.equal(graphs.x, schema.encode('item', table(CELLS)).x)
    [vectors] = graphs.vectors.values()
    torch.testing.assert_close(vectors, torch.tensor(UNIT).float())


@pytest.mark.parametrize('scale', [1e-30, 1e-3, 1e25])
def test_length_one_at_any_scale(scale: float):
    schema = fit(Vector('v'), [[3 * scale, 4 * scale]])
    [vectors] = schema.encode('item', table([[3 * scale, 4 * scale]])).vectors.values()
    torch.testing.assert_close(vectors, torch.tensor([[0.6, 0.8]]))


def test_contexts_that_differ_in_the_end():
    """None is told from another by a shorter text of bytes."""
    cells = [[1.0, 0.0], [1.0, 1e-40], [1.0], [0.0, 0.0], None]
    cells = [cells[i] for i in (0, 1, 0, 3, 4, 3)]
    schema = FeatureSchema(
        [Categorical('user')], [Categorical('item')], [Vector('v', False)]
    )
    log = pd.DataFrame({'user': 1, 'item': 'a', 'v': pd.Series(cells, dtype=object)})
    dataset = InteractionDataset.from_pandas(log, None, None, schema)
    assert dataset.context.tolist() == [0, 1, 0, 2, 3, 2]


def test_no_vectors_among_new_rows():
    schema = fit(Vector('v'), CELLS)
    graphs = schema.encode('item', table([None, float('nan')]))
    assert graphs.x.tolist() == [schema.offsets('item')['v'] + 1] * 2
    [vectors] = graphs.vectors.values()
    assert vectors.shape == (0, 2)


@pytest.mark.parametrize(
    ('cells', 'message'),
    [
        ([[1, 2], [1]], r"'v' must hold vectors of one length: row 1 .*\(1,\).*\(2,\)"),
        ([[[1, 2]]], r"'v' must hold vectors of one length: row 0 .*\(1, 2\)"),
        ([None, []], r"'v' must hold vectors of one length: row 1 .*\(0,\)"),
        ([[1, 2], 'text'], "'v' must hold vectors: row 1 holds 'text'"),
        ([None, 3.0], "'v' must hold vectors: row 1 holds 3.0"),
        ([['a', 'b']], "'v' holds what is no vector of numbers"),
        ([[1, None]], "'v' holds .*not finite in row 0"),
        ([[1, {}]], "'v' holds what is no vector of numbers"),
        ([None, [1, np.nan], [np.inf, 1]], r"'v' holds .*not finite in row 1 \(2 rows"),
        ([None, np.nan], "'v' holds no vector to fit"),
    ],
)
def test_bad_cells(cells: list, message: str):
    with pytest.raises(ValueError, match=message):
        fit(Vector('v'), cells)


def test_other_length_than_fitted():
    schema = fit(Vector('v'), CELLS)
    with pytest.raises(ValueError, match=r"'v' holds vectors of length 3, .* have 2"):
        schema.encode('item', table([[1, 2, 3]]))


def test_json():
    schema = fit(Vector('v', normalize=False), CELLS)
    copied = FeatureSchema.from_json(schema.to_json())
    assert copied == schema
    assert not copied.item[0].normalize
    one, two = (s.encode('item', table(CELLS)) for s in (schema, copied))
    assert torch.equal(one.node_id, two.node_id)
    for row, vectors in one.vectors.items():
        assert torch.equal(two.vectors[row], vectors)


@pytest.mark.parametrize('make', [list, np.array, torch.tensor])
def test_dataset_in_a_file(make, tmp_path):
    """On all sides, of any type, with lists beside them."""
    users = pd.DataFrame({'user': [1, 2], 'v': [make([1.0, 2.0]), None]})
    log = pd.DataFrame({'user': [1, 2, 1], 'item': list('aba')})
    log['w'] = pd.Series(
        [make([0.5, 1.0, 2.0]), None, make([0.5, 1.0, 2.0])], dtype=object
    )
    log['tags'] = [['k'], [], ['k']]
    schema = FeatureSchema(
        [Vector('v')], [Categorical('item')], [Vector('w'), MultiCategorical('tags')]
    )
    dataset = InteractionDataset.from_pandas(log, users, None, schema)
    assert dataset.num_contexts == 2
    dataset.save(tmp_path / 'dataset.pt')
    loaded = InteractionDataset.load(tmp_path / 'dataset.pt')
    assert loaded.schema == dataset.schema
    for side in ('users', 'contexts'):
        one, two = getattr(dataset, side), getattr(loaded, side)
        assert torch.equal(one.x, two.x) and torch.equal(one.node_id, two.node_id)
        assert one.vectors.keys() == two.vectors.keys()
        for row, vectors in one.vectors.items():
            assert torch.equal(two.vectors[row], vectors)
    again = loaded.schema.encode('context', loaded.context_frame)
    assert torch.equal(again.x, dataset.contexts.x)
    [wanted], [vectors] = dataset.contexts.vectors.values(), again.vectors.values()
    torch.testing.assert_close(vectors, wanted)

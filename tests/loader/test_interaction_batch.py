"""Both forms of a batch must hold what its samples hold."""

import copy
from dataclasses import replace

import pytest
import torch
from compare import assert_same_data
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch

from iedr_geo.data import InteractionData, InteractionDataset
from iedr_geo.data.schema import SIDES
from iedr_geo.loader import InteractionBatch

FOLLOW = [f'x_{side}' for side in SIDES]
SOME = [(0, 5, 0), (3, 3, 5), (0, 5, 8)]
ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 8)),
    min_size=1,
    max_size=6,
)


def make(dataset: InteractionDataset, rows: list, y: bool = True) -> InteractionBatch:
    user, item, context = torch.tensor(rows, device=dataset.user.device).t()
    labels = torch.arange(len(rows), device=dataset.user.device) / 4
    return InteractionBatch.from_ids(dataset, user, item, context, labels if y else None)


def make_samples(dataset: InteractionDataset, rows: list) -> list[InteractionData]:
    """Reads each sample from a dataset of these rows."""
    part = dataset[torch.zeros(len(rows), dtype=torch.long)]
    part.user, part.item, part.context = torch.tensor(rows).unbind(1)
    part.y = torch.arange(len(rows)) / 4
    return list(part)


@given(rows=ROWS, y=st.booleans())
def test_both_forms_against_samples(dataset: InteractionDataset, rows: list, y: bool):
    batch, samples = make(dataset, rows, y), make_samples(dataset, rows)
    for sample in samples if not y else ():
        del sample.y
    expanded = batch.expand()
    assert_same_data(expanded, Batch.from_data_list(samples, follow_batch=FOLLOW))
    for data, sample in zip(expanded.to_data_list(), samples, strict=True):
        assert_same_data(data, sample)
    assert len(batch) == len(rows)
    for side, ids in zip(SIDES, zip(*rows, strict=True), strict=True):
        graphs, index = getattr(batch, side), getattr(batch, f'{side}_graph')
        # Each graph once, and each row at the graph of its id.
        assert graphs.num_graphs == len(set(ids))
        assert graphs.graph_id[index].tolist() == list(ids)
        assert getattr(batch, f'{side}_id').tolist() == list(ids)
        for graph in graphs.to_data_list():
            assert_same_data(graph, getattr(dataset, f'{side}s')[graph.graph_id.item()])


@given(rows=ROWS, picks=st.lists(st.integers(0, 5), max_size=5), y=st.booleans())
def test_some_of_the_rows(dataset: InteractionDataset, rows: list, picks: list, y: bool):
    batch = make(dataset, rows, y)
    picks = [pick % len(rows) for pick in picks]
    mask = [i in picks for i in range(len(rows))]
    parts = [
        (range(len(rows))[1:3], batch[1:3]),
        (picks, batch[torch.tensor(picks, dtype=torch.long)]),
        (sorted(set(picks)), batch[torch.tensor(mask)]),
    ]
    for wanted, part in parts:
        assert len(part) == len(wanted)
        for i, side in enumerate(SIDES):
            ids = getattr(part, f'{side}_id').tolist()
            assert ids == [rows[row][i] for row in wanted]
            assert getattr(part, side) is getattr(batch, side)
        assert (part.y is not None) == y
        assert not y or part.y.tolist() == [row / 4 for row in wanted]


@given(rows=ROWS, items=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_rows_times_items(dataset: InteractionDataset, rows: list, items: list):
    batch = make(dataset, rows)
    items = [item % batch.item.num_graphs for item in items]
    crossed = batch.cross(torch.tensor(items))
    ids = batch.item.graph_id.tolist()
    pairs = [(user, ids[item], context) for user, _, context in rows for item in items]
    expected = make(dataset, pairs, y=False)
    assert crossed.y is None and len(crossed) == len(rows) * len(items)
    assert crossed.rows_per_query == len(items)
    assert crossed[1:].rows_per_query == 1
    with pytest.raises(ValueError, match='1 rows are not in groups of 2 rows'):
        replace(batch[:1], rows_per_query=2)
    assert_same_data(crossed.expand(), expected.expand())
    for side in SIDES:
        assert getattr(crossed, side) is getattr(batch, side)


@pytest.mark.parametrize('known', [(), ('item',), SIDES], ids=str)
def test_from_graphs(dataset: InteractionDataset, known: tuple, device: torch.device):
    expected = make(dataset, SOME, y=False).to(device)
    graphs, ids = {}, {}
    for side in SIDES:
        one = getattr(expected, side)
        graphs[side] = getattr(dataset.to(device), f'{side}s').select(one.graph_id)
        graphs[f'{side}_graph'] = getattr(expected, f'{side}_graph')
        ids[f'{side}_id'] = one.graph_id
    given_ids = {f'{side}_id': ids[f'{side}_id'] for side in known}
    batch = InteractionBatch.from_graphs(**graphs, **given_ids)
    assert len(batch) == 3 and batch.y is None
    for side in SIDES:
        wanted = getattr(expected, f'{side}_id')
        actual = getattr(batch, f'{side}_id')
        assert torch.equal(actual, wanted if side in known else -torch.ones_like(wanted))
        getattr(expected, side).graph_id = getattr(batch, side).graph_id
    assert_same_data(batch.expand(), expected.expand())


def test_on_another_device(dataset: InteractionDataset, device: torch.device):
    expected = make(dataset, SOME)
    for batch in (expected.to(device), make(dataset.to(device), SOME)):
        for side in SIDES:
            graphs, index = getattr(batch, side), getattr(batch, f'{side}_graph')
            assert graphs.x.device == index.device == batch.y.device
            # PyG moves a batch where it is.
            assert_same_data(copy.copy(graphs).cpu(), getattr(expected, side))
        expanded = batch.expand()
        assert expanded.x_user.device.type == batch.y.device.type == device.type
        assert expanded.x_item_batch.device.type == device.type
        assert_same_data(expanded, expected.expand())
    batch = make(dataset, SOME, y=False)
    moved = batch.to('meta')
    assert moved.y is None and moved.user.x.is_meta and moved.user_graph.is_meta
    assert batch.user.x.is_cpu and batch.user_graph.is_cpu  # As it was.


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_pinned(dataset: InteractionDataset):
    pinned = make(dataset, SOME).pin_memory()
    for tensor in (pinned.y, pinned.item_graph, pinned.item.x):
        assert tensor.is_pinned()
    assert_same_data(pinned.expand(), make(dataset, SOME).expand())


def test_other_edges_make_a_batch_a_plain_one(dataset: InteractionDataset):
    """Fewer than before: each node hears the first of its graph alone."""
    batch = make(dataset, SOME)
    first = batch.item.ptr[:-1].repeat_interleave(batch.item.ptr.diff())
    batch.item.edge_index = torch.stack([first, torch.arange(len(first))])
    for form in (batch, batch.to('cpu'), batch[:]):
        for data in form.expand().to_data_list():
            source, target = data.edge_index_item.tolist()
            assert set(source) == {0} and target == list(range(len(data.x_item)))

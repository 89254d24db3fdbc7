"""What an epoch holds: each row, its negatives, in an order that the seed decides."""

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist

from iedr_geo.data import (
    BipartiteGraph,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    UniformNegativeSampler,
    leave_last_out,
)
from iedr_geo.datasets import Frappe
from iedr_geo.loader import InteractionBatch, InteractionLoader

Row = tuple[int, int, int, float]


def read_batch(batch: InteractionBatch) -> list[Row]:
    """Returns user, item, context and label of each row."""
    ids = (
        getattr(batch, side).graph_id[getattr(batch, f'{side}_graph')].tolist()
        for side in ('user', 'item', 'context')
    )
    return list(zip(*ids, batch.y.tolist(), strict=True))


def read(loader: InteractionLoader) -> list[list[Row]]:
    batches = [read_batch(batch) for batch in loader]
    assert len(batches) == len(loader)
    return batches


def flat(batches: list[list[Row]]) -> list[Row]:
    return [row for batch in batches for row in batch]


def table(dataset: InteractionDataset) -> list[Row]:
    y = [1.0] * len(dataset) if dataset.y is None else dataset.y.tolist()
    columns = (getattr(dataset, side).tolist() for side in ('user', 'item', 'context'))
    return list(zip(*columns, y, strict=True))


def check_epoch(dataset: InteractionDataset, rows: list[Row], num_negatives: int) -> None:
    """Checks that each positive comes once, with its negatives."""
    positive = [row for row in rows if row[3] == 1]
    negative = [row for row in rows if row[3] == 0]
    assert Counter(positive) == Counter(table(dataset))
    # A row's context is its own here: it tells whose the negatives are.
    assert len(rows) == len(positive) * (1 + num_negatives)
    owner = {context: (user, item) for user, item, context, _ in positive}
    count = Counter(context for _, _, context, _ in negative)
    assert set(count.values()) == {num_negatives}
    assert set(count) == set(owner)
    for user, item, context, _ in negative:
        assert user == owner[context][0]
        assert item != owner[context][1]
        assert 0 <= item < dataset.num_items


@pytest.mark.parametrize(
    ('batch_size', 'sizes'),
    [(1, [1] * 9), (4, [4, 4, 1]), (3, [3] * 3), (9, [9]), (50, [9])],
)
def test_rows_in_order(
    dataset: InteractionDataset,
    positives: InteractionDataset,
    batch_size: int,
    sizes: list[int],
):
    for data in (dataset, positives):
        batches = read(InteractionLoader(data, batch_size))
        assert [len(batch) for batch in batches] == sizes
        assert flat(batches) == table(data)


def test_labels_are_kept_when_shuffled(dataset: InteractionDataset):
    loader = InteractionLoader(dataset, 4, shuffle=True)
    rows = flat(read(loader))
    assert rows != table(dataset)
    assert Counter(rows) == Counter(table(dataset))


@pytest.mark.parametrize('resample', [False, True])
@pytest.mark.parametrize('exclude', ['positive', 'seen'])
@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('num_negatives', [1, 3])
def test_each_positive_once_with_its_negatives(
    positives: InteractionDataset,
    num_negatives: int,
    shuffle: bool,
    exclude: str,
    resample: bool,
):
    negatives = UniformNegativeSampler(num_negatives, exclude, resample)
    loader = InteractionLoader(positives, 8, negatives, shuffle=shuffle)
    known = {(user, item) for user, item, *_ in table(positives)}
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        batches = read(loader)
        assert [len(batch) for batch in batches[:-1]] == [8] * (len(batches) - 1)
        check_epoch(positives, flat(batches), num_negatives)
        if exclude == 'seen':
            assert not known & {(row[0], row[1]) for row in flat(batches) if row[3] == 0}


class NextItems(UniformNegativeSampler):
    """Takes the items after the positive, to tell every draw from the others."""

    def sample(
        self,
        graph: BipartiteGraph,
        user: torch.Tensor,
        item: torch.Tensor,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        step = torch.arange(1, self.num_negatives + 1)
        return (item.unsqueeze(1) + step) % graph.num_items


@pytest.mark.parametrize('group', [False, True])
@pytest.mark.parametrize('shuffle', [False, True])
def test_every_draw_is_used(positives: InteractionDataset, shuffle: bool, group: bool):
    loader = InteractionLoader(
        positives, 5, NextItems(4), shuffle=shuffle, group_negatives=group
    )
    expected = [
        (user, (item + step) % 7, context, float(step == 0))
        for user, item, context, _ in table(positives)
        for step in range(5)
    ]
    rows = flat(read(loader))
    assert Counter(rows) == Counter(expected)
    assert (rows == expected) != shuffle


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize(('batch_size', 'groups'), [(3, 1), (4, 1), (7, 2), (100, 9)])
def test_groups(
    positives: InteractionDataset, batch_size: int, groups: int, shuffle: bool
):
    loader = InteractionLoader(
        positives,
        batch_size,
        UniformNegativeSampler(2),
        group_negatives=True,
        shuffle=shuffle,
    )
    batches = read(loader)
    check_epoch(positives, flat(batches), 2)
    full, last = divmod(9, groups)
    assert [len(b) for b in batches] == [groups * 3] * full + [last * 3] * (last > 0)
    for batch in batches:
        # Each context, hence each positive, is there with all of its rows.
        assert set(Counter(context for _, _, context, _ in batch).values()) == {3}
    order = [context for _, _, context, y in flat(batches) if y == 1]
    assert (order == list(range(9))) != shuffle


def negatives_of(rows: list[Row]) -> Counter:
    return Counter(row for row in rows if row[3] == 0)


@pytest.mark.parametrize('group', [False, True])
def test_fixed_and_fresh_negatives(positives: InteractionDataset, group: bool):
    for resample in (False, True):
        loader = InteractionLoader(
            positives,
            9,
            UniformNegativeSampler(3, resample=resample),
            group_negatives=group,
            shuffle=True,
        )
        epochs = []
        for epoch in range(4):
            loader.sampler.set_epoch(epoch)
            epochs.append(flat(read(loader)))
        # The order changes in any case, the negatives only where they are fresh.
        assert len({tuple(rows) for rows in epochs}) == 4
        distinct = {frozenset(negatives_of(rows).items()) for rows in epochs}
        assert len(distinct) == (4 if resample else 1)


@pytest.mark.parametrize('resample', [False, True])
def test_seed_and_epoch_decide(positives: InteractionDataset, resample: bool):
    def load(epochs: list[int], seed: int = 0) -> list[list[list[Row]]]:
        negatives = UniformNegativeSampler(2, resample=resample)
        loader = InteractionLoader(positives, 4, negatives, shuffle=True, seed=seed)
        result = []
        for epoch in epochs:
            loader.sampler.set_epoch(epoch)
            result.append(read(loader))
        return result

    before = load([0, 1, 2])
    torch.manual_seed(99)  # The global state has no say.
    assert load([2, 0, 1, 1]) == [before[2], before[0], before[1], before[1]]
    assert load([2]) == [before[2]]
    assert load([0], seed=1) != [before[0]]
    assert before[0] != before[1]


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize(
    'arguments',
    [
        {},
        {'negatives': UniformNegativeSampler(2)},
        {'negatives': UniformNegativeSampler(2, resample=True), 'group_negatives': True},
    ],
)
@pytest.mark.parametrize('num_replicas', [1, 2, 4, 11])
def test_replicas(
    positives: InteractionDataset, num_replicas: int, arguments: dict, shuffle: bool
):
    def load(**more: int) -> list[list[Row]]:
        loader = InteractionLoader(positives, 4, **arguments, shuffle=shuffle, **more)
        loader.sampler.set_epoch(3)
        return read(loader)

    whole = flat(load())
    parts = [load(num_replicas=num_replicas, rank=rank) for rank in range(num_replicas)]
    assert len({len(part) for part in parts}) == 1
    unit = 3 if arguments.get('group_negatives') else 1
    units = [whole[i : i + unit] for i in range(0, len(whole), unit)]
    # In turns, as in dealing cards; the first units fill the last round.
    per_replica = -(-len(units) // num_replicas)
    dealt = [units[i % len(units)] for i in range(per_replica * num_replicas)]
    for rank, part in enumerate(parts):
        assert flat(part) == flat(dealt[rank::num_replicas])
    assert set(whole) == {row for part in parts for row in flat(part)}


def test_replicas_as_torch_says(
    positives: InteractionDataset, monkeypatch: pytest.MonkeyPatch
):
    loader = InteractionLoader(positives, 2)
    expected = read(InteractionLoader(positives, 2, num_replicas=3, rank=2))
    # Processes are often started after the loader was made.
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 3)
    monkeypatch.setattr(dist, 'get_rank', lambda: 2)
    assert (
        read(loader)
        == expected
        == [[table(positives)[i] for i in (2, 5)], [table(positives)[8]]]
    )


def test_workers(positives: InteractionDataset):
    def load(**more: object) -> list[InteractionBatch]:
        negatives = UniformNegativeSampler(2, resample=True)
        loader = InteractionLoader(positives, 7, negatives, shuffle=True, **more)
        batches = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            batches += list(loader)
        return batches

    one, two = load(), load(num_workers=2, persistent_workers=True)
    assert len(one) == len(two) == 8
    for a, b in zip(one, two, strict=True):
        assert read_batch(a) == read_batch(b)
        a, b = a.expand(), b.expand()
        assert a.keys() == b.keys()
        for name in a.keys():  # noqa: SIM118
            same = a[name] == b[name]
            assert same.all() if isinstance(same, torch.Tensor) else same, name


def test_on_another_device(positives: InteractionDataset, device: torch.device):
    moved = positives.to(device)
    loader = InteractionLoader(moved, 8, UniformNegativeSampler(2), shuffle=True)
    for batch in loader:
        assert batch.item.x.device.type == batch.y.device.type == device.type
    check_epoch(positives, flat(read(loader)), 2)
    assert read(loader) == read(loader)


@pytest.mark.parametrize(
    ('labels', 'arguments', 'message'),
    [
        (True, {'negatives': UniformNegativeSampler(1)}, 'labels of its own'),
        (True, {'group_negatives': True}, '`group_negatives` needs `negatives`'),
        (False, {'group_negatives': True}, '`group_negatives` needs `negatives`'),
        (False, {'batch_size': 0}, r'at least 1 rows \(got 0\)'),
        (False, {'num_replicas': 2, 'rank': 2}, r'`rank`.*\(got 2 of 2\)'),
        (False, {'num_replicas': 2, 'rank': -1}, r'`rank`.*\(got -1 of 2\)'),
        (False, {'rank': 1}, r'`rank`.*\(got 1 of 1\)'),
        (
            False,
            {
                'batch_size': 3,
                'negatives': UniformNegativeSampler(3),
                'group_negatives': True,
            },
            r'at least 4 rows \(got 3\)',
        ),
    ],
)
def test_bad_arguments(
    dataset: InteractionDataset,
    positives: InteractionDataset,
    labels: bool,
    arguments: dict,
    message: str,
):
    with pytest.raises(ValueError, match=message):
        InteractionLoader(dataset if labels else positives, **arguments)


def test_no_rows(dataset: InteractionDataset):
    with pytest.raises(ValueError, match='no rows'):
        InteractionLoader(dataset[[]])


def tensors_of(value: object, seen: dict[int, object]) -> Iterator[torch.Tensor]:
    """Yields the tensors that an object holds, however deep."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, torch.Tensor):
        yield value
        return
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        parts = getattr(value, '__dict__', {}).values()
    for part in parts:
        yield from tensors_of(part, seen)


def megabytes(dataset: InteractionDataset, split: tuple) -> float:
    loader = InteractionLoader(
        split[0], 1024, UniformNegativeSampler(2, resample=True), shuffle=True
    )
    next(iter(loader))  # The negatives are drawn.
    tensors = tensors_of([dataset, split, loader], {})
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors}
    held = sum(storage.nbytes() for storage in storages.values())
    rows = 3 * 8 * (len(dataset) + sum(len(part) for part in split[:3]))
    assert held > rows + 2 * 8 * len(split[0])
    return held / 2**20


def test_memory_of_a_log():
    """Ids are stored, graphs are not: 96,203 rows with eight context columns."""
    rng = np.random.default_rng(0)
    contexts = rng.integers(0, 40, (18_603, 8)).astype(str)
    log = pd.DataFrame(
        contexts[rng.integers(0, len(contexts), 96_203)],
        columns=[f'context{i}' for i in range(8)],
    )
    log['user'] = rng.integers(0, 957, len(log))
    log['item'] = rng.integers(0, 4_082, len(log))
    items = pd.DataFrame({'item': range(4_082)})
    items = items.assign(**{f'field{i}': items['item'] % (i + 20) for i in range(5)})
    dataset = InteractionDataset.from_pandas(
        log,
        users=None,
        items=items,
        schema=FeatureSchema(
            user=[Categorical('user')],
            item=[Categorical(name) for name in items],
            context=[Categorical(f'context{i}') for i in range(8)],
        ),
    )
    assert megabytes(dataset, leave_last_out(dataset, min_records=6)) < 20


def test_memory_of_frappe(data_root: Path):
    dataset = Frappe(data_root / 'frappe')
    assert len(dataset) == 96_203
    assert megabytes(dataset, dataset.split()) < 20


def test_transforms_are_for_single_samples(dataset):
    transformed = copy.copy(dataset)
    transformed.transform = lambda data: data
    with pytest.raises(ValueError, match='transform, which is for single samples'):
        InteractionLoader(transformed)

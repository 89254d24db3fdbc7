"""What a log and its tables must hold, and which types of columns mean the same."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from cinema import TABLES, build
from compare import assert_same_data

from iedr_geo.data import BipartiteGraph, InteractionDataset

GUESTS = [3, 1, 2, 7]
TYPES = [pd.Series(GUESTS, dtype=kind) for kind in ('int64', 'uint8', 'Int32', 'float32')]
TYPES += [pd.Series(GUESTS, dtype=object), pd.Series(GUESTS).astype('category')]
TYPES += [pd.Series(map(str, GUESTS)), pd.Series(map(str, GUESTS), dtype='string')]
TYPES += [pd.Series(pd.to_datetime(GUESTS, unit='D'))]
TYPES += [pd.Series(['3.0', '1.0', '2.0', '7']), pd.Series([3, 'one', True, '7.0'])]
TYPES += [pd.Series([f'2024-03-0{guest}T00:00:00Z' for guest in GUESTS])]


@pytest.mark.parametrize('ids', TYPES, ids=lambda ids: str(ids.dtype))
def test_ids_keep_the_type_of_their_column(ids: pd.Series, tmp_path: Path):
    """And its spelling, so that they find their rows in the user's own tables, also after
    a file.
    """
    users = TABLES['users'].assign(guest=ids)
    log = TABLES['log'].assign(guest=ids.take([0, 1, 2, 0, 3, 1, 3, 2]).array)
    dataset = build(TABLES | {'users': users, 'log': log})
    dataset.save(tmp_path / 'dataset.pt')
    graph = BipartiteGraph.from_pandas(log, 'guest', 'film')
    for own in (
        dataset.own_ids('user'),
        InteractionDataset.load(tmp_path / 'dataset.pt').own_ids('user'),
        BipartiteGraph.from_dataset(dataset).user_ids,
        graph.user_ids,
    ):
        found = own.to_frame(index=False).merge(users)
        assert own.name == 'guest' and found['income'].tolist() == [1, 2, 3, 2]


@pytest.mark.parametrize('dtype', ['float64', 'Float64', 'float32'])
def test_ids_that_floating_point_merges(dtype: str):
    exact = 2**24 if dtype == 'float32' else 2**53
    log = TABLES['log'].assign(guest=[0, 1, 2, exact] * 2)
    users = TABLES['users'].assign(guest=pd.Series([0, 1, 2, exact + 1], dtype=dtype))
    tables = {'users': users, 'log': log}
    with pytest.raises(ValueError, match=r"'guest' of the user table.*as text or Int64"):
        build(TABLES | tables)
    for frame in tables.values():
        frame['guest'] = frame['guest'].clip(upper=exact - 1)
    assert build(TABLES | tables).user_ids[-1] == str(exact - 1)


@pytest.mark.parametrize('dtype', ['float64', 'float32', object])
def test_times_that_floating_point_merges(dtype: Any):
    exact = 2**24 if dtype == 'float32' else 2**53
    sold = pd.Series([float(exact), *range(7)], dtype=dtype)
    with pytest.raises(ValueError, match=rf"'sold' holds {exact}, .*as text or Int64"):
        build(TABLES | {'log': TABLES['log'].assign(sold=sold)})
    times = build(TABLES | {'log': TABLES['log'].assign(sold=sold - 1)}).time
    assert times[0] == exact - 1


@pytest.mark.parametrize(
    'times',
    [
        [str(2**62 + i) for i in (3, 0, 1, 2, 7, 6, 5, 4)],
        pd.Series([2**62 + i for i in (3, 0, 1, 2, 7, 6, 5, 4)], dtype='Int64'),
        [2**62 + i for i in (3, 0, 1, 2, 7, 6, 5, 4)],
        pd.to_datetime([2**62 + i for i in (3, 0, 1, 2, 7, 6, 5, 4)]),
        pd.to_timedelta([2**62 + i for i in (3, 0, 1, 2, 7, 6, 5, 4)]),
    ],
)
def test_nanoseconds_keep_their_order(times: Any):
    dataset = build(TABLES | {'log': TABLES['log'].assign(sold=times)})
    assert dataset.time.tolist() == [2**62 + i for i in (3, 0, 1, 2, 7, 6, 5, 4)]
    late = pd.Series(['9999-12-31'] * 8, dtype='M8[s]')
    with pytest.raises(ValueError, match="'sold' holds times that nanoseconds cannot"):
        build(TABLES | {'log': TABLES['log'].assign(sold=late)})


def assert_same_datasets(one: InteractionDataset, two: InteractionDataset) -> None:
    assert one.schema == two.schema
    assert one.user_ids.equals(two.user_ids) and one.item_ids.equals(two.item_ids)
    for name in ('user', 'item', 'context', 'y', 'time'):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    for side in ('users', 'items', 'contexts'):
        every = torch.arange(len(getattr(one, side)))
        assert_same_data(*(getattr(d, side).batch(every) for d in (one, two)))
    again = one.schema.encode('context', two.context_frame)
    assert torch.equal(again.x, one.contexts.x)


@pytest.mark.parametrize(
    'dtypes',
    [
        *(['float'], ['int8'], ['str'], [object], ['str', object], ['category']),
        *(['str', 'category'], ['Int64'], ['Float64'], ['string'], ['int32[pyarrow]']),
        *(['double[pyarrow]'], ['str', 'string[pyarrow]']),
    ],
    ids=str,
)
@pytest.mark.parametrize('table', ['users', 'log'])
def test_types_of_ids(dtypes: list, table: str):
    if 'pyarrow' in str(dtypes):
        pytest.importorskip('pyarrow')
    column = TABLES[table]['guest']
    for dtype in dtypes:
        column = column.astype(dtype)
    tables = TABLES | {table: TABLES[table].assign(guest=column)}
    assert_same_datasets(build(TABLES), build(tables))


def through_csv(frame: pd.DataFrame) -> pd.DataFrame:
    lists = [c for c in frame if frame[c].map(lambda cell: isinstance(cell, list)).any()]
    parse = {c: lambda text: json.loads(text) if text else None for c in lists}
    written = frame.assign(
        **{c: frame[c].map(json.dumps, na_action='ignore') for c in lists}
    )
    return pd.read_csv(io.StringIO(written.to_csv(index=False)), converters=parse)


def through_parquet(frame: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
    pytest.importorskip('pyarrow')
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return pd.read_parquet(file, **kwargs)


@pytest.mark.parametrize(
    'travel',
    [
        through_csv,
        through_parquet,
        lambda frame: through_parquet(frame, dtype_backend='numpy_nullable'),
        lambda frame: through_parquet(frame, dtype_backend='pyarrow'),
        pd.DataFrame.convert_dtypes,
    ],
    ids=['csv', 'parquet', 'parquet of nullable', 'parquet of arrow', 'convert'],
)
def test_round_trips(travel: Callable):
    tables = {name: travel(frame) for name, frame in TABLES.items()}
    assert_same_datasets(build(TABLES), build(tables))

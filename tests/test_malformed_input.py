"""Whatever users give: an error of our own that names what is wrong, or what they meant.

What the cells of tables can be is in ``data/columns/test_any_column.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cinema import TABLES, build
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed import CELLS, objects, outcome

from iedr_geo.data import (
    BipartiteGraph,
    CandidateLists,
    InteractionDataset,
    intervened_split,
    leave_last_out,
    random_split,
    time_split,
)
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.loader import InteractionBatch
from iedr_geo.metrics import NDCG
from iedr_geo.nn import DICE, IEDR, MF
from iedr_geo.recommend import Recommender, load_model

CONTEXT = {'with': 'none', 'time': '2024-03-02T10', 'heat': 1.0, 'snacks': ['m']}


def make_model(dataset: InteractionDataset) -> IEDR:
    return IEDR(dataset.schema.num_embeddings, 4, 8).eval()


@pytest.fixture(scope='module')
def dataset() -> InteractionDataset:
    return build(TABLES, exclude_seen=False)


@pytest.fixture(scope='module')
def recommender(dataset: InteractionDataset) -> Recommender:
    torch.manual_seed(0)
    return Recommender(make_model(dataset).double(), dataset)


@settings(max_examples=50)
@given(column=st.sampled_from(sorted(CONTEXT)), cell=st.sampled_from(CELLS))
@pytest.mark.filterwarnings('ignore:The model has not seen')
def test_contexts(dataset, recommender, column: str, cell: Any):
    context = CONTEXT | {column: cell}
    frame = pd.DataFrame({name: objects([value]) for name, value in context.items()})
    rows = frame.assign(guest=3)
    one = outcome(lambda: recommender.recommend(3, context, 5), f"'{column}'")
    many = outcome(lambda: recommender.recommend_many(rows, 5), f"'{column}'")
    assert (one is None) == (many is None)
    if one is None:
        return
    here, items = dataset[:0], torch.arange(dataset.num_items)
    here.contexts = dataset.schema.encode('context', frame)
    zero = torch.zeros_like(items)
    batch = InteractionBatch.from_ids(here, zero, items, zero)
    scores = recommender.model(batch).tolist()
    for table in (one, many):
        wanted = [scores[dataset.own_ids('item').get_loc(i)] for i in table['film']]
        np.testing.assert_allclose(table['score'], wanted, rtol=1e-6)
        np.testing.assert_allclose(table['score'], sorted(scores)[::-1], rtol=1e-6)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'context': CONTEXT | {5: 1}}, "context has no column '5'"),
        ({'k': None}, r'`k` must be at least 1 \(got None\)'),
        ({'candidates': [None, 11]}, 'candidates are not .*: None'),
        ({'candidates': [['a']]}, 'candidates are not'),
        ({'user': [3]}, "'guest' holds lists"),
        ({'user': {'age': 'old'}}, "'age' is declared a number"),
        ({'user': {'taste': [1.0, 2.0, 3.0]}}, "'taste' holds vectors of length 3"),
        ({'user': {'height': 1}}, "no column 'height'"),
        ({'user': {'joined': 'late'}}, "'joined' holds what is no time"),
    ],
)
def test_requests(recommender, arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        recommender.recommend(**{'user': 3, 'context': CONTEXT} | arguments)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda rows: rows.to_dict('list'), 'rows table must be a DataFrame.*dict'),
        (lambda rows: pd.concat([rows, rows[['guest']]], axis=1), r"rows.*\['guest'\]"),
        (lambda rows: rows[:0], 'rows table is empty'),
        (lambda rows: rows.assign(guest=[[1]] * len(rows)), "'guest' holds lists"),
    ],
)
def test_many_requests(recommender, change: Callable, message: str):
    with pytest.raises(ValueError, match=message):
        recommender.recommend_many(change(TABLES['log']))


def test_shares_and_counts(dataset):
    graph = BipartiteGraph.from_dataset(dataset)
    shares = [-0.1, 0.0, 0.2, 0.5, 1.0, 1.5, np.nan, np.inf]
    for one, two in product(shares, shares):
        for split in (random_split, time_split):
            parts = outcome(lambda: split(dataset, one, two), 'hares', 'part of the sp')  # noqa: B023
            assert parts is not None or not (one == 0.2 == two)
        outcome(
            lambda: intervened_split(graph, one, two, parts=(two, one, 1 - one - two)),  # noqa: B023
            *('`share`', '`parts`', 'share of', 'part of the split'),
        )
    for number in (0, -1, 2.5, 100):
        with pytest.raises(ValueError, match=rf'`min_records`|No user has {number}'):
            leave_last_out(dataset, number)


def test_small_catalogues(dataset):
    tables = TABLES | {'log': TABLES['log'].assign(film=11)}
    alone = build(tables | {'items': TABLES['items'][1:2]})
    with pytest.raises(ValueError, match='catalogue of at least two items'):
        CandidateLists.sample(alone)
    two = build(tables | {'items': TABLES['items'][:2]})
    lists = CandidateLists.sample(two, 5)
    assert set(lists.item[lists.target == 0].tolist()) == {0}
    with pytest.raises(ValueError, match=r'ndcg@3: the catalogue has only 2 items'):
        evaluate_catalogue(make_model(two), two, [], metrics=[NDCG(2), NDCG(3)])
    lists, metrics = CandidateLists.sample(dataset, 2), [NDCG(3), NDCG(50)]
    values = evaluate_candidates(make_model(dataset), dataset, lists, metrics).per_list
    assert values['ndcg@3'].tolist() == values['ndcg@50'].tolist()


def test_truncated_datasets(tmp_path, dataset):
    path = tmp_path / 'dataset.pt'
    dataset.save(path)
    content = path.read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert outcome(lambda: InteractionDataset.load(path), 'dataset.pt') is None
    for other in ({}, [1], {'users': None}):
        torch.save(other, path)
        message = r'dataset\.pt is damaged or holds no dataset'
        with pytest.raises(ValueError, match=message):
            InteractionDataset.load(path)
    with pytest.raises(FileNotFoundError, match=r'another\.pt'):
        InteractionDataset.load(tmp_path / 'another.pt')
    with pytest.raises(FileNotFoundError, match=r'dataset\.pt'):
        dataset.save(tmp_path / 'nowhere' / 'dataset.pt')


@st.composite
def damaged(draw: Any, content: Any) -> Any:
    """JSON that somewhere lacks something, or has something else."""
    if not content or not isinstance(content, (dict, list)):
        return draw(st.sampled_from([None, 5, -1, 1.5, 'x', [], {}, True, [1]]))
    copied = content.copy()
    keys = sorted(content) if isinstance(content, dict) else range(len(content))
    key = draw(st.sampled_from(keys))
    if draw(st.integers(0, 3)):
        copied[key] = draw(damaged(content[key]))
    else:
        del copied[key]
    return copied


@pytest.fixture(scope='module')
def folders(tmp_path_factory, dataset, recommender) -> dict[str, Path]:
    graph = BipartiteGraph.from_dataset(dataset)
    mf = MF(graph.num_users, graph.num_items, 4)
    folders = {kind: tmp_path_factory.mktemp('model') / kind for kind in ('iedr', 'dice')}
    recommender.save(folders['iedr'])
    Recommender(DICE(mf, graph.popularity), graph).save(folders['dice'])
    return folders


@pytest.mark.parametrize(
    ('kind', 'name'),
    [('iedr', 'config.json'), ('iedr', 'schema.json'), ('dice', 'config.json')],
)
@settings(max_examples=20)
@given(data=st.data())
def test_damaged_model_folders(folders, kind: str, name: str, data: Any):
    folder = folders[kind]
    [path] = folder.glob(f'*/{name}')
    text = path.read_text()
    try:
        content = data.draw(damaged(json.loads(text)))
        path.write_text(json.dumps(content))
        recommender = outcome(lambda: Recommender.load(folder, verify=False), str(folder))
        if recommender is not None:  # What was damaged is of no account.
            context = CONTEXT if kind == 'iedr' else None
            assert len(recommender.recommend('3', context, 1)) == 1
            if kind == 'iedr':
                load_model(folder, verify=False)
    finally:
        path.write_text(text)

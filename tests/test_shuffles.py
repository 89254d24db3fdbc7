"""Neither the order of rows nor what things are called changes a recommendation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cinema import TABLES, build, make_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import (
    CandidateLists,
    Categorical,
    InteractionDataset,
    MultiCategorical,
    UniformNegativeSampler,
)
from iedr_geo.metrics import NDCG
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Recommender
from iedr_geo.training import InteractionModule, fit
from iedr_geo.transforms import FieldPairs

EDGES = {'item': FieldPairs([('film', 'genres'), ('film', 'price', 2), ('film', 'film')])}
LOG = TABLES['log']
CONTEXTS = LOG[['with', 'time', 'heat', 'snacks']].iloc[[0, 1, 3]].to_dict('records')


def make_model(dataset: InteractionDataset, **kwargs: Any) -> IEDR:
    torch.manual_seed(0)
    return IEDR(dataset.schema.num_embeddings, 4, 8, **kwargs).double().eval()


def shuffled(seed: int) -> dict[str, pd.DataFrame]:
    """Shuffles rows, their labels and the columns of all tables."""
    random = np.random.default_rng(seed)
    tables = {}
    for name, frame in TABLES.items():
        changed = frame.iloc[random.permutation(len(frame))]
        changed = changed[random.permutation(list(frame))]
        tables[name] = changed.set_axis(random.integers(0, 3, len(frame)))
    return tables


def answers(recommender: Recommender) -> dict[str, pd.DataFrame]:
    """Everything that a recommender says of all users, in all contexts of the log."""
    tables = {
        'many': recommender.recommend_many(LOG, 4).drop(columns='row'),
        'similar': recommender.similar_items(11, CONTEXTS[0], k=4),
        'compared': recommender.compare_contexts(7, *CONTEXTS[:2], k=3),
    }
    for i, context in enumerate(CONTEXTS):
        for seen in (True, False):
            one = recommender.recommend(3, context, 5, exclude_seen=seen)
            tables[f'one {i} {seen}'] = one
    said = recommender.explain(1, 14, CONTEXTS[1])
    assert said.score == pytest.approx(sum(said.parts.values()))
    parts = pd.DataFrame([said.parts])
    return tables | {'parts': parts, 'features': said.features, 'pairs': said.pairs}


def assert_same_answers(one: Recommender, two: Recommender, **kwargs: Any) -> None:
    theirs = answers(two)
    for name, table in answers(one).items():
        pd.testing.assert_frame_equal(table, theirs[name], obj=name, **kwargs)


@settings(max_examples=2)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_rows_and_columns(seed: int):
    one, two = build(TABLES, make_schema(edges=EDGES)), build(shuffled(seed))
    two = two.with_edges(**EDGES)
    assert one.schema == two.schema  # So equal weights mean the same.
    model = make_model(one, pointwise=True)
    recommenders = (Recommender(model, dataset) for dataset in (one, two))
    assert_same_answers(*recommenders, rtol=1e-9, atol=1e-9)


def name_maps(dataset: InteractionDataset, seed: int) -> dict[str, dict[str, str]]:
    """Gives each id and category another name, whose order says nothing of its own."""
    maps, random = {}, np.random.default_rng(seed)
    for side in ('user', 'item', 'context'):
        for column in dataset.schema.columns(side):
            if isinstance(column, (Categorical, MultiCategorical)):
                values = {*dataset.schema.vocabulary[side][column.name]}
                # And those that are too rare to be in the vocabulary.
                values = sorted(
                    values | {'town': {'y'}, 'tags': {'l'}}.get(column.name, set())
                )
                order = random.permutation(len(values)).tolist()
                maps[column.name] = {
                    v: f'n{i}' for v, i in zip(values, order, strict=True)
                }
    return maps


def renamed(names: dict[str, dict[str, str]]) -> dict[str, pd.DataFrame]:
    """Renames ids and categories in all tables."""

    def rename(cell: Any, known: dict[str, str]) -> Any:
        if isinstance(cell, list):
            return [known[value] for value in cell]
        return '|'.join(known[value] for value in str(cell).split('|') if value)

    return {
        name: frame.assign(
            **{
                column: frame[column].map(
                    lambda cell, known=names[column]: rename(cell, known),
                    na_action='ignore',
                )
                for column in frame
                if column in names
            }
        )
        for name, frame in TABLES.items()
    }


@settings(max_examples=2)
@given(seed=st.integers(0, 2**32 - 1))
def test_names_of_ids_and_categories(seed: int):
    one = build(TABLES, make_schema(edges=EDGES))
    names = name_maps(one, seed)
    tables = renamed(names)
    two = build(tables, make_schema(edges=EDGES))

    def translated(name: str) -> str:
        field, _, value = name.partition('=')
        return f'{field}={names.get(field, {}).get(value, value)}'

    # The rows of embeddings move to where the other schema has their values.
    there = {name: row for row, name in enumerate(two.schema.names())}
    order = [there[translated(name)] for name in one.schema.names()]
    assert sorted(order) == list(range(len(there)))
    model, other = (make_model(one, pointwise=True) for _ in range(2))
    for key in ('embedding', 'pointwise'):
        weight = getattr(model, key).weight.data
        getattr(other, key).weight.data[order] = weight

    ours = Recommender(model, one).recommend_many(LOG, 4)
    theirs = Recommender(other, two).recommend_many(tables['log'], 4)
    for side in ('guest', 'film'):
        ours[side] = [names[side][str(cell)] for cell in ours[side]]
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, rtol=1e-9)

    new = tables['log'][list(CONTEXTS[0])].iloc[0].to_dict()
    said = Recommender(model, one).explain(3, 11, CONTEXTS[0])
    told = Recommender(other, two).explain(names['guest']['3'], names['film']['11'], new)
    assert said.score == pytest.approx(told.score, rel=1e-9)
    assert said.parts == pytest.approx(told.parts, rel=1e-9)
    for a, b in ((said.features, told.features), (said.pairs, told.pairs)):
        labels = [name for name in a if name.startswith('feature')]
        a = a.assign(**{label: a[label].map(translated) for label in labels})
        pd.testing.assert_frame_equal(a, b, check_dtype=False, rtol=1e-6, atol=1e-12)


def train(tables: dict, folder: Path) -> Recommender:
    """Trains two epochs on the log in the order of time, ranked by its own rows."""
    dataset = build(tables, label=None)
    dataset = dataset[torch.argsort(dataset.time)]
    model = make_model(dataset, num_negatives=2, contrastive_weight=0.0)
    module = InteractionModule(
        model,
        dataset,
        dataset,
        CandidateLists.sample(dataset, 2),
        negatives=UniformNegativeSampler(2, resample=True),
        batch_size=8,
        learning_rate=0.05,
        metrics=[NDCG(2)],
        monitor='ndcg@2',
    )
    before = model.embedding.weight.clone()
    result = fit(module, folder, accelerator='cpu', max_epochs=2, progress=False)
    assert not torch.equal(before, result.model.embedding.weight)
    return Recommender(result.model, dataset)


@pytest.mark.parametrize('seed', [3, pytest.param(2, marks=pytest.mark.full)])
def test_training_looks_at_values_alone(seed: int, tmp_path):
    """But for the contrastive loss, whose draws go by numbers of users and contexts, and
    for the order of items, whose numbers negatives are drawn by.
    """
    tables = shuffled(seed) | {'items': TABLES['items']}
    one, two = train(TABLES, tmp_path / 'one'), train(tables, tmp_path / 'two')
    assert list(two.data.user_ids) != list(one.data.user_ids)
    assert_same_answers(one, two, rtol=1e-6, atol=1e-6)

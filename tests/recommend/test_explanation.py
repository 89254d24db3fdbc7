"""Explanations against scores of samples that are put together by hand."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pandas as pd
import pytest
import torch
from shop import ARTICLES, CONTEXTS, make_model, make_shop, row_of
from torch_geometric.data import Batch

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionData,
    InteractionDataset,
    MultiCategorical,
)
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Explanation, Recommender, UnknownValueWarning, explanation

CUSTOMER, ARTICLE, CONTEXT = 4, 112, CONTEXTS[1]
# One without an id, and an article with a tag that no other has.
STRANGER = {'age': -2, 'income': 0.5, 'town': 'y'}
NOVELTY = {'tags': 's|p|z', 'price': 8.5}
FEATURES = [
    ('user', ['customer=4', 'age=<number>', 'income=<number>', 'town=y']),
    ('item', ['tags=p', 'tags=q', 'tags=r', 'price=3 to 9']),
    ('context', ['day=mon', 'gift=False']),
]
NEW_FEATURES = [
    ('user', ['customer=<missing>', 'age=<number>', 'income=<number>', 'town=y']),
    ('item', ['tags=s', 'tags=p', 'tags=<unknown>', 'price=3 to 9']),
    ('context', ['day=mon', 'gift=False']),
]
Graph = tuple[list[int], list[float], Iterable[tuple[int, int]]]


@pytest.fixture(scope='module')
def dataset() -> InteractionDataset:
    return make_shop()


def graphs_of(schema: FeatureSchema, user: dict, item: dict) -> dict[str, Graph]:
    """Nodes, their values and all pairs of them, for each side."""
    graphs = {}
    for side, row in (('user', user), ('item', item), ('context', CONTEXT)):
        names = [column.name for column in schema.columns(side)]
        frame = pd.DataFrame([dict.fromkeys(names) | row], dtype=object)
        encoded = schema.encode(side, frame)
        nodes = encoded.x.tolist()
        value = [1.0] * len(nodes) if encoded.value is None else encoded.value.tolist()
        graphs[side] = nodes, value, list(product(range(len(nodes)), repeat=2))
    return graphs


def score_of(model: IEDR, graphs: dict[str, Graph]) -> float:
    data = InteractionData(num_nodes=sum(len(nodes) for nodes, *_ in graphs.values()))
    for side, (nodes, value, edges) in graphs.items():
        data[f'x_{side}'] = torch.tensor(nodes)
        data[f'value_{side}'] = torch.tensor(value)
        data[f'edge_index_{side}'] = torch.tensor(list(edges), dtype=torch.long).t()
    sides = [f'x_{side}' for side in graphs]
    return float(model(Batch.from_data_list([data], follow_batch=sides)))


def without_feature(graph: Graph, i: int) -> Graph:
    nodes, value = ([*part[:i], *part[i + 1 :]] for part in graph[:2])
    return nodes, value, product(range(len(nodes)), repeat=2)


def without_pair(graph: Graph, i: int, j: int) -> Graph:
    nodes, value, edges = graph
    return nodes, value, [edge for edge in edges if edge not in ((i, j), (j, i))]


def check(found: Explanation, model: IEDR, graphs: dict[str, Graph], features) -> None:
    """Compares all rows with scores of one sample at a time."""
    score = score_of(model, graphs)
    assert found.score == pytest.approx(score, abs=1e-5)
    assert sum(found.parts.values()) == pytest.approx(score, abs=1e-5)
    singles, pairs = [], []
    for side, labels in features:
        graph = graphs[side]
        for i, one in enumerate(labels):
            rest = score_of(model, graphs | {side: without_feature(graph, i)})
            singles.append((side, one, score - rest))
            for j in range(i, len(labels)):
                rest = score_of(model, graphs | {side: without_pair(graph, i, j)})
                pairs.append((side, one, labels[j], score - rest))
    names = ['side', 'feature', 'difference']
    expected = pd.DataFrame(singles, columns=names)
    pd.testing.assert_frame_equal(found.features, expected, rtol=1e-4, atol=1e-5)
    names = ['side', 'feature_a', 'feature_b', 'difference']
    expected = pd.DataFrame(pairs, columns=names)
    pd.testing.assert_frame_equal(found.pairs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('chunk', [4, 1024])
@pytest.mark.parametrize('pointwise', [False, True])
@pytest.mark.parametrize('encoder', ['sign', 'bi', 'mean', 'mlp'])
def test_equals_samples_by_hand(dataset, encoder, pointwise, chunk, monkeypatch, device):
    if chunk != 1024: monkeypatch.setattr(explanation.explain, '__defaults__', (chunk,))
    model = make_model(dataset.schema, encoder=encoder, pointwise=pointwise)
    article = ARTICLES[ARTICLES['article'] == ARTICLE].to_dict('records')[0]
    graphs = graphs_of(dataset.schema, row_of(CUSTOMER), article)
    recommender = Recommender(model.to(device), dataset)
    found = recommender.explain(CUSTOMER, ARTICLE, CONTEXT)
    check(found, model.cpu(), graphs, FEATURES)
    assert list(found.parts) == list(recommender.parts)
    assert found.features['difference'].abs().min() > 1e-6
    # What looks at no pairs has nothing to lose with them, others do.
    pairs = found.pairs['difference'].abs()
    assert (pairs.max() < 1e-6) == (encoder in ('mean', 'mlp'))


@pytest.mark.parametrize('generator', ['linear', 'split', 'residual'])
def test_new_user_and_item(dataset, generator):
    model = make_model(dataset.schema, generator=generator, pointwise=True)
    with pytest.warns(UnknownValueWarning, match='tags'):
        found = Recommender(model, dataset).explain(STRANGER, NOVELTY, CONTEXT)
    graphs = graphs_of(dataset.schema, STRANGER, NOVELTY)
    check(found, model, graphs, NEW_FEATURES)


def test_a_tag_less_is_the_article_without_it(dataset):
    """One that has the same other tags is in the catalogue."""
    model = make_model(dataset.schema, encoder='sign')
    recommender = Recommender(model, dataset)
    both, single = {'tags': 'p|q', 'price': 3}, {'tags': 'p', 'price': 3}
    found = recommender.explain(CUSTOMER, both, CONTEXT).features
    [difference] = found[found['feature'] == 'tags=q']['difference']
    scores = [recommender.score(CUSTOMER, item, CONTEXT) for item in (both, single)]
    assert difference == pytest.approx(scores[0] - scores[1], abs=1e-5)


def test_sides_of_a_single_feature():
    """They have no rows: without it nothing would remain."""
    log = pd.DataFrame({'user': ['a', 'b'], 'item': [1, 2], 'place': ['x', 'y']})
    items = pd.DataFrame({'item': [1, 2], 'tags': [['p'], ['q', 'p']]})
    schema = FeatureSchema(
        [Categorical('user')], [MultiCategorical('tags')], [Categorical('place')]
    )
    dataset = InteractionDataset.from_pandas(log, None, items, schema)
    recommender = Recommender(make_model(schema), dataset)
    found = recommender.explain('a', 1, {'place': 'y'})
    assert list(found.features) == ['side', 'feature', 'difference']
    assert list(found.pairs) == ['side', 'feature_a', 'feature_b', 'difference']
    assert found.features.empty and found.pairs.empty
    assert 'Without' not in str(found)
    found = recommender.explain('a', 2, {'place': 'y'})
    assert found.features['feature'].tolist() == ['tags=q', 'tags=p']
    assert found.pairs['side'].tolist() == ['item'] * 3


def test_reads_well(dataset):
    """The score with its parts, features by the size of the difference, and a note."""
    model = make_model(dataset.schema)
    found = Recommender(model, dataset).explain(CUSTOMER, ARTICLE, CONTEXT)
    first, heading, *rows, note = str(found).splitlines()
    parts = [f'{name} {part:+.3f}' for name, part in found.parts.items()]
    assert first == f'score {found.score:+.3f} = ' + '  '.join(parts)
    assert heading == 'Without a feature it falls by:'
    assert 'do not add up' in note
    expected = sorted(
        found.features.itertuples(index=False), key=lambda row: -abs(row.difference)
    )
    assert rows == [
        f'  {row.difference:+.3f}  {row.feature} ({row.side})' for row in expected[:8]
    ]


def test_changes_nothing(dataset):
    """Neither the stored graphs nor what is recommended afterwards."""
    recommender = Recommender(make_model(dataset.schema), dataset)
    before = recommender.recommend(CUSTOMER, CONTEXT)
    found = [recommender.explain(CUSTOMER, ARTICLE, CONTEXT) for _ in range(2)]
    pd.testing.assert_frame_equal(found[0].features, found[1].features)
    pd.testing.assert_frame_equal(recommender.recommend(CUSTOMER, CONTEXT), before)


def test_wrong_context(dataset):
    recommender = Recommender(make_model(dataset.schema), dataset)
    with pytest.raises(ValueError, match="lacks column 'gift'"):
        recommender.explain(CUSTOMER, ARTICLE, {'day': 'mon'})
    with pytest.raises(ValueError, match="no column 'place'"):
        recommender.explain(CUSTOMER, ARTICLE, CONTEXT | {'place': 'x'})

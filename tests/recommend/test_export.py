"""What leaves the library: embeddings as tables, the scoring head as a program."""

import pandas as pd
import pytest
import torch
from torch.export import Dim

from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import DICE, IEDR, MF
from iedr_geo.nn.generator import GENERATORS
from iedr_geo.recommend import Recommender, ScoringHead


@pytest.fixture(scope='module')
def dataset():
    return PlantedFactors(num_users=20, num_items=15, num_interactions=160)


def make_model(dataset, **arguments):
    torch.manual_seed(0)
    return IEDR(dataset.schema.num_embeddings, 8, 16, **arguments).eval()


def all_triples(dataset, context):
    user, item = torch.cartesian_prod(torch.arange(20), torch.arange(15)).unbind(1)
    rows = torch.full_like(user, context)
    return InteractionBatch.from_ids(dataset, user, item, rows)


@torch.no_grad()
def test_embeddings_give_the_scores(dataset):
    model = make_model(dataset)
    recommender = Recommender(model, dataset)
    context = dataset.context_frame.iloc[3]
    users, items = (recommender.embeddings(side, context) for side in ('user', 'item'))
    assert users.index.tolist() == dataset.user_ids.tolist()
    assert items.index.name == 'item' and users.index.name == 'user'
    vectors = [
        t['intrinsic'].to_numpy() + t['extrinsic'].to_numpy() for t in (users, items)
    ]
    scores = torch.from_numpy(vectors[0] @ vectors[1].T)
    wanted = model(all_triples(dataset, 3)).view(20, 15)
    torch.testing.assert_close(scores, wanted, rtol=1e-4, atol=1e-5)
    # Without a context, IEDR has no factors.
    assert recommender.embeddings('item').columns.levels[0].tolist() == ['vector']
    pd.testing.assert_frame_equal(recommender.embeddings('item'), items[['vector']])
    with pytest.raises(ValueError, match=r"'user' or 'item' \(got 'context'\)"):
        recommender.embeddings('context')


def test_parquet(dataset, tmp_path):
    pytest.importorskip('pyarrow')
    recommender = Recommender(make_model(dataset), dataset)
    context = dataset.context_frame.iloc[0]
    recommender.export(tmp_path / 'new', context)
    for side in ('user', 'item'):
        read = pd.read_parquet(tmp_path / 'new' / f'{side}s.parquet')
        wanted = recommender.embeddings(side, context)
        assert read[side].tolist() == wanted.index.tolist()
        assert read['extrinsic_7'].tolist() == wanted['extrinsic'][7].tolist()
        assert len(read.columns) == 1 + 3 * 8


def test_factors_of_a_bipartite_model(dataset):
    graph = BipartiteGraph.from_dataset(dataset)
    model = DICE(MF(20, 15, channels=6), graph.popularity)
    table = Recommender(model, graph).embeddings('item')
    weight = model.backbone.item.weight.detach()
    assert table['conformity'].to_numpy().tolist() == weight[:, 3:].tolist()
    assert table['vector'].to_numpy().tolist() == weight.tolist()


@pytest.mark.parametrize('generator', GENERATORS)
@pytest.mark.filterwarnings('ignore')
def test_scoring_head(dataset, generator):
    """As the model, also as a program that takes other numbers of rows."""
    model = make_model(dataset, generator=generator)
    with torch.no_grad():
        user, context, item = (
            model.encode_graphs(side, graphs.batch(torch.arange(len(graphs))))[0]
            for side, graphs in (
                ('user', dataset.users),
                ('context', dataset.contexts),
                ('item', dataset.items),
            )
        )
        wanted = model(all_triples(dataset, 2)).view(20, 15)
    contexts = context[2].expand(20, -1)
    head, rows, items = ScoringHead(model), Dim('rows'), Dim('items')
    program = torch.export.export(
        head,
        (user[:3], contexts[:3], item[:5]),
        dynamic_shapes=({0: rows}, {0: rows}, {0: items}),
    )
    for score in (head, program.module()):
        torch.testing.assert_close(score(user, contexts, item), wanted)

"""What leaves the library: embeddings as tables, the scoring head as a program."""

import pandas as pd
import pytest
import torch

from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import DICE, IEDR, MF
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
    assert recommender.embeddings('item').columns.levels[0].tolist() == ['readout']
    pd.testing.assert_frame_equal(recommender.embeddings('item'), items[['readout']])
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
    from iedr_geo.data import BipartiteGraph

    graph = BipartiteGraph.from_dataset(dataset)
    model = DICE(MF(20, 15, channels=6), graph.popularity)
    table = Recommender(model, graph).embeddings('item')
    weight = model.backbone.item.weight.detach()
    assert table['conformity'].to_numpy().tolist() == weight[:, 3:].tolist()
    assert table['readout'].to_numpy().tolist() == weight.tolist()


@pytest.mark.parametrize('generator', ['mlp', 'residual', 'linear', 'nonlinear', 'split'])
def test_scoring_head(dataset, generator):
    model = make_model(dataset, generator=generator)
    with torch.no_grad():
        readouts = [
            model.encode_graphs(side, graphs.batch(torch.arange(len(graphs))))[0]
            for side, graphs in (
                ('user', dataset.users),
                ('context', dataset.contexts),
                ('item', dataset.items),
            )
        ]
        user, context, item = readouts
        wanted = model(all_triples(dataset, 2)).view(20, 15)
        found = ScoringHead(model)(user, context[2].expand(20, -1), item)
    torch.testing.assert_close(found, wanted)


@pytest.mark.filterwarnings('ignore')
def test_exported_program(dataset):
    """It takes other numbers of rows than those that it was exported with."""
    model = make_model(dataset)
    head = ScoringHead(model)
    rows, items = torch.export.Dim('rows'), torch.export.Dim('items')
    program = torch.export.export(
        head,
        (torch.randn(3, 8), torch.randn(3, 8), torch.randn(5, 8)),
        dynamic_shapes=({0: rows}, {0: rows}, {0: items}),
    ).module()
    arguments = torch.randn(4, 8), torch.randn(4, 8), torch.randn(9, 8)
    torch.testing.assert_close(program(*arguments), head(*arguments))

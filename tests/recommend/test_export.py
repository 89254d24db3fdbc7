"""What leaves the library: embeddings as tables, the scoring head as a program."""

import pandas as pd
import pytest
import torch
from shop import (
    ARTICLES,
    CUSTOMERS,
    SALES,
    every_triple,
    make_graph,
    make_model,
    make_shop,
)
from torch.export import Dim

from iedr_geo.data.schema import SIDES
from iedr_geo.nn import DICE, MF
from iedr_geo.nn.generator import GENERATORS
from iedr_geo.recommend import Recommender, ScoringHead

SHOP, CONTEXT = make_shop(), {'day': SALES['day'][3], 'gift': bool(SALES['gift'][3])}
SIZES = SHOP.num_users, SHOP.num_items, SHOP.num_contexts
NUMBER = int(SHOP.context[3])


def test_embeddings_give_the_scores(tmp_path):
    model = make_model(SHOP.schema)
    recommender = Recommender(model, SHOP)
    users, items = (recommender.embeddings(side, CONTEXT) for side in ('user', 'item'))
    assert users.index.equals(pd.Index(CUSTOMERS['customer']))
    assert items.index.equals(pd.Index(ARTICLES['article']))
    vectors = [(t['intrinsic'] + t['extrinsic']).to_numpy() for t in (users, items)]
    wanted = model(every_triple(SHOP)).view(SIZES)[:, :, NUMBER]
    scores = torch.from_numpy(vectors[0] @ vectors[1].T)
    torch.testing.assert_close(scores, wanted, rtol=1e-4, atol=1e-5)
    # Without a context, IEDR has no factors.
    pd.testing.assert_frame_equal(recommender.embeddings('item'), items[['vector']])
    pytest.importorskip('pyarrow')
    recommender.export(tmp_path / 'new', CONTEXT)
    for name, table in (('user', users), ('item', items)):
        read = pd.read_parquet(tmp_path / 'new' / f'{name}s.parquet')
        assert read[table.index.name].tolist() == table.index.tolist()
        for part in ('vector', 'intrinsic', 'extrinsic'):
            assert read[f'{part}_3'].tolist() == table[part][3].tolist()
        assert len(read.columns) == 1 + 3 * 4


def test_factors_of_a_bipartite_model():
    graph = make_graph()
    model = DICE(MF(5, 12, channels=6), graph.popularity)
    table = Recommender(model, graph).embeddings('item')
    weight = model.backbone.item.weight.detach()
    assert table['conformity'].to_numpy().tolist() == weight[:, 3:].tolist()
    assert table['vector'].to_numpy().tolist() == weight.tolist()


@pytest.mark.parametrize('cross', [True, False])
@pytest.mark.parametrize('generator', GENERATORS)
@pytest.mark.filterwarnings('ignore')
def test_scoring_head(generator, cross):
    """As the model, also as a program that takes other numbers of rows."""
    model = make_model(SHOP.schema, generator=generator, cross=cross)
    user, item, context = (
        model.encode_graphs(side, graphs.batch(torch.arange(len(graphs))))[0]
        for side in SIDES
        for graphs in [getattr(SHOP, f'{side}s')]
    )
    wanted = model(every_triple(SHOP)).view(SIZES)[:, :, NUMBER]
    contexts = context[NUMBER].expand(len(user), -1)
    head, rows, items = ScoringHead(model), Dim('rows'), Dim('items')
    program = torch.export.export(
        head,
        (user[:3], contexts[:3], item[:5]),
        dynamic_shapes=({0: rows}, {0: rows}, {0: items}),
    )
    for score in (head, program.module()):
        torch.testing.assert_close(score(user, contexts, item), wanted)

"""Features of nodes, and their sums, against the tables that they are of."""

import pytest
import torch
from cinema import FIELDS, make_cinema
from iedr_run import features_by_hand

from iedr_geo.nn import FeatureEmbedding
from iedr_geo.nn.feature_embedding import vectors_of


def test_equals_tables(device, assert_same):
    """Of values and vectors too, for several sides at once as for each alone."""
    cinema = make_cinema()
    embedding = FeatureEmbedding(cinema.schema.num_embeddings, 3).double().to(device)
    table = embedding.weight
    ids = {'user': [0, 3, 2], 'item': [3, 2, 0, 4], 'context': [0]}
    batches = [
        getattr(cinema, f'{side}s').batch(torch.tensor(ids[side])).to(device)
        for side in FIELDS
    ]
    assert len(vectors_of(batches[1])) == 1 and not vectors_of(batches[2])
    results = zip(embedding(batches), embedding.sums(batches), strict=True)
    for side, graphs, (x, sums) in zip(FIELDS, batches, results, strict=True):
        wanted = [
            torch.stack([z for _, z in features_by_hand(table, cinema, side, i)])
            for i in ids[side]
        ]
        # Values and vectors are stored in single precision.
        assert_same(x, torch.cat(wanted), [table], 1e-6)
        assert torch.equal(embedding(graphs), x)
        wanted = torch.stack([nodes.sum(dim=0) for nodes in wanted])
        assert_same(sums, wanted, [table], 1e-6)


@pytest.mark.parametrize(('mean', 'std'), [(0.0, 1.0), (1.0, 1.0), (0.0, 0.01)])
def test_first_embeddings(mean, std):
    embedding = FeatureEmbedding(1_000, 32, mean, std)
    for _ in range(2):
        before = embedding.weight.clone()
        deviation = std / before.numel() ** 0.5
        assert before.mean().item() == pytest.approx(mean, abs=5 * deviation)
        assert before.std().item() == pytest.approx(std, abs=5 * deviation)
        embedding.reset_parameters()
        assert (embedding.weight != before).float().mean() > 0.99

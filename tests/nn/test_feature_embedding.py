"""The first embeddings of features; features of nodes are tested with IEDR."""

import pytest

from iedr_geo.nn import FeatureEmbedding


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

"""DICE tells apart the causes of clicks that are known."""

import pytest
import torch
from scipy.stats import spearmanr
from training_runs import run

from iedr_geo.data import PopularityMarginSampler
from iedr_geo.datasets import PlantedClicks
from iedr_geo.loader import Curriculum
from iedr_geo.nn import DICE, MF
from iedr_geo.training import BipartiteModule


@pytest.mark.full
def test_recovers_the_planted_causes(tmp_path):
    """Its interest follows true interest rather than conformity, and the other way."""
    clicks = PlantedClicks(num_users=300, num_items=200, num_clicks=12_000)
    train = clicks.split().train
    size = train.num_users, train.num_items
    torch.manual_seed(0)
    # All weight on the causes: with the paper's, which decays, the click loss mixes them.
    model = DICE(MF(*size, channels=32, bound=0.25), train.popularity, alpha=1.0)
    arguments = {'batch_size': 256, 'curriculum': Curriculum()}
    sampler = PopularityMarginSampler(margin=20, min_pool=10)
    module = BipartiteModule(model, train, negatives=sampler, **arguments)
    result = run(module, tmp_path, max_epochs=8)
    with torch.no_grad():
        users, items = result.model.embeddings()
    user = torch.arange(size[0])[:, None]
    truth = clicks.true_scores(user, torch.arange(size[1]))
    correlation = {}
    for factor, columns in result.model.factor_columns.items():
        score = users[:, columns] @ items[:, columns].t()
        correlation[factor] = [
            sum(spearmanr(s, t).statistic for s, t in zip(score, true, strict=True))
            / size[0]
            for true in truth
        ]
    interest, conformity = correlation['interest'], correlation['conformity']
    assert interest[0] > 0.2 > interest[1]
    assert conformity[1] > 0.7 > 0.3 > conformity[0]

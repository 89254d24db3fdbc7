"""One way for every model: train, evaluate, recommend, explain, save, load, report."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from every_model import ON_DATASETS, ON_GRAPHS, Attention
from pandas.testing import assert_frame_equal
from training_runs import CLICKS, SPLIT, run

from iedr_geo.analysis import disentanglement_report
from iedr_geo.data import (
    CandidateLists,
    InteractionDataset,
)
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.metrics import NDCG, HitRatio
from iedr_geo.nn import (
    DICE,
    IEDR,
    SDRL,
    BCEObjective,
    BPRObjective,
    MacridVAE,
    SoftmaxObjective,
)
from iedr_geo.nn.models.rebuild import MODELS
from iedr_geo.recommend import Recommender
from iedr_geo.scoring import (
    GraphScorer,
    HistoryScorer,
    InteractionScorer,
    Queries,
    scorer,
)
from iedr_geo.training import BipartiteModule, InteractionModule

METRICS = (NDCG(3), HitRatio(3))


OBJECTIVES = {
    'Attention': SoftmaxObjective(),
    'LightGCN': SoftmaxObjective(over='batch'),
    'Biased': BCEObjective(),
    'Distance': BPRObjective(over='batch'),
}


def trained(
    model: torch.nn.Module, parts: Any, folder: Path, objective: Any
) -> torch.nn.Module:
    """Trains what has anything to train."""
    train, valid, _ = parts
    if not list(model.parameters()):
        return model
    before = copy.deepcopy(model.state_dict())
    on_dataset = isinstance(train, InteractionDataset)
    module = (InteractionModule if on_dataset else BipartiteModule)(
        model,
        train,
        valid,
        objective=objective,
        batch_size=96,
        learning_rate=0.05,
        metrics=METRICS,
        monitor='ndcg@3',
    )
    result = run(module, folder, max_epochs=2)
    assert len(result.history) == 2 and not result.model.training
    assert all(np.isfinite([e['loss'], e['ndcg@3']]).all() for e in result.history)
    assert any(not torch.equal(before[k], v) for k, v in model.state_dict().items())
    return result.model


@pytest.mark.parametrize('case', [*ON_DATASETS, *ON_GRAPHS])
@pytest.mark.filterwarnings('ignore::iedr_geo.recommend.ContextIgnoredWarning')
def test_one_way(case, tmp_path):
    on_dataset = case in ON_DATASETS
    make = (ON_DATASETS | ON_GRAPHS)[case]
    train, valid, test = parts = (SPLIT if on_dataset else CLICKS)[:3]
    model = trained(make(train), parts, tmp_path / 'run', OBJECTIVES.get(case))

    # Evaluate.
    seen = [train, valid] if on_dataset else train
    evaluation = evaluate_catalogue(model, test, seen, METRICS, progress=False)
    assert all(0 <= value <= 1 for value in evaluation.metrics.values())
    recommender = Recommender(model, train)
    if on_dataset:
        lists = CandidateLists.sample(test, 5)
        values = evaluate_candidates(model, test, lists, METRICS, False).metrics
        assert all(0 <= value <= 1 for value in values.values())

    # Recommend: what the model says, in two contexts where there are contexts.
    user, item = str(train.user_ids[3]), str(train.item_ids[2])
    contexts = [None]
    if on_dataset:
        contexts = train.context_frame.iloc[[0, 5]].to_dict('records')
    plain = scorer(model, train)
    if not isinstance(plain, HistoryScorer):
        plain = (InteractionScorer if on_dataset else GraphScorer)(model, train)
    tables = []
    for number, context in zip((0, 5), contexts, strict=False):
        table = recommender.recommend(user, context, 5, exclude_seen=False)
        query = Queries(torch.tensor([3]), torch.tensor([number]) if on_dataset else None)
        ids = train.own_ids('item') if on_dataset else train.item_ids
        scores = pd.Series(plain.scores(query)[0].tolist(), ids)
        best = scores.sort_values(ascending=False, kind='stable')
        np.testing.assert_allclose(table['score'], best[:5], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            table['score'], scores[table[recommender.item_name]], rtol=1e-4, atol=1e-5
        )
        tables.append(table)

    # Explain.
    explanation = recommender.explain(user, item, contexts[0])
    assert explanation.score == pytest.approx(
        recommender.score(user, item, contexts[0]), rel=1e-4, abs=1e-5
    )
    assert not explanation.parts or sum(explanation.parts.values()) == pytest.approx(
        explanation.score, rel=1e-3, abs=1e-4
    )
    assert explanation.features.empty == (not on_dataset)
    if isinstance(model, (IEDR, Attention)):
        assert explanation.features['difference'].abs().max() > 1e-4

    # Save and load: the same answers.
    recommender.save(tmp_path / 'model')
    own = type(model).__name__ not in MODELS
    if own:
        with pytest.raises(ValueError, match=r'load\(folder, model='):
            Recommender.load(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model', make(train) if own else None)
    for context, table in zip(contexts, tables, strict=True):
        again = loaded.recommend(user, context, 5, exclude_seen=False)
        assert_frame_equal(again, table)
    again = evaluate_catalogue(loaded.model, test, seen, METRICS, progress=False)
    assert again.metrics == pytest.approx(evaluation.metrics)

    # Report.
    data = [test] if on_dataset else [train, test]
    report = disentanglement_report(loaded.model, *data, num_samples=40)
    assert len(report.table) and np.isfinite(report.table['value']).any() and str(report)
    has_factors = bool(recommender.scorer.factor_names)
    assert has_factors == isinstance(model, (DICE, IEDR, SDRL, MacridVAE))
    assert has_factors == bool(len(report.separation))


def test_every_model_of_the_library_goes_it():
    names = {name.split()[0] for name in ON_DATASETS | ON_GRAPHS}
    assert names == {*MODELS, 'Attention', 'Distance', 'AutoEncoder'}

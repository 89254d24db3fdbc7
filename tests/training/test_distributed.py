"""Two processes train one model, each on its own rows."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from training_runs import CLICKS, LISTS, PLANTED, SIZE, SPLIT, assert_same

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.loader import InteractionLoader
from iedr_geo.metrics import Recall
from iedr_geo.nn import IEDR, MF

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def ranks(tmp_path_factory) -> list[dict]:
    """What each of the two processes has written."""
    folder = tmp_path_factory.mktemp('ddp')
    path = f'{ROOT}{os.pathsep}{ROOT / "tests" / "helpers"}'
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name('ddp.py'), folder],
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # Both processes.
        output, _ = process.communicate()
        pytest.fail(f'The processes hang:\n{output}')
    assert process.returncode == 0, output
    return [torch.load(folder / f'rank{i}.pt', weights_only=True) for i in range(2)]


def test_ranks_agree(ranks):
    """Both end with the same weights, bit for bit, and decide by the same metrics. Every
    parameter is trained: the estimator's loss is never a part of the main one.
    """
    one, two = ranks
    for name in ('before', 'best', 'last', 'clicks'):
        assert_same(one[name], two[name])
    assert [epoch['epoch'] for epoch in one['metrics']] == [0, 1]
    # A mean over the batches of the rank itself.
    own = [[epoch.pop('estimator') for epoch in rank['metrics']] for rank in ranks]
    assert own[0][1] != own[1][1]
    assert one['metrics'] == two['metrics']
    for name, tensor in one['before'].items():
        assert not torch.equal(tensor, one['last'][f'model.{name}']), name


def test_metrics_are_those_of_one_process(ranks):
    """Each has ranked its share of the lists."""
    model = IEDR(PLANTED.schema.num_embeddings, 8, 16, num_negatives=4)
    model.load_state_dict(ranks[0]['best'])
    alone = evaluate_candidates(model, SPLIT.valid, LISTS).metrics
    best = max(ranks[0]['metrics'], key=lambda epoch: epoch['ndcg@10'])
    assert alone['ndcg@10'] == best['ndcg@10']
    assert alone['auc'] == pytest.approx(best['auc'], abs=1e-12)
    model = MF(*SIZE, 8)
    model.load_state_dict(ranks[1]['clicks'])
    alone = evaluate_catalogue(model, CLICKS.valid, CLICKS.train, metrics=[Recall(5)])
    assert ranks[0]['recall'] == ranks[1]['recall'] == alone.metrics['recall@5'] > 0


def test_ranks_share_the_rows_of_each_epoch(ranks):
    """Together they see every row once, and the same negatives in both epochs."""
    rows: Counter = Counter()
    for batch in InteractionLoader(SPLIT.train, 32, UniformNegativeSampler(2), seed=3):
        columns = (batch.user_id, batch.item_id, batch.context_id, batch.y.long())
        rows.update(map(tuple, torch.stack(columns).t().tolist()))
    seen = [
        [
            Counter(tuple(row[1:]) for row in rank['rows'].tolist() if row[0] == epoch)
            for rank in ranks
        ]
        for epoch in range(2)
    ]
    assert rows.total() == 480
    for one, two in seen:
        assert one.total() == two.total() == 240
        assert one + two == rows
    assert seen[0] != seen[1]  # Shuffled anew: neither keeps its rows.

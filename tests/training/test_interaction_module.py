"""Runs on rows: labels, seeds and devices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from training_runs import (
    SPLIT,
    assert_same_result,
    make_module,
    rows_module,
    run,
    without_times,
)

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.nn import IEDR_VARIANTS


def test_labels_in_place_of_negatives(tmp_path):
    """Two negatives for each row by default; none where the rows have labels."""
    assert rows_module().negatives == UniformNegativeSampler(2)
    labelled = SPLIT.train[:]
    labelled.y = (labelled.item % 2).float()
    module = rows_module(
        train=labelled, batch_size=len(labelled), model=IEDR_VARIANTS['noCIED']
    )
    assert module.negatives is None
    [batch] = module.train_dataloader()
    assert torch.equal(batch.y, (batch.item_id % 2).float())
    expected = F.binary_cross_entropy_with_logits(module.model(batch), batch.y).item()
    result = run(module, tmp_path, max_epochs=1)
    assert result.history[0]['loss'] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('kind', ['rows', 'dice-lightgcn'])
def test_same_seed_same_run(tmp_path, kind):
    results = []
    for i, seed in enumerate((3, 3, 4)):
        torch.manual_seed(1000 + i)  # What went before does not matter ...
        module = make_module(kind, seed=seed)
        torch.rand(i)  # ... nor what is drawn in between.
        results.append(run(module, tmp_path / str(i), max_epochs=1))
    one, two, other = results
    assert_same_result(one, two)
    assert without_times(one.history) != without_times(other.history)
    weights = (next(result.model.parameters()) for result in (one, other))
    assert not torch.equal(*weights)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('workers', [0, 1])
def test_cuda(tmp_path, workers):
    """A worker builds the batches on the CPU, so both train on the same ones; without,
    they are drawn on the device: another run of the same kind.
    """
    model = IEDR_VARIANTS['noCIED'] if workers else {}
    one, two = (
        run(
            rows_module(num_workers=workers, model=model),
            tmp_path / device,
            max_epochs=1,
            accelerator=device,
        )
        for device in ('cpu', 'gpu')
    )
    assert two.device == two.model.embedding.weight.device == torch.device('cuda', 0)
    tolerance = 1e-3 if workers else 0.15
    for name in ('loss', 'prediction'):
        assert two.history[0][name] == pytest.approx(one.history[0][name], rel=tolerance)

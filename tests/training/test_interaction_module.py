"""Runs on rows: labels and devices."""

import pytest
import torch
import torch.nn.functional as F
from training_runs import SPLIT, rows_module, run

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

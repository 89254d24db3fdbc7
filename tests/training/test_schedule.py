"""Learning rates, epoch by epoch."""

import pytest
from torch.optim.optimizer import register_optimizer_step_pre_hook
from training_runs import clicks_module, rows_module, run, script

from iedr_geo.training import CosineRate, PlateauRate


@pytest.mark.parametrize(
    ('values', 'rates'),
    [
        # A tenth after more than two epochs without a gain, then two at the lowest.
        ([0.5] + 9 * [0.4], 4 * [1e-2] + 3 * [1e-3] + 2 * [1e-4]),
        # A gain at the lowest rate begins the count anew.
        ([0.5] + 7 * [0.4] + [0.6] + 3 * [0.5], 4 * [1e-2] + 3 * [1e-3] + 4 * [1e-4]),
    ],
)
def test_plateau_schedule(tmp_path, values, rates):
    module = clicks_module(schedule=PlateauRate(patience=2))
    script(module, *values)
    result = run(module, tmp_path, patience=2, max_epochs=len(values))
    found = [epoch['learning_rate'] for epoch in result.history]
    assert found == pytest.approx(rates)
    assert result.best_epoch == values.index(max(values))


def test_learning_rate_falls_along_half_a_cosine(tmp_path):
    module = rows_module(learning_rate=0.01, schedule=CosineRate(4), valid=())
    rates = []

    def before_step(optimizer, args, kwargs):
        rates.append((module.current_epoch, optimizer.param_groups[0]['lr']))

    hook = register_optimizer_step_pre_hook(before_step)
    try:
        result = run(module, tmp_path, max_epochs=6)
    finally:
        hook.remove()
    expected = [0.01, 0.01 * (2 + 2**0.5) / 4, 0.005, 0.01 * (2 - 2**0.5) / 4, 0, 0]
    found = [epoch['learning_rate'] for epoch in result.history]
    assert found == pytest.approx(expected, abs=1e-12)
    assert len(rates) > 2 * 6  # Both optimizers, in every epoch.
    assert all(rate == found[epoch] for epoch, rate in rates)
    module = clicks_module(schedule=CosineRate(1))
    script(module, 0.3, 0.2, 0.1)  # Every epoch counts for stopping.
    assert len(run(module, tmp_path / 'clicks', patience=1).history) == 2
    with pytest.raises(ValueError, match=r'`epochs`.*0'):
        CosineRate(0)

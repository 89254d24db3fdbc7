"""Sums of messages that are dropped out, against a loop, and the law of the draw."""

from __future__ import annotations

import math

import pytest
import torch

from iedr_geo.nn.conv import message_dropout
from iedr_geo.nn.conv.message_dropout import draw_kept, dropout_sum


@pytest.mark.parametrize('p', [0.0, 0.1, 0.5, 0.999])
def test_law_of_what_is_kept(p, device):
    num, channels = 30_000, 7  # Not a multiple of the entries of one draw.
    kept = draw_kept(num, channels, p, device)
    assert (kept.shape, kept.dtype) == ((num, channels), torch.bool)
    assert kept.device.type == device.type
    kept = kept.double()
    deviation = math.sqrt(p * (1 - p) / num)
    assert ((kept.mean(0) - (1 - p)).abs() <= 5 * deviation + 1e-5).all()
    # Neighbours, which come from one draw, are independent, as are messages.
    entries = kept.flatten() - (1 - p)
    for lag in (1, 2, 3, 4, channels):
        between = (entries[lag:] * entries[:-lag]).mean().abs()
        assert between <= 5 * p * (1 - p) / math.sqrt(entries.numel()) + 1e-5


def test_draws_anew_and_by_the_seed(device):
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(draw_kept(50, 3, 0.5, device))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draw_kept(0, 3, 0.5, device).shape == (0, 3)


@pytest.mark.parametrize('block', [1, 3, 4096])
def test_sum_equals_loop(block, device, assert_same, monkeypatch):
    monkeypatch.setattr(message_dropout, 'BLOCK', block)
    p, sizes = 0.3, [2, 0, 5, 1]
    message = torch.randn(4, 3, dtype=torch.double).to(device).requires_grad_()
    index = torch.tensor([0, 3, 1, 1, 2, 0, 3, 1], device=device)
    weight = torch.rand(8, dtype=torch.double).to(device)
    kept = torch.rand(8, 3).to(device) < 0.6
    rows, place = [], 0
    for size in sizes:
        row = torch.zeros(3, dtype=torch.double, device=device)
        for _ in range(size):
            each = torch.where(kept[place], message[index[place]], 0.0)
            row = row + weight[place] * each / (1 - p)
            place += 1
        rows.append(row)
    size = torch.tensor(sizes, device=device)
    actual = dropout_sum(message, index, weight, kept, size, p)
    assert_same(actual, torch.stack(rows), [message])


def test_low_precision_is_summed_in_single():
    # In bfloat16, a sum of ones stops growing at 256.
    message = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    index, weight = torch.zeros(1000, dtype=torch.long), torch.ones(1000)
    kept, size = torch.ones(1000, 1, dtype=torch.bool), torch.tensor([1000])
    out = dropout_sum(message, index, weight, kept, size, 0.0)
    assert out.item() == 1000
    out.sum().backward()
    assert message.grad.item() == 1000

"""Padded rows against sums element by element."""

import pytest
import torch

from iedr_geo.nn.padded_rows import PaddedRows

LENGTHS = [
    [3, 1, 0, 2],
    [1, 1, 1],
    [0, 0],
    [17, 1, 5, 4, 0, 9, 8, 16],
    [100],
]


@pytest.mark.parametrize('lengths', LENGTHS, ids=str)
@pytest.mark.parametrize('channels', [1, 3])
def test_weighted_sums(lengths, channels, device, assert_same):
    """Rows in their order, whatever their lengths; values and gradients."""
    size = sum(lengths)
    row = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)).to(device)
    index = torch.randint(6, (size,), device=device)
    weight = torch.randn(size, channels, dtype=torch.double, device=device)
    x = torch.randn(6, 4, dtype=torch.double, device=device)
    weight.requires_grad_(), x.requires_grad_()
    expected = torch.zeros(len(lengths), channels, 4, dtype=torch.double, device=device)
    for element in range(size):
        term = weight[element].unsqueeze(1) * x[index[element]]
        expected = expected.index_add(0, row[element : element + 1], term.unsqueeze(0))
    rows = PaddedRows(row, len(lengths))
    tensors = [weight, x] if size else []
    assert_same(rows.aggregate(weight, x, index), expected, tensors, 1e-12)


def test_pads_at_most_twice():
    """However skewed the lengths are, and not at all where they are equal."""
    lengths = (torch.rand(500) ** 6 * 3000).long()
    row = torch.arange(500).repeat_interleave(lengths)
    rows = PaddedRows(row, 500)
    cells = sum(element.numel() for element, _ in rows.blocks)
    assert len(row) <= cells <= 2 * len(row)
    assert len(rows.blocks) <= 13
    equal = PaddedRows(torch.arange(40).repeat_interleave(80), 40)
    assert [tuple(element.shape) for element, _ in equal.blocks] == [(40, 80)]

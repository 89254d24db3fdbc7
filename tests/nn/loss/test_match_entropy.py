"""The entropy of a matrix that is never held, against the matrix."""

import pytest
import torch
import torch.nn.functional as F

from iedr_geo.nn.loss import match_entropy as module
from iedr_geo.nn.loss.match_entropy import match_entropy
from iedr_geo.nn.sparse import Compressed


def draw(rows, columns, device, dtype=torch.double):
    left = 3 * torch.randn(rows, 4, dtype=torch.double)
    right = torch.randn(columns, 4, dtype=torch.double)
    target = torch.rand(rows, columns, dtype=torch.double)
    target = target * (torch.rand(rows, columns) < 0.3)
    matrix = target.to_sparse_csr()
    values = matrix.values().to(torch.promote_types(dtype, torch.float))
    parts = matrix.crow_indices(), matrix.col_indices(), values
    tables = (t.to(device, dtype).requires_grad_() for t in (left, right))
    return *tables, Compressed(*(part.to(device) for part in parts)), target.to(device)


@pytest.mark.parametrize('block', [1, 7, 2**20])
@pytest.mark.parametrize('given', [False, True])
def test_equals_the_dense_matrix(block, given, device, assert_same, monkeypatch):
    monkeypatch.setattr(module, 'BLOCK', block)
    left, right, target, dense = draw(6, 5, device)
    transposed = target.transposed(5) if given else None
    actual = match_entropy(left, right, target, transposed)
    expected = F.binary_cross_entropy_with_logits(left @ right.t(), dense)
    assert_same(actual, expected, [left, right], 1e-12)
    assert_same(match_entropy(left.detach(), right, target), expected, [right], 1e-12)
    with torch.no_grad():
        assert torch.equal(match_entropy(left, right, target), actual)


@pytest.mark.parametrize('dtype', [torch.float, torch.bfloat16])
def test_is_in_single_precision(dtype, device):
    left, right, target, dense = draw(6, 5, device, dtype)
    with torch.autocast(device.type, torch.bfloat16):
        actual = match_entropy(left, right, target)
    exact = (left.double() @ right.double().t()).detach()
    expected = F.binary_cross_entropy_with_logits(exact, dense)
    assert actual.dtype == torch.float
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)
    actual.backward()
    assert left.grad.dtype == dtype

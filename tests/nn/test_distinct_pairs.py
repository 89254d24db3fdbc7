"""Distinct pairs by brute force."""

import pytest
import torch

from iedr_geo.nn.distinct_pairs import distinct_pairs


@pytest.mark.parametrize(
    ('one', 'two'),
    [
        ([], []),
        ([3], [0]),
        ([2, 2, 2], [7, 7, 7]),
        ([0, 1, 0, 2, 1, 0], [5, 0, 5, 5, 0, 0]),
        ([i * i % 7 for i in range(200)], [i * i % 11 for i in range(200)]),
        ([10**9, 0, 10**9], [10**9 - 1, 10**9, 10**9 - 1]),
    ],
)
def test_distinct_pairs(one, two, device):
    pairs = list(zip(one, two, strict=True))
    rows, pair, counts = distinct_pairs(*torch.tensor([one, two], device=device).long())
    assert [pairs[i] for i in rows[pair].tolist()] == pairs
    # The first row that has it, so that results depend on the seed alone.
    assert dict(zip(rows.tolist(), counts.tolist(), strict=True)) == {
        pairs.index(pair): pairs.count(pair) for pair in pairs
    }
    assert len(rows) == len(set(pairs))

"""Concepts against categories, by counts that are written out."""

import math
from collections import Counter

import pytest
import torch

from iedr_geo.analysis import concept_agreement


def entropy(labels) -> float:
    return -sum(
        n / len(labels) * math.log(n / len(labels)) for n in Counter(labels).values()
    )


def test_against_counts():
    generator = torch.Generator().manual_seed(0)
    concepts = torch.randint(3, (50,), generator=generator)
    categories = (concepts + (torch.rand(50, generator=generator) < 0.3)) * 10
    one, two = concepts.tolist(), categories.tolist()
    shared = entropy(one) + entropy(two) - entropy([*zip(one, two, strict=True)])
    found = concept_agreement(concepts, categories)
    assert found.nmi == pytest.approx(2 * shared / (entropy(one) + entropy(two)))
    most = [
        max(Counter(c for k, c in zip(one, two, strict=True) if k == concept).values())
        for concept in set(one)
    ]
    assert found.purity == pytest.approx(sum(most) / 50)
    assert found.largest == max(Counter(one).values()) / 50
    assert 0.2 < found.nmi < 0.8
    # By how far items belong to concepts.
    assignment = torch.nn.functional.one_hot(concepts, 4) * 0.6 + 0.1
    assert concept_agreement(assignment, categories) == found


def test_ends():
    categories = torch.tensor([5, 5, 9, 9])
    assert concept_agreement(torch.tensor([1, 1, 0, 0]), categories) == (1, 1, 0.5)
    crossed = concept_agreement(torch.tensor([0, 1, 0, 1]), categories)
    assert crossed == pytest.approx((0, 0.5, 0.5))
    # All items in one concept.
    assert concept_agreement(torch.zeros(4).long(), categories) == (0, 0.5, 1)


@pytest.mark.parametrize('concepts', [torch.zeros(3), torch.zeros(3, 2), torch.zeros(0)])
def test_bad_input(concepts):
    categories = torch.zeros(4 if len(concepts) else 0).long()
    with pytest.raises(ValueError, match='Each item needs a concept and a category'):
        concept_agreement(concepts, categories)

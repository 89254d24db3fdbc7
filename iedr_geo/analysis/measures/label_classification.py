"""Classification of items by their vectors: what a block knows of their labels."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class LabelClassification(NamedTuple):
    """How well labels are predicted, over all pairs of a tested item and a label.

    Args:
        recall: The share of the labels that items have that is predicted.
        precision: The share of the predicted labels that items have.
        micro_f1: The harmonic mean of both.
    """

    recall: float
    precision: float
    micro_f1: float


def label_classification(
    x: Tensor, labels: Tensor, known: Tensor | None = None, seed: int = 0
) -> LabelClassification:
    """Returns how well a perceptron predicts the labels of items from their vectors, as
    in the `"Semi-Disentangled Representation Learning in Recommendation System"
    <https://arxiv.org/abs/2010.13282>`_ paper.

    The perceptron is :class:`sklearn.neural_network.MLPClassifier` as it comes, and is
    fitted to the items whose labels are known. If the vectors are of a model that has
    seen the labels of the others, as in the paper, these have leaked: pass such a model
    :obj:`known` as its :obj:`label_mask`. Items without labels are left out.

    Args:
        x: The vectors, of shape :math:`(I, F)`.
        labels: :obj:`True` for each label of an item, of shape :math:`(I, C)`.
        known: :obj:`True` for each item that the perceptron is fitted to; the others are
            tested, of shape :math:`(I)` (default: 80 % at random).
        seed: The seed of the perceptron, and of the draw.

    Raises:
        ValueError: If shapes do not fit, a vector is not finite, there are fewer than two
            labels, or no item to fit or to test.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    if known is None:
        order = np.random.default_rng(seed).permutation(len(x))
        known = torch.from_numpy(order < round(0.8 * len(x)))
    shapes = tuple(x.shape), tuple(labels.shape), tuple(known.shape)
    if x.dim() != 2 or labels.dim() != 2 or len({s[0] for s in shapes}) > 1:
        raise ValueError(
            f'Each item has a vector, labels and whether they are known (got shapes '
            f'{", ".join(map(str, shapes))})'
        )
    if not x.isfinite().all():
        raise ValueError('The vectors hold values that are not finite')
    table, y, fitted = (
        t.detach().cpu().numpy() for t in (x, labels.bool(), known.bool())
    )
    some = y.any(axis=1)
    fitted, tested = fitted & some, ~fitted & some
    if y.shape[1] < 2 or not fitted.any() or not tested.any():
        raise ValueError(
            f'There must be two labels, and items with labels to fit and to test (got '
            f'{y.shape[1]} labels, {fitted.sum()} and {tested.sum()} items)'
        )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)
        model = MLPClassifier(random_state=seed).fit(table[fitted], y[fitted])
    predicted, wanted = model.predict(table[tested]).astype(bool), y[tested]
    right = int((predicted & wanted).sum())
    recall = right / int(wanted.sum())
    precision = right / max(1, int(predicted.sum()))
    micro_f1 = 2 * right / (int(wanted.sum()) + int(predicted.sum()))
    return LabelClassification(recall, precision, micro_f1)

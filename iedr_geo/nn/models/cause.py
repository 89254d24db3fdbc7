"""CausE."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.models.mf import MF
from iedr_geo.nn.models.over_backbone import OverBackbone

if TYPE_CHECKING:
    from iedr_geo.loader import EdgeBatch


class CausELosses(NamedTuple):
    """The terms of CausE's loss and their weighted sum."""

    prediction: Tensor
    discrepancy: Tensor
    total: Tensor


class CausE(OverBackbone):
    r"""The model from the `"Causal Embeddings for Recommendation"
    <https://arxiv.org/abs/1706.07639>`_ paper, as the experiments on DICE have it.

    Normal edges train a *control*, intervened ones a *treatment* table of items, with one
    table of users, by the binary cross-entropy of each pair; its means over both kinds of
    edges are added. The mean squared difference between both tables, taken of the
    distinct items of a batch, pulls them together. The control table predicts: it is the
    backbone.

    Args:
        backbone (MF): The model of the control, *e.g.*, :class:`MF` or :class:`LightGCN`.
        weight (float, optional): The weight of the difference. (default: :obj:`0.01`)
    """

    arguments = ('weight',)
    backbone: MF

    def __init__(self, backbone: MF, weight: float = 0.01) -> None:
        super().__init__(backbone)
        self.weight = weight
        self.treatment = copy.deepcopy(backbone)
        self.treatment.user = backbone.user
        self._reset_treatment()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        super().reset_parameters()
        self._reset_treatment()

    def _reset_treatment(self) -> None:
        fresh = copy.deepcopy(self.backbone)
        fresh.reset_parameters()
        self.treatment.item.load_state_dict(fresh.item.state_dict())

    def losses(self, batch: EdgeBatch) -> CausELosses:
        """Returns the cross-entropy and the difference of the batch's items.

        Raises:
            ValueError: If the batch does not say which edges are intervened.
        """
        if batch.intervened is None:
            raise ValueError('CausE needs to know which edges are intervened')
        items, row = torch.unique(batch.candidates, return_inverse=True)
        user, control = self.backbone(batch.user, items)
        treated_user, treatment = self.treatment(batch.user, items)
        score = torch.where(
            batch.intervened.unsqueeze(1),
            torch.einsum('bf,bkf->bk', treated_user, F.embedding(row, treatment)),
            torch.einsum('bf,bkf->bk', user, F.embedding(row, control)),
        )
        target = torch.zeros_like(score)
        target[:, 0] = 1
        loss = F.binary_cross_entropy_with_logits(score, target, reduction='none').mean(1)
        prediction = loss.new_zeros(())
        for part in (~batch.intervened, batch.intervened):
            prediction = prediction + (loss * part).sum() / part.sum().clamp(min=1)
        discrepancy = F.mse_loss(control, treatment)
        total = prediction + self.weight * discrepancy
        total = total + sum(self.extra_losses(batch).values())
        return CausELosses(prediction, discrepancy, total)

"""The parts of a split log."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from iedr_geo.data.interaction import InteractionDataset


def check_side(side: str) -> None:
    """Raises an error if a side is neither users nor items."""
    if side not in ('user', 'item'):
        raise ValueError(f"`side` is 'user' or 'item' (got '{side}')")


class Split(NamedTuple):
    """The three parts of a log, and what their order stands on."""

    train: InteractionDataset
    valid: InteractionDataset
    test: InteractionDataset
    order: str

    def is_new(self, part: str, side: str) -> np.ndarray:
        """Returns which held-out rows are of users or items without a training row.

        Args:
            part: :obj:`'valid'` or :obj:`'test'`.
            side: :obj:`'user'` or :obj:`'item'`.

        Returns:
            Booleans, of shape :math:`(R)`. Where there are labels, those of positive rows
            stand for the lists of :meth:`CandidateLists.sample`.

        Example:
            >>> split.test[split.is_new('test', 'user')]  # the rows of new users
        """
        if part not in ('valid', 'test'):
            raise ValueError(f"`part` is 'valid' or 'test' (got '{part}')")
        check_side(side)
        known, ids = getattr(self.train, side), getattr(getattr(self, part), side)
        return ~torch.isin(ids.cpu(), known.cpu()).numpy()

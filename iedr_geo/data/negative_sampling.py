"""Negatives that keep user and context and replace the item."""

from __future__ import annotations

import torch
from torch import Tensor

from iedr_geo.data.interaction import InteractionDataset


class UniformNegativeSampler:
    r"""Draws negatives uniformly from the catalogue.

    A negative keeps the user and the context of its positive row and replaces the
    item. Draws that are not allowed are drawn again, until none is left.

    Args:
        num_negatives: How many to draw for each positive row.
        exclude: What a row's negatives may not be: :obj:`'positive'`, the item of the
            row itself, or :obj:`'seen'`, any item that the user has in the dataset.
        resample: Whether every epoch has negatives of its own. Otherwise those of the
            first epoch serve the whole run, as in the IEDR paper.

    Raises:
        ValueError: If a user has no item left to draw.
    """

    def __init__(
        self, num_negatives: int = 2, exclude: str = 'positive', resample: bool = False
    ) -> None:
        if num_negatives < 1:
            raise ValueError(f'`num_negatives` must be at least 1 (got {num_negatives})')
        if exclude not in ('positive', 'seen'):
            raise ValueError(f"`exclude` is 'positive' or 'seen' (got '{exclude}')")
        self.num_negatives = num_negatives
        self.exclude = exclude
        self.resample = resample

    def sample(self, dataset: InteractionDataset, generator: torch.Generator) -> Tensor:
        """Draws negatives for every row, on the device of the dataset's rows.

        Args:
            dataset: The positive rows.
            generator: The source of randomness, on the same device.

        Returns:
            Items, of shape :math:`(R, K)`.
        """
        user, item, num_items = dataset.user, dataset.item, dataset.num_items
        keys = torch.unique(user * num_items + item)  # Sorted pairs of user and item.
        self._check(keys, dataset)
        shape = (item.numel(), self.num_negatives)
        negative = torch.randint(
            num_items, shape, generator=generator, device=item.device
        )
        owner = user.unsqueeze(1).expand(shape)
        positive = item.unsqueeze(1).expand(shape)
        wrong = torch.ones_like(negative, dtype=torch.bool).nonzero(as_tuple=True)
        while wrong[0].numel():
            if self.exclude == 'positive':
                clash = negative[wrong] == positive[wrong]
            else:
                drawn = owner[wrong] * num_items + negative[wrong]
                place = torch.searchsorted(keys, drawn).clamp(max=keys.numel() - 1)
                clash = keys[place] == drawn
            wrong = (wrong[0][clash], wrong[1][clash])
            negative[wrong] = torch.randint(
                num_items, wrong[0].shape, generator=generator, device=item.device
            )
        return negative

    def _check(self, keys: Tensor, dataset: InteractionDataset) -> None:
        num_items = dataset.num_items
        if num_items < 2:
            raise ValueError('Negatives need a catalogue of at least two items')
        if self.exclude == 'seen' and keys.numel():
            user, count = torch.unique(keys // num_items, return_counts=True)
            if int(count.max()) == num_items:
                name = dataset.user_ids[int(user[count.argmax()])]
                raise ValueError(
                    f"User '{name}' has all {num_items} items: no negative is left "
                    f"with exclude='seen'"
                )

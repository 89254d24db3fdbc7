"""Negatives that keep user and context and replace the item."""

from __future__ import annotations

from collections.abc import Sequence

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

    def sample(
        self,
        dataset: InteractionDataset,
        generator: torch.Generator,
        seen: Sequence[InteractionDataset] = (),
    ) -> Tensor:
        """Draws negatives for every row, on the device of the dataset's rows.

        Args:
            dataset: The positive rows.
            generator: The source of randomness, on the same device.
            seen: Further datasets whose items count as seen.

        Returns:
            Items, of shape :math:`(R, K)`.
        """
        user, item, num_items = dataset.user, dataset.item, dataset.num_items
        if num_items < 2:
            raise ValueError('Negatives need a catalogue of at least two items')
        known = self._known([dataset, *seen]) if self.exclude == 'seen' else None
        shape = (item.numel(), self.num_negatives)
        negative = torch.randint(
            num_items, shape, generator=generator, device=item.device
        )

        def wrong(row: Tensor, drawn: Tensor) -> Tensor:
            if known is None:
                return drawn == item[row]
            pair = user[row] * num_items + drawn
            place = torch.searchsorted(known, pair).clamp(max=known.numel() - 1)
            return known[place] == pair

        rows = torch.arange(item.numel(), device=item.device).unsqueeze(1)
        row, column = wrong(rows, negative).nonzero(as_tuple=True)
        while row.numel():
            drawn = torch.randint(
                num_items, row.shape, generator=generator, device=item.device
            )
            negative[row, column] = drawn
            again = wrong(row, drawn)
            row, column = row[again], column[again]
        return negative

    def _known(self, datasets: Sequence[InteractionDataset]) -> Tensor:
        """Returns the sorted pairs of user and item that are no negatives."""
        num_items, device = datasets[0].num_items, datasets[0].user.device
        pairs = [(d.user * num_items + d.item).to(device) for d in datasets]
        known = torch.unique(torch.cat(pairs))
        user, count = torch.unique(known // num_items, return_counts=True)
        full = torch.isin(user, datasets[0].user) & (count == num_items)
        if full.any():
            name = datasets[0].user_ids[int(user[full][0])]
            raise ValueError(
                f"User '{name}' has all {num_items} items: no negative is left with "
                f"exclude='seen'"
            )
        return known

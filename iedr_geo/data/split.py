"""Splits of a log into training, validation and test rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from iedr_geo.data.interaction import InteractionDataset


class Split(NamedTuple):
    """The three parts of a log, and what their order stands on."""

    train: InteractionDataset
    valid: InteractionDataset
    test: InteractionDataset
    order: str


def _order(dataset: InteractionDataset) -> tuple[Tensor, str]:
    """Returns the rows in the order of time, ties in the order of rows."""
    if dataset.time is None:
        return torch.arange(len(dataset), device=dataset.user.device), 'rows'
    return torch.argsort(dataset.time, stable=True), 'time'


def _parts(dataset: InteractionDataset, part: Tensor, order: str) -> Split:
    """Builds the split from the part of each row: 0, 1, 2, or less to leave it out."""
    names = ('training', 'validation', 'test')
    for i, name in enumerate(names):
        if not (part == i).any():
            raise ValueError(f'The {name} part of the split is empty')
    train, valid, test = (dataset[part == i] for i in range(3))
    return Split(train, valid, test, order)


def leave_last_out(dataset: InteractionDataset, min_records: int = 3) -> Split:
    """Takes each user's last row for test and the one before for validation.

    Rows are in order of time, or in the order of the log where it has no time;
    :obj:`Split.order` says which. The IEDR paper (Section 7.1.1) keeps users with more
    than 5 records: ``min_records=6``.

    Args:
        dataset: The log.
        min_records: Users with fewer rows are left out altogether.
    """
    if min_records < 3:
        raise ValueError(
            f'Each user needs a row for each part: `min_records` must be at least 3 '
            f'(got {min_records})'
        )
    order, name = _order(dataset)
    count = torch.bincount(dataset.user, minlength=dataset.num_users)
    if int(count.max()) < min_records:
        raise ValueError(
            f'No user has {min_records} records; the most that one has is '
            f'{int(count.max())}'
        )
    # Sorted by user, then time, a row's distance to the end of its user decides.
    order = order[torch.argsort(dataset.user[order], stable=True)]
    user = dataset.user[order]
    last = count.cumsum(0)[user] - 1
    from_end = last - torch.arange(len(dataset), device=user.device)
    part = torch.zeros_like(user)
    part[order] = torch.where(from_end == 0, 2, torch.where(from_end == 1, 1, 0))
    part[count[dataset.user] < min_records] = -1
    return _parts(dataset, part, name)


def random_split(
    dataset: InteractionDataset, valid: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Takes rows at random.

    Args:
        dataset: The log.
        valid: The share of rows for validation.
        test: The share of rows for test.
        seed: The seed of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(dataset), generator=generator).to(dataset.user.device)
    return _parts(dataset, _cut(order, valid, test), 'random')


def time_split(
    dataset: InteractionDataset, valid: float = 0.1, test: float = 0.1
) -> Split:
    """Takes the latest rows for test and those just before for validation.

    Rows at the same time stay in the same part, so parts can differ from their shares.
    A log without time is cut in the order of its rows; :obj:`Split.order` says which.

    Args:
        dataset: The log.
        valid: The share of rows for validation.
        test: The share of rows for test.
    """
    order, name = _order(dataset)
    part = _cut(order, valid, test)
    if dataset.time is not None:
        # The row that comes first decides for all rows of its time.
        _, moment = torch.unique(dataset.time, return_inverse=True)
        earliest = torch.full_like(moment, 2).scatter_reduce_(
            0, moment, part, reduce='amin'
        )
        part = earliest[moment]
    return _parts(dataset, part, name)


def _cut(order: Tensor, valid: float, test: float) -> Tensor:
    """Returns the part of each row when ordered rows are cut by share."""
    if not (0 < valid < 1 and 0 < test < 1 and valid + test < 1):
        raise ValueError(
            f'Shares must be positive and leave rows for training (got valid={valid}, '
            f'test={test})'
        )
    place = torch.empty_like(order)
    place[order] = torch.arange(order.numel(), device=order.device)
    num_test = round(order.numel() * test)
    num_valid = round(order.numel() * valid)
    from_end = order.numel() - 1 - place
    part = torch.where(from_end < num_test + num_valid, 1, 0)
    return torch.where(from_end < num_test, 2, part)

"""A split by users: those who are held out have no edge in training."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from iedr_geo.data.arguments import check_count, check_type
from iedr_geo.data.bipartite import BipartiteGraph


class FoldIn(NamedTuple):
    """The items of held-out users: those that are known, and those to be found.

    Args:
        history: The edges that a user is made of. They are left out of the ranking.
        targets: The edges to be found. No edge is in both.
    """

    history: BipartiteGraph
    targets: BipartiteGraph


class StrongGeneralisationSplit(NamedTuple):
    """Training edges, and held-out users of whom training has none.

    All graphs number the same users and items alike, and popularity counts the training
    edges in all of them.

    Args:
        train: All edges of the training users.
        valid: The edges of the validation users.
        test: The edges of the test users.
    """

    train: BipartiteGraph
    valid: FoldIn
    test: FoldIn


def strong_generalisation_split(
    graph: BipartiteGraph,
    num_held_out: int,
    seed: int = 0,
    target_share: float = 0.2,
    min_items: int = 5,
) -> StrongGeneralisationSplit:
    """Holds out whole users, of whom a part of the items is folded in, as in
    `"Variational Autoencoders for Collaborative Filtering"
    <https://arxiv.org/abs/1802.05814>`_.

    Users with fewer than :obj:`min_items` items are left out, and so are the items that
    no training user has: the nodes that are left are numbered anew, in their order, and
    keep their ids. Of a held-out user who still has :obj:`min_items` items, a share,
    rounded down, are targets; of others, all items are history, and some have none left.

    Users and targets are drawn as the authors' script does, which sorts users and items
    by id: numbers in that order, as of a sorted log, give the same split. The order of
    the rows has no influence.

    Args:
        graph: The edges.
        num_held_out: The number of validation users, and of test users.
        seed: The seed of both draws.
        target_share: The share of a held-out user's items that are targets.
        min_items: The number of items that a user needs.

    Raises:
        TypeError: If the graph is none.
        ValueError: If an argument is out of range, no user is left to train on, or a
            part has no target.
    """
    check_type(graph, 'graph', BipartiteGraph)
    check_count(num_held_out, 'num_held_out')
    check_count(seed, 'seed', 0)
    check_count(min_items, 'min_items')
    if not 0 < target_share < 1:
        raise ValueError(f'`target_share` must be between 0 and 1 (got {target_share})')
    users = (graph.user_degree >= min_items).nonzero().view(-1)
    num_train = users.numel() - 2 * num_held_out
    if num_train < 1:
        raise ValueError(
            f'`num_held_out` is too large: twice {num_held_out} of {users.numel()} users '
            f'with at least {min_items} items leave none to train on'
        )
    order = torch.from_numpy(np.random.RandomState(seed).permutation(users.numel()))
    train, *held_out = order.to(graph.device).tensor_split(
        [num_train, num_train + num_held_out]
    )
    trained = torch.isin(graph.user, users[train])
    graph = graph.among(users, graph.item[trained].unique())
    is_train = torch.isin(graph.user, train)
    popularity = torch.bincount(graph.item[is_train], minlength=graph.num_items)
    graph = replace(graph, popularity=popularity, exclude_seen=True)
    parts = []
    for name, own in zip(('validation', 'test'), held_out, strict=True):
        is_target = _draw_targets(graph, own, seed, target_share, min_items)
        if not is_target.any():
            raise ValueError(
                f'The {name} part has nothing to be found: a `target_share` of '
                f'{target_share} is less than one item of each of its users'
            )
        history = torch.isin(graph.user, own) & ~is_target
        parts.append(FoldIn(graph.subgraph(history), graph.subgraph(is_target)))
    return StrongGeneralisationSplit(graph.subgraph(is_train), *parts)


def _draw_targets(
    graph: BipartiteGraph, users: Tensor, seed: int, share: float, min_items: int
) -> Tensor:
    """Returns a mask of the edges that are targets, of a share of the users' own."""
    # The script draws user by user, each part from the same seed.
    rng, ptr = np.random.RandomState(seed), graph.ptr.tolist()
    is_target = torch.zeros(graph.num_edges, dtype=torch.bool)
    for user in users.sort().values.tolist():
        first, size = ptr[user], ptr[user + 1] - ptr[user]
        if size >= min_items:
            drawn = rng.choice(size, int(share * size), replace=False)
            is_target[first + torch.from_numpy(drawn)] = True
    return is_target.to(graph.device)

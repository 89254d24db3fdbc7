"""Objectives row by row, and candidates that were had as well, written out."""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from iedr_geo.nn import BCEObjective, BPRObjective, Objective, SoftmaxObjective

OBJECTIVES = [
    *(
        cls(over)
        for cls in (BCEObjective, BPRObjective)
        for over in ('negatives', 'batch')
    ),
    SoftmaxObjective(),
    SoftmaxObjective('batch'),
    SoftmaxObjective('batch', log_q=False),
    SoftmaxObjective('batch', bce_weight=0.3),
]


def plain_loss(
    objective: Objective,
    logits: Tensor,
    y: Tensor,
    left_out: Tensor | None = None,
    log_q: Tensor | None = None,
) -> Tensor:
    terms, beside = [], [torch.zeros(1).to(logits)]
    for row, scores in enumerate(logits):
        kept = [c for c in range(len(scores)) if left_out is None or not left_out[row, c]]
        had = [c for c in kept if y[row, c]]
        rest = [c for c in kept if not y[row, c]]
        if isinstance(objective, BCEObjective):
            terms.append(-scores[had].sigmoid().log())
            terms.append(-(1 - scores[rest].sigmoid()).log())
        elif isinstance(objective, BPRObjective):
            terms.append(-(scores[had] - scores[rest]).sigmoid().log())
        else:
            if log_q is not None and objective.log_q:
                scores = scores - log_q
            terms.append(-(scores[had].exp() / scores[kept].exp().sum()).log())
            beside.append(-scores[had].sigmoid().log())
            beside.append(-(1 - scores[rest].sigmoid()).log())
    weight = getattr(objective, 'bce_weight', 0.0)
    return torch.cat(terms).mean() + weight * torch.cat(beside[1:] or beside).mean()


def had_as_well(
    pairs: set[tuple[Hashable, int]],
    queries: Sequence[Hashable],
    items: Sequence[int],
    candidates: Sequence[int],
) -> Tensor:
    """Which candidates of a row are in the log with its query, but for its own item."""
    return torch.tensor(
        [
            [(query, c) in pairs and c != item for c in candidates]
            for query, item in zip(queries, items, strict=True)
        ]
    )

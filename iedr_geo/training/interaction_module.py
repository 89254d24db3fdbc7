"""Training of any model on rows of users, items and contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from iedr_geo.data import (
    CandidateLists,
    InteractionDataset,
    NegativeSampler,
    UniformNegativeSampler,
)
from iedr_geo.data.arguments import check_type
from iedr_geo.data.bipartite import graph_of_queries
from iedr_geo.evaluation import (
    DEFAULT_METRICS,
    CandidateRankings,
    CatalogueRankings,
    Rankings,
)
from iedr_geo.loader import InteractionBatch, InteractionLoader
from iedr_geo.metrics import RankingMetric
from iedr_geo.nn import BCEObjective, Objective, score_items
from iedr_geo.nn.contract import has_hooks, stands_for
from iedr_geo.scoring import device_of, evaluating, items_of
from iedr_geo.scoring.agreement import check_schema, num_embeddings
from iedr_geo.training.training_module import Options, TrainingModule

if TYPE_CHECKING:
    from typing_extensions import Unpack

COMPARED = 16  # Rows on which what a model is trained by is what it ranks by.


class InteractionModule(TrainingModule):
    r"""A module that trains any model which maps an :class:`InteractionBatch` to logits.

    A model with :obj:`encode` is called once a batch. If it has an :obj:`estimator_loss`,
    as IEDR (Section 5.3.2 and Algorithm 1 of `Su et al.
    <https://doi.org/10.1145/3722553>`_), the estimator takes :obj:`estimator_steps` steps
    on the detached result, and the rest of the model one on the weighted sum of its
    losses.

    Args:
        model: The model.
        train: The training rows.
        valid: The validation rows (default: none; then the last epoch's model is the
            result, as for a model that is trained again on all rows with the best number
            of epochs).
        lists: The candidate lists that are ranked after each epoch (default: the whole
            catalogue is, for the users and contexts of :obj:`valid`).
        objective: The objective of the prediction (default: :class:`BCEObjective`),
            unless the model has :obj:`losses`.
        negatives: The sampler of negatives (default: 2 for each row, fixed for the run;
            none where rows have labels or the objective goes over the batch).
        group_negatives: If :obj:`True`, a positive and its negatives come in the same
            batch, which is faster. Objectives over a positive's own negatives have it so.
        metrics: The metrics of the validation lists, besides the AUC.
        num_workers: The number of processes that build batches. With none, batches are
            built on the training device.
        **kwargs: Further arguments of :class:`TrainingModule`, with its defaults.

    Raises:
        ValueError: If model, objective, negatives and rows do not fit each other.

    Example:
        >>> module = InteractionModule(model, train, valid, objective=SoftmaxObjective())
        >>> result = fit(module, 'runs/softmax')
    """

    takes = ('rows',)
    default_objective = BCEObjective

    def __init__(
        self,
        model: torch.nn.Module,
        train: InteractionDataset,
        valid: InteractionDataset | None = None,
        lists: CandidateLists | None = None,
        *,
        objective: Objective | None = None,
        negatives: NegativeSampler | None = None,
        group_negatives: bool = False,
        metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
        num_workers: int = 0,
        **kwargs: Unpack[Options],
    ) -> None:
        check_type(train, 'train', InteractionDataset)
        if len(train) == 0:
            raise ValueError('The training part is empty')
        rankings: Rankings | None = None
        if lists is not None:
            if valid is None:
                raise ValueError('`lists` needs `valid`, the rows that they are of')
            rankings = CandidateRankings(valid, lists, metrics)
        elif valid is not None:
            rankings = CatalogueRankings(valid, [train], metrics)
        super().__init__(model, train, valid, rankings, objective, negatives, **kwargs)
        name = 'The schema of the training rows'
        check_schema(num_embeddings(model), train.schema, name)
        if self.objective is not None:
            _check_encode(model, train)
        grouped = self.objective is not None and self.objective.grouped
        if train.y is not None and (self.over_batch or grouped):
            raise ValueError(
                f'{objective!r} needs positives alone, but the training rows have '
                f'labels: keep those with the label 1, or take BCEObjective()'
            )
        if negatives is None and train.y is None and not self.over_batch:
            self.negatives = UniformNegativeSampler(2)
        self.train_rows = train
        self.group_negatives = group_negatives or (grouped and not self.over_batch)
        self.num_workers = num_workers
        if self.over_batch:  # What was had by whom, in which context, is no negative.
            self.queries: Tensor
            self.had, _, queries = graph_of_queries(train.to('cpu'))
            self.register_buffer('queries', queries, persistent=False)
        self._loader()  # Refuses wrong arguments now, not after Lightning's start.

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments a run depends on besides its data; a checkpoint fits no other."""
        return super().settings | {'group_negatives': self.group_negatives}

    def _loader(self) -> InteractionLoader:
        rows, workers = self.train_rows, self.num_workers
        return InteractionLoader(
            rows if workers else rows.to(self.device),
            self.batch_size,
            self.negatives,
            group_negatives=self.group_negatives,
            shuffle=True,
            curriculum=self.curriculum,
            seed=self.seed,
            num_workers=workers,
            pin_memory=workers > 0 and self.device.type == 'cuda',
        )

    def _encode(self, batch: InteractionBatch) -> Any:
        model: Any = self.model
        return model.encode(batch) if hasattr(model, 'encode') else None

    def _prediction(self, batch: InteractionBatch, encoded: Any) -> Tensor:
        objective: Any = self.objective
        if self.over_batch:
            graphs = torch.arange(batch.item.num_graphs, device=batch.item_graph.device)
            logits = score_items(self.model, batch, graphs, encoded)
            self.had = self.had.to(logits.device)
            query = batch.user_id * self.train_rows.num_contexts + batch.context_id
            query, items = torch.searchsorted(self.queries, query), batch.item.graph_id
            had = items_of(self.had, query, items)
            return self._over_batch(logits, batch.item_id, items, had)
        y: Any = batch.y
        # Hooks on parts of the model are called either way.
        hooked = has_hooks(self.model, parts=False)
        if stands_for(self.model, 'encode', 'forward') and not hooked:
            logits = encoded.logits
        else:
            logits = self.model(batch)
        if logits.shape != y.shape:
            raise ValueError(
                f'{type(self.model).__name__} must return a logit for each of the '
                f'{len(batch)} rows of a batch (got a tensor of shape '
                f'{tuple(logits.shape)})'
            )
        if objective.grouped and self.negatives is not None:
            shape = (-1, 1 + self.negatives.num_negatives)
            logits, y = logits.view(shape), y.view(shape)
        loss: Tensor = objective(logits, y)
        return loss


def _check_encode(model: Any, train: InteractionDataset) -> None:
    """Raises an error if a model would be trained by other logits than it ranks by."""
    if not stands_for(model, 'encode', 'forward') or has_hooks(model, parts=False):
        return  # The logits of `forward` are asked for.
    rows = train[:COMPARED].to(device_of(model, train.user.device))
    with evaluating(model):
        batch = InteractionBatch.from_ids(rows, rows.user, rows.item, rows.context)
        encoded, logits = model.encode(batch), model(batch)
    name = type(model).__name__
    if not hasattr(encoded, 'logits'):
        raise ValueError(f'`encode(batch)` of {name} must return something with `logits`')
    scale = logits.detach().abs().max()
    if not ((encoded.logits - logits).abs() <= 1e-2 * scale).all():
        raise ValueError(
            f'`encode(batch).logits` of {name}, by which it is trained, are not what its '
            f'`forward(batch)` returns, by which it ranks'
        )

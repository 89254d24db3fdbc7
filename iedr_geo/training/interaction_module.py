"""Training of any model on rows of users, items and contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from iedr_geo.data import (
    CandidateLists,
    InteractionDataset,
    NegativeSampler,
    UniformNegativeSampler,
)
from iedr_geo.evaluation import (
    DEFAULT_METRICS,
    CandidateRankings,
    CatalogueRankings,
    Rankings,
)
from iedr_geo.loader import Curriculum, InteractionBatch, InteractionLoader
from iedr_geo.metrics import RankingMetric
from iedr_geo.nn import BCEObjective, Objective, score_items
from iedr_geo.nn.contract import has_hooks, stands_for
from iedr_geo.training.schedule import RateSchedule
from iedr_geo.training.training_module import (
    TrainingModule,
    check_objective,
    described,
)


class InteractionModule(TrainingModule):
    r"""Trains any model that maps an :class:`InteractionBatch` to logits.

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
        objective: What the prediction is trained by (default: :class:`BCEObjective`).
        negatives: How to draw negatives (default: 2 for each row, fixed for the run; none
            where rows have labels or the objective goes over the batch).
        batch_size: The number of rows of a batch, negatives included.
        group_negatives: Whether a positive and its negatives come in the same batch,
            which is faster. Objectives over a positive's own negatives have it so.
        learning_rate: The learning rate of Adam.
        schedule: How it changes, *e.g.*, :class:`CosineRate` (default: it does not).
        curriculum: What negative samplers follow.
        weight_decay: The weight decay of Adam.
        betas: Its coefficients.
        amsgrad: Whether it is the AMSGrad variant.
        estimator_steps: The number of estimator steps a batch.
        estimator_first: Whether they come before the main step, as in Algorithm 1, or
            after it, as in the authors' scripts (which encode the batch again for it).
        metrics: The metrics of the validation lists, besides the AUC.
        monitor: The one that decides.
        seed: The seed of the run.
        num_workers: Processes that build batches. With none, batches are built on the
            training device.

    Raises:
        ValueError: If model, objective, negatives and rows do not fit each other.

    Example:
        >>> module = InteractionModule(model, train, valid, objective=SoftmaxObjective())
        >>> result = fit(module, 'runs/softmax')
    """

    takes = ('rows',)

    def __init__(
        self,
        model: torch.nn.Module,
        train: InteractionDataset,
        valid: InteractionDataset | None = None,
        lists: CandidateLists | None = None,
        *,
        objective: Objective | None = None,
        negatives: NegativeSampler | None = None,
        batch_size: int = 1024,
        group_negatives: bool = False,
        learning_rate: float = 1e-3,
        schedule: RateSchedule | None = None,
        curriculum: Curriculum | None = None,
        weight_decay: float = 1e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        amsgrad: bool = False,
        estimator_steps: int = 1,
        estimator_first: bool = True,
        metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
        monitor: str = 'ndcg@10',
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        rankings: Rankings | None = None
        if lists is not None:
            if valid is None:
                raise ValueError('`lists` needs `valid`, the rows that they are of')
            rankings = CandidateRankings(valid, lists, metrics)
        elif valid is not None:
            rankings = CatalogueRankings.of_dataset(valid, [train], metrics)
        super().__init__(
            model,
            check_objective(model, objective, BCEObjective()),
            rankings,
            valid,
            learning_rate=learning_rate,
            schedule=schedule,
            curriculum=curriculum,
            weight_decay=weight_decay,
            betas=betas,
            amsgrad=amsgrad,
            estimator_steps=estimator_steps,
            estimator_first=estimator_first,
            monitor=monitor,
            seed=seed,
        )
        _check_vocabulary(model, train)
        self.over_batch = self.objective is not None and self.objective.over == 'batch'
        grouped = self.objective is not None and self.objective.grouped
        if train.y is not None and (self.over_batch or grouped):
            raise ValueError(
                f'{objective!r} needs positives alone, but the training rows have '
                f'labels: keep those with the label 1, or take BCEObjective()'
            )
        if self.over_batch and negatives is not None:
            raise ValueError(f'{objective!r} takes no negatives: leave out {negatives!r}')
        if negatives is None and train.y is None and not self.over_batch:
            negatives = UniformNegativeSampler(2)
        self.train_rows = train
        self.negatives = negatives
        self.batch_size = batch_size
        self.group_negatives = group_negatives or (grouped and not self.over_batch)
        self.num_workers = num_workers
        self.log_q: Tensor
        share = torch.bincount(train.item.cpu(), minlength=train.num_items) / len(train)
        self.register_buffer('log_q', share.log(), persistent=False)
        self._loader()  # Refuses wrong arguments now, not after Lightning's start.

    @property
    def settings(self) -> dict[str, Any]:
        """What a run depends on besides its data; a checkpoint fits no other."""
        return super().settings | {
            'negatives': described(self.negatives),
            'batch_size': self.batch_size,
            'group_negatives': self.group_negatives,
            'rows': len(self.train_rows),
        }

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
            items = torch.arange(batch.item.num_graphs, device=batch.item_graph.device)
            logits = score_items(self.model, batch, items, encoded)
            y = batch.item_graph.unsqueeze(1) == items
            query = batch.user_graph * batch.context.num_graphs + batch.context_graph
            left_out = other_positives(query, y)
            loss: Tensor = objective(logits, y, left_out, self.log_q[batch.item.graph_id])
            return loss
        assert batch.y is not None
        y = batch.y
        # Hooks on parts of the model are called either way.
        hooked = has_hooks(self.model, parts=False)
        if stands_for(self.model, 'encode', 'forward') and not hooked:
            logits = encoded.logits
        else:
            logits = self.model(batch)
        if objective.grouped and self.negatives is not None:
            shape = (-1, 1 + self.negatives.num_negatives)
            logits, y = logits.view(shape), y.view(shape)
        loss = objective(logits, y)
        return loss


def other_positives(query: Tensor, y: Tensor) -> Tensor:
    """Returns which candidates of a row are those of another row with the same query.

    Args:
        query: Who asks, and where, as a number, of shape :math:`(B)`.
        y: Which candidate each row has had, boolean, of shape :math:`(B, C)`.

    Returns:
        Booleans, of shape :math:`(B, C)`.
    """
    ordered, order = query.sort()
    number = torch.zeros_like(query)
    number[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
    group = torch.empty_like(number)
    group[order] = number
    had = torch.zeros_like(y, dtype=torch.int32)
    had.index_add_(0, group, y.int())
    return (had[group] > 0) & ~y


def _check_vocabulary(model: torch.nn.Module, train: InteractionDataset) -> None:
    config = getattr(model, 'config', None)
    size = config.get('num_embeddings') if isinstance(config, dict) else None
    if size is not None and size < train.schema.num_embeddings:
        raise ValueError(
            f'The schema of the training rows has {train.schema.num_embeddings} '
            f'embeddings, the model {size}'
        )

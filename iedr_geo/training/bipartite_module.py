"""Training of any model on the graph of users and items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, NegativeSampler, PopularityMarginSampler
from iedr_geo.evaluation import GRAPH_METRICS, CatalogueRankings
from iedr_geo.loader import Curriculum, EdgeBatch, EdgeLoader, UserLoader
from iedr_geo.metrics import RankingMetric
from iedr_geo.nn import BPRObjective, Objective
from iedr_geo.scoring import items_of
from iedr_geo.training.schedule import PlateauRate, RateSchedule
from iedr_geo.training.training_module import (
    TrainingModule,
    check_objective,
    described,
)

PLATEAU, SHRINKING = PlateauRate(), Curriculum(0.9)


class BipartiteModule(TrainingModule):
    r"""Trains any model that scores users and items by their numbers.

    By default as DICE was trained (Section 3.3 of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_): four negatives with a popularity margin,
    which the curriculum multiplies by 0.9 after each epoch, as it does the cause-specific
    terms of :class:`DICE`; AMSGrad, whose learning rate falls where the metric that
    decides has not improved for five epochs.

    Args:
        model: The model, with :obj:`score(user, item)`. One whose :obj:`batches` is
            :obj:`'users'` is given users with all their items, and has :obj:`losses`.
        train: The training edges.
        valid: The validation edges (default: none; then the last epoch's model is the
            result).
        objective: What the prediction is trained by (default: :class:`BPRObjective`),
            unless the model has :obj:`losses`.
        negatives: How to draw negatives (default: 4 with a popularity margin, none where
            the objective goes over the batch).
        batch_size: The number of edges, or users, of a batch.
        learning_rate: The learning rate of Adam.
        schedule: How it changes (default: :class:`PlateauRate`, which changes nothing
            without a validation part).
        curriculum: What negative samplers and losses follow (default: times 0.9 after
            each epoch).
        weight_decay: The weight decay of Adam.
        betas: Its coefficients.
        amsgrad: Whether it is the AMSGrad variant.
        estimator_steps: As in :class:`TrainingModule`.
        estimator_first: As in :class:`TrainingModule`.
        metrics: The metrics of the validation edges.
        monitor: The one that decides.
        seed: The seed of the run.

    Raises:
        ValueError: If a part is empty, or the graphs do not fit the model.
    """

    takes = ('edges', 'users')

    def __init__(
        self,
        model: torch.nn.Module,
        train: BipartiteGraph,
        valid: BipartiteGraph | None = None,
        *,
        objective: Objective | None = None,
        negatives: NegativeSampler | None = None,
        batch_size: int = 1024,
        learning_rate: float = 0.01,
        schedule: RateSchedule | None = PLATEAU,
        curriculum: Curriculum | None = SHRINKING,
        weight_decay: float = 5e-8,
        betas: tuple[float, float] = (0.5, 0.99),
        amsgrad: bool = True,
        estimator_steps: int = 1,
        estimator_first: bool = True,
        metrics: Sequence[RankingMetric] = GRAPH_METRICS,
        monitor: str = 'recall@50',
        seed: int = 0,
    ) -> None:
        for graph, name in ((train, 'training'), (valid, 'validation')):
            if graph is None:
                continue
            if graph.num_edges == 0:
                raise ValueError(
                    f'The {name} part is empty'
                    + (': without one, pass valid=None' if graph is valid else '')
                )
            _check_size(model, graph, name)
        rankings = None
        if valid is not None:
            rankings = CatalogueRankings(valid, train, metrics)
        super().__init__(
            model,
            check_objective(model, objective, BPRObjective()),
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
        self.train_edges = train
        self.of_users = getattr(model, 'batches', 'edges') == 'users'
        self.over_batch = self.objective is not None and self.objective.over == 'batch'
        without = self.of_users or self.over_batch
        if without and negatives is not None:
            what = 'A model of users' if self.of_users else repr(objective)
            raise ValueError(f'{what} takes no negatives: leave out {negatives!r}')
        name = type(model).__name__
        if self.of_users and self.objective is not None:
            raise ValueError(f'{name} takes users and needs `losses`')
        scores = self.objective is not None or valid is not None
        if scores and not hasattr(model, 'score'):
            raise ValueError(
                f'BipartiteModule needs a model with `score(user, item)`, which {name} '
                f'does not have'
            )
        if negatives is None and not without:
            negatives = PopularityMarginSampler()
        self.negatives = negatives
        self.batch_size = batch_size
        self.log_q: Tensor
        share = train.item_degree.cpu() / train.num_edges
        self.register_buffer('log_q', share.log(), persistent=False)
        self._loader()  # Refuses wrong arguments now, not after Lightning's start.

    @property
    def settings(self) -> dict[str, Any]:
        """What a run depends on besides its data; a checkpoint fits no other."""
        return super().settings | {
            'negatives': described(self.negatives),
            'batch_size': self.batch_size,
            'edges': self.train_edges.num_edges,
        }

    def _loader(self) -> EdgeLoader | UserLoader:
        graph = self.train_edges.to(self.device)
        if self.of_users:
            return UserLoader(graph, self.batch_size, shuffle=True, seed=self.seed)
        return EdgeLoader(
            graph,
            self.batch_size,
            self.negatives,
            shuffle=True,
            curriculum=self.curriculum,
            seed=self.seed,
        )

    def _prediction(self, batch: EdgeBatch, encoded: Any) -> Tensor:
        model: Any = self.model
        objective: Any = self.objective
        user = batch.user.unsqueeze(1)
        if self.over_batch:
            items = torch.unique(batch.item)
            y = batch.item.unsqueeze(1) == items
            logits = model.score(user, items.unsqueeze(0))
            self.train_edges = self.train_edges.to(y.device)
            left_out = torch.zeros_like(y)
            left_out[items_of(self.train_edges, batch.user, items)] = True
            left_out &= ~y
            loss: Tensor = objective(logits, y, left_out, self.log_q[items])
            return loss
        logits = model.score(user, batch.candidates)
        y = torch.zeros_like(logits, dtype=torch.bool)
        y[:, 0] = True
        loss = objective(logits, y)
        return loss


def _check_size(model: Any, graph: BipartiteGraph, name: str) -> None:
    """Raises an error if a model says that it is of other users and items."""
    size = [getattr(model, side, None) for side in ('num_users', 'num_items')]
    if None not in size and size != [graph.num_users, graph.num_items]:
        raise ValueError(
            f'The {name} part has {graph.num_users} users and {graph.num_items} '
            f'items, the model {size[0]} and {size[1]}'
        )

"""Training of any model on the graph of users and items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, NegativeSampler, PopularityMarginSampler
from iedr_geo.data.arguments import check_type
from iedr_geo.data.negative_sampling import for_graph
from iedr_geo.evaluation import GRAPH_METRICS, HISTORY_METRICS, CatalogueRankings
from iedr_geo.loader import Curriculum, EdgeBatch, EdgeLoader, UserLoader
from iedr_geo.metrics import RankingMetric
from iedr_geo.nn import BPRObjective, Objective
from iedr_geo.scoring import items_of, reads_history
from iedr_geo.training.schedule import PlateauRate
from iedr_geo.training.training_module import Options, TrainingModule

if TYPE_CHECKING:
    from typing_extensions import Unpack

AS_DICE = Options(
    learning_rate=0.01,
    schedule=PlateauRate(),
    curriculum=Curriculum(0.9),
    weight_decay=5e-8,
    betas=(0.5, 0.99),
    amsgrad=True,
    monitor='recall@50',
)
AS_MULT_VAE = Options(batch_size=350, weight_decay=0.0, monitor='ndcg@100')


class BipartiteModule(TrainingModule):
    r"""A module that trains any model which scores users and items by their numbers.

    By default as DICE was trained (Section 3.3 of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_): four negatives with a popularity margin,
    which the curriculum multiplies by 0.9 after each epoch, as it does the cause-specific
    terms of :class:`DICE`; AMSGrad, whose learning rate falls where the metric that
    decides has not improved for five epochs. A model of users as MultVAE was (Section 3
    of `Liang et al. <https://arxiv.org/abs/1802.05814>`_): Adam, NDCG\@100 decides.

    Args:
        model: The model, with :obj:`score(user, item)`. One whose :obj:`batches` is
            :obj:`'users'` is given users with all their items, and has :obj:`losses`.
        train: The training edges.
        valid: The validation edges (default: none; then the last epoch's model is the
            result).
        history: The items by which the users of the validation edges are known, which are
            left out of their rankings (default: those of the training edges). For users
            whom a model of histories was not trained on.
        objective: The objective of the prediction (default: :class:`BPRObjective`),
            unless the model has :obj:`losses`.
        negatives: The sampler of negatives (default: 4 with a popularity margin, none
            where the objective goes over the batch).
        metrics: The metrics of the validation edges (default: recall, hit ratio and NDCG
            at 20 and 50; for models of users, NDCG at 100 and truncated recall at 20 and
            50).
        **kwargs: Further arguments of :class:`TrainingModule` (default:
            :obj:`learning_rate=0.01`, :obj:`schedule=PlateauRate()`,
            :obj:`curriculum=Curriculum(0.9)`, :obj:`weight_decay=5e-8`,
            :obj:`betas=(0.5, 0.99)`, :obj:`amsgrad=True`, :obj:`monitor='recall@50'`;
            for models of users :obj:`batch_size=350`, :obj:`weight_decay=0` and
            :obj:`monitor='ndcg@100'`; the rest as there).

    Raises:
        ValueError: If a part is empty, or model, graphs, objective and negatives do not
            fit each other.
    """

    takes = ('edges', 'users')
    default_objective = BPRObjective

    def __init__(
        self,
        model: torch.nn.Module,
        train: BipartiteGraph,
        valid: BipartiteGraph | None = None,
        *,
        history: BipartiteGraph | None = None,
        objective: Objective | None = None,
        negatives: NegativeSampler | None = None,
        metrics: Sequence[RankingMetric] | None = None,
        **kwargs: Unpack[Options],
    ) -> None:
        _check_graph(model, train, 'training')
        check_graph: Any = getattr(model, 'check_graph', None)
        if check_graph is not None:
            check_graph(train)
        of_users = getattr(model, 'batches', 'edges') == 'users'
        if metrics is None:
            metrics = HISTORY_METRICS if of_users else GRAPH_METRICS
        rankings = None
        if valid is not None:
            _check_graph(model, valid, 'validation', ': without one, pass valid=None')
            had = train if history is None else history
            rankings = CatalogueRankings(valid, had, metrics)
        options = (AS_MULT_VAE if of_users else AS_DICE) | kwargs
        super().__init__(model, train, valid, rankings, objective, negatives, **options)
        self.of_users = of_users
        name = type(model).__name__
        if self.of_users and negatives is not None:
            raise ValueError(
                f'A model of users takes no negatives: leave out {negatives!r}'
            )
        if self.of_users and self.objective is not None:
            raise ValueError(f'{name} takes users and needs `losses`')
        scores = self.objective is not None or valid is not None
        if scores and not (hasattr(model, 'score') or reads_history(model)):
            raise ValueError(
                f'BipartiteModule needs a model with `score(user, item)`, which {name} '
                f'does not have'
            )
        if not (self.of_users or self.over_batch) and negatives is None:
            self.negatives = PopularityMarginSampler()
        if self.negatives is not None:  # What they come to is in the settings.
            self.negatives = for_graph(self.negatives, train)
        self.train_edges = train
        self._loader()  # Refuses wrong arguments now, not after Lightning's start.

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
        user = batch.user.unsqueeze(1)
        if self.over_batch:
            items = torch.unique(batch.item)
            self.train_edges = self.train_edges.to(items.device)
            logits = model.score(user, items.unsqueeze(0))
            had = items_of(self.train_edges, batch.user, items)
            return self._over_batch(logits, batch.item, items, had)
        logits = model.score(user, batch.candidates)
        y = torch.zeros_like(logits, dtype=torch.bool)
        y[:, 0] = True
        objective: Any = self.objective
        loss: Tensor = objective(logits, y)
        return loss


def _check_graph(model: Any, graph: BipartiteGraph, name: str, advice: str = '') -> None:
    """Raises an error if a graph is empty, or a model says that it is of another size."""
    check_type(graph, f'{name} part', BipartiteGraph)
    if graph.num_edges == 0:
        raise ValueError(f'The {name} part is empty{advice}')
    size = [getattr(model, side, None) for side in ('num_users', 'num_items')]
    if None not in size and size != [graph.num_users, graph.num_items]:
        raise ValueError(
            f'The {name} part has {graph.num_users} users and {graph.num_items} '
            f'items, the model {size[0]} and {size[1]}'
        )

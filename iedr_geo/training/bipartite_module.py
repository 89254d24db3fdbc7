"""Training of models of the graph of users and items, as a Lightning module."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from iedr_geo.data import BipartiteGraph, PopularityMarginSampler
from iedr_geo.data.randomness import derive_seed
from iedr_geo.evaluation import BIPARTITE_METRICS, evaluate_bipartite
from iedr_geo.loader import BipartiteBatch, BipartiteLoader
from iedr_geo.loader.bipartite_loader import NegativeSampler
from iedr_geo.metrics import RankingMetric
from iedr_geo.nn import BipartiteModel
from iedr_geo.training.training_module import TrainingModule

MODEL = 2  # The stream of randomness of an epoch that the loader leaves free.


class BipartiteModule(TrainingModule):
    r"""Trains a model of the bipartite graph with a curriculum and a plateau schedule.

    After each epoch, the margin of the sampler and the cause-specific weight of
    :class:`DICE` are multiplied by :obj:`decay` (Section 3.3 of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_). The learning rate falls to a tenth
    whenever the monitored metric has not improved for :obj:`rate_patience` epochs. Epochs
    without gain count, for stopping, only once it is at its lowest.

    All randomness of an epoch derives from :obj:`seed`, the epoch and the rank, so a
    resumed run goes on as if it had never stopped.

    Args:
        model: The model.
        train: The training edges.
        valid: The validation edges (default: none; then the learning rate is constant
            and the last epoch's model is the result).
        negatives: How to draw negatives (default: 4 with a popularity margin).
        batch_size: The number of edges of a batch.
        decay: The factor of the curriculum; 1 for none.
        decay_every: :obj:`"epoch"` or, for small data, :obj:`"step"`.
        learning_rate: The learning rate of Adam.
        betas: Its coefficients.
        amsgrad: Whether it is the AMSGrad variant.
        weight_decay: Its weight decay.
        rate_patience: The number of epochs (:obj:`None`: the learning rate is constant).
        min_rate: The lowest learning rate.
        metrics: The metrics of the validation edges.
        monitor: The one that decides.
        seed: The seed of the run.

    Raises:
        ValueError: If the validation part is empty, or the graphs do not fit the model.
    """

    model: BipartiteModel

    def __init__(
        self,
        model: BipartiteModel,
        train: BipartiteGraph,
        valid: BipartiteGraph | None = None,
        *,
        negatives: NegativeSampler | None = None,
        batch_size: int = 1024,
        decay: float = 0.9,
        decay_every: str = 'epoch',
        learning_rate: float = 0.01,
        betas: tuple[float, float] = (0.5, 0.99),
        amsgrad: bool = True,
        weight_decay: float = 5e-8,
        rate_patience: int | None = 5,
        min_rate: float = 1e-4,
        metrics: Sequence[RankingMetric] = BIPARTITE_METRICS,
        monitor: str = 'recall@50',
        seed: int = 0,
    ) -> None:
        super().__init__(model)
        for graph, name in ((train, 'training'), (valid, 'validation')):
            if graph is None:
                continue
            if graph.num_edges == 0:
                raise ValueError(
                    f'The {name} part is empty'
                    + (': without one, pass valid=None' if graph is valid else '')
                )
            if (graph.num_users, graph.num_items) != (model.num_users, model.num_items):
                raise ValueError(
                    f'The {name} part has {graph.num_users} users and {graph.num_items} '
                    f'items, the model {model.num_users} and {model.num_items}'
                )
        self.automatic_optimization = False
        self.train_edges, self.valid_edges = train, valid
        self.negatives = negatives or PopularityMarginSampler()
        self.batch_size = batch_size
        self.decay, self.decay_every = decay, decay_every
        self.learning_rate, self.min_rate = learning_rate, min_rate
        self.betas, self.amsgrad, self.weight_decay = betas, amsgrad, weight_decay
        self.rate_patience = None if valid is None else rate_patience
        self.metrics = () if valid is None else metrics
        self.monitor = None if valid is None else monitor
        self.seed = seed
        self._loader()  # Refuses wrong arguments now, not after Lightning's start.

    @property
    def monitors(self) -> list[str]:
        """The names of the validation metrics."""
        return [metric.name for metric in self.metrics]

    @property
    def settings(self) -> dict[str, Any]:
        """What a run depends on besides its data; a checkpoint fits no other."""
        negatives = self.negatives
        return {
            'model': type(self.model).__name__,
            'arguments': self.model.config,
            'sampler': type(negatives).__name__,
            'negatives': asdict(cast(Any, negatives)) if is_dataclass(negatives) else {},
            'batch_size': self.batch_size,
            'decay': self.decay,
            'decay_every': self.decay_every,
            'learning_rate': self.learning_rate,
            'betas': list(self.betas),
            'amsgrad': self.amsgrad,
            'weight_decay': self.weight_decay,
            'rate_patience': self.rate_patience,
            'min_rate': self.min_rate,
            'seed': self.seed,
            'edges': self.train_edges.num_edges,
        }

    def _rates(self) -> list[float]:
        """Returns the learning rate of each epoch so far, and of the next."""
        if self.rate_patience is None or self.monitor is None:
            return [self.learning_rate] * (len(self.history) + 1)
        optimizer = SGD([torch.zeros(1)], lr=self.learning_rate)
        schedule = ReduceLROnPlateau(
            optimizer, 'max', patience=self.rate_patience, min_lr=self.min_rate, eps=0
        )
        rates = [self.learning_rate]
        for epoch in self.history:
            schedule.step(epoch[self.monitor])
            rates.append(optimizer.param_groups[0]['lr'])
        return rates

    def epochs_without_gain(self, monitor: str | None) -> int:
        """Returns for how many epochs at the lowest rate nothing has improved."""
        epochs = super().epochs_without_gain(monitor)
        if self.rate_patience is None:
            return epochs
        *past, _ = self._rates()
        return min(epochs, sum(rate <= self.min_rate for rate in past))

    def configure_optimizers(self) -> Adam:
        """Returns the optimizer."""
        return Adam(
            self.model.parameters(),
            lr=self.learning_rate,
            betas=self.betas,
            weight_decay=self.weight_decay,
            amsgrad=self.amsgrad,
            fused=True,
        )

    def _loader(self) -> BipartiteLoader:
        return BipartiteLoader(
            self.train_edges.to(self.device),
            self.batch_size,
            self.negatives,
            shuffle=True,
            decay=self.decay,
            decay_every=self.decay_every,
            seed=self.seed,
        )

    def train_dataloader(self) -> BipartiteLoader:
        """Returns the training batches, drawn on this process's device."""
        loader = self._loader()
        loader.set_epoch(len(self.history))
        return loader

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch and sets its learning rate."""
        cast(Any, self.trainer.train_dataloader).set_epoch(self.current_epoch)
        place = (self.current_epoch, MODEL, self.global_rank)
        torch.manual_seed(derive_seed(self.seed, *place))
        self._rate = self._rates()[-1]
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = self._rate
        self._sums: dict[str, Tensor] = {}
        self._batches = 0
        self._started = time.perf_counter()

    def training_step(self, batch: BipartiteBatch, batch_idx: int) -> None:
        """Takes a step on one batch."""
        optimizer = cast(Any, self.optimizers())
        losses = cast(Any, self.model.losses(batch))
        optimizer.zero_grad()
        self.manual_backward(losses.total)
        optimizer.step()
        for name, term in losses._asdict().items():  # Read when the epoch is over.
            self._sums[name] = self._sums.get(name, 0) + term.detach()
        self._batches += 1

    def on_train_epoch_end(self) -> None:
        """Ranks for the users of the validation edges and logs the epoch."""
        losses = {name: float(sum_) / self._batches for name, sum_ in self._sums.items()}
        trained = time.perf_counter() - self._started
        valid: dict[str, float] = {}
        if self.valid_edges is not None:
            valid = evaluate_bipartite(
                self.model, self.valid_edges, self.train_edges, self.metrics
            ).metrics
        self.history.append(
            {
                'epoch': self.current_epoch,
                **losses,
                **valid,
                'learning_rate': self._rate,
                'seconds': time.perf_counter() - self._started,
                'training_seconds': trained,
            }
        )
        for name, value in (losses | valid).items():
            shown = name in ('total', self.monitor)
            self.log(name, value, prog_bar=shown, rank_zero_only=False)

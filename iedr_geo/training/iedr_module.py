"""The two steps of training IEDR, as a Lightning module."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from iedr_geo.data import CandidateLists, InteractionDataset, UniformNegativeSampler
from iedr_geo.data.randomness import derive_seed
from iedr_geo.evaluation import DEFAULT_METRICS, evaluate_candidates
from iedr_geo.loader import InteractionBatch, InteractionLoader
from iedr_geo.metrics import AUC, RankingMetric
from iedr_geo.nn import IEDR, IEDRFactors
from iedr_geo.training.training_module import TrainingModule

MODEL = 2  # The stream of randomness of an epoch that the loader leaves free.
TERMS = ('loss', 'prediction', 'contrastive', 'disentangling', 'estimator')


class IEDRModule(TrainingModule):
    r"""Trains IEDR in two steps a batch (Section 5.3.2 and Algorithm 1 of `Su et al.
    <https://doi.org/10.1145/3722553>`_).

    Each batch is encoded once. On its detached factors, the estimator of mutual
    information takes :obj:`estimator_steps` steps; the rest of the model takes one on the
    weighted sum of its losses. Every epoch ends with a ranking of the validation lists,
    for which no other loss is computed.

    All randomness of an epoch derives from :obj:`seed`, the epoch and the rank, so a
    resumed run goes on as if it had never stopped.

    Args:
        model: The model.
        train: The training rows.
        valid: Where the features of the validation lists are.
        valid_lists: The lists that are ranked after each epoch.
        negatives: How to draw negatives (default: 2 for each row, fixed for the run; none
            where the rows have labels).
        batch_size: The number of rows of a batch, negatives included.
        group_negatives: As in :class:`InteractionLoader`.
        learning_rate: The learning rate of both optimizers.
        decay_epochs: The number of epochs in which the learning rate falls to zero along
            half a cosine, epoch by epoch (default: it stays what it is).
        weight_decay: The weight decay of both optimizers.
        estimator_steps: The number of estimator steps a batch.
        estimator_first: Whether they come before the main step, as in Algorithm 1, or
            after it, as in the authors' scripts (which encode the batch again for it).
        metrics: The metrics of the validation lists, besides the AUC.
        seed: The seed of the run.
        num_workers: Processes that build batches. With none, batches are built on the
            training device.
    """

    model: IEDR
    monitor = 'ndcg@10'

    def __init__(
        self,
        model: IEDR,
        train: InteractionDataset,
        valid: InteractionDataset,
        valid_lists: CandidateLists,
        *,
        negatives: UniformNegativeSampler | None = None,
        batch_size: int = 1024,
        group_negatives: bool = False,
        learning_rate: float = 1e-3,
        decay_epochs: int | None = None,
        weight_decay: float = 1e-5,
        estimator_steps: int = 1,
        estimator_first: bool = True,
        metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(model)
        if train.schema.num_embeddings != model.embedding.num_embeddings:
            raise ValueError(
                f'The schema of the training rows has {train.schema.num_embeddings} '
                f'embeddings, the model {model.embedding.num_embeddings}'
            )
        if estimator_steps < 1:
            raise ValueError(
                f'`estimator_steps` must be at least 1 (got {estimator_steps}); a model '
                f'with disentangling_weight=0 has no estimator'
            )
        if decay_epochs is not None and decay_epochs < 1:
            raise ValueError(f'`decay_epochs` must be at least 1 (got {decay_epochs})')
        if negatives is None and train.y is None:
            negatives = UniformNegativeSampler(2)
        self.automatic_optimization = False
        self.train_rows, self.valid_rows = train, valid
        self.valid_lists = valid_lists
        self.negatives = negatives
        self.batch_size = batch_size
        self.group_negatives = group_negatives
        self.learning_rate = learning_rate
        self.decay_epochs = decay_epochs
        self.weight_decay = weight_decay
        self.estimator_steps = estimator_steps
        self.estimator_first = estimator_first
        self.metrics = metrics
        self.seed = seed
        self.num_workers = num_workers

    @property
    def monitors(self) -> list[str]:
        """The names of the validation metrics."""
        return [*(metric.name for metric in self.metrics), AUC.name]

    @property
    def settings(self) -> dict[str, Any]:
        """What a run depends on besides its data; a checkpoint fits no other."""
        negatives = self.negatives
        return {
            'model': self.model.config,
            'negatives': None if negatives is None else vars(negatives),
            'batch_size': self.batch_size,
            'group_negatives': self.group_negatives,
            'learning_rate': self.learning_rate,
            'decay_epochs': self.decay_epochs,
            'weight_decay': self.weight_decay,
            'estimator_steps': self.estimator_steps,
            'estimator_first': self.estimator_first,
            'seed': self.seed,
            'rows': len(self.train_rows),
        }

    def _learning_rate(self, epoch: int) -> float:
        if self.decay_epochs is None:
            return self.learning_rate
        share = min(epoch / self.decay_epochs, 1)
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def configure_optimizers(self) -> list[Optimizer]:
        """Returns the optimizers of the main step and, if there is one, the estimator."""
        groups = [list(self.model.main_parameters())]
        if estimator := list(self.model.estimator_parameters()):
            groups.append(estimator)
        return [
            Adam(group, lr=self.learning_rate, weight_decay=self.weight_decay)
            for group in groups
        ]

    def train_dataloader(self) -> InteractionLoader:
        """Returns the training batches, built on this process's device."""
        rows, workers = self.train_rows, self.num_workers
        loader = InteractionLoader(
            rows if workers else rows.to(self.device),
            self.batch_size,
            self.negatives,
            group_negatives=self.group_negatives,
            shuffle=True,
            seed=self.seed,
            num_workers=workers,
            pin_memory=workers > 0 and self.device.type == 'cuda',
            # Its own, or each new iterator would draw from the seeded epoch's.
            generator=torch.Generator(),
        )
        # Lightning tells the epoch only after workers of a resumed run have begun.
        cast(Any, loader.sampler).set_epoch(len(self.history))
        return loader

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch and sets its learning rate."""
        place = (self.current_epoch, MODEL, self.global_rank)
        torch.manual_seed(derive_seed(self.seed, *place))
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = self._learning_rate(self.current_epoch)
        self._sums: dict[str, Tensor] = {}
        self._batches = 0
        self._started = time.perf_counter()

    def _estimate(self, optimizer: Any, factors: IEDRFactors) -> Tensor:
        for _ in range(self.estimator_steps):
            loss = self.model.estimator_loss(factors)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss.detach()

    def training_step(self, batch: InteractionBatch, batch_idx: int) -> None:
        """Takes both steps on one batch."""
        optimizers = self.optimizers()
        main, *rest = optimizers if isinstance(optimizers, list) else [optimizers]
        encoded = self.model.encode(batch)
        terms = {}
        if rest and self.estimator_first:
            terms['estimator'] = self._estimate(rest[0], encoded.factors)
        losses = self.model.losses(batch, encoded)
        main.zero_grad()
        self.manual_backward(losses.total)
        main.step()
        if rest and not self.estimator_first:
            terms['estimator'] = self._estimate(rest[0], encoded.factors)
        terms |= {
            'loss': losses.total.detach(),
            'prediction': losses.prediction.detach(),
            'contrastive': losses.contrastive.detach(),
            'disentangling': losses.disentangling.detach(),
        }
        for name, term in terms.items():  # Read once, when the epoch is over.
            self._sums[name] = self._sums.get(name, 0) + term
        self._batches += 1

    def on_train_epoch_end(self) -> None:
        """Ranks the validation lists and logs the epoch."""
        trained = time.perf_counter() - self._started
        valid = evaluate_candidates(
            self.model, self.valid_rows, self.valid_lists, self.metrics
        )
        losses = {
            name: float(self._sums[name]) / self._batches
            for name in TERMS
            if name in self._sums
        }
        self.history.append(
            {
                'epoch': self.current_epoch,
                **losses,
                **valid.metrics,
                'seconds': time.perf_counter() - self._started,
                'training_seconds': trained,
            }
        )
        shown = {'loss', 'ndcg@10', 'auc'}
        for name, value in (losses | valid.metrics).items():
            self.log(name, value, prog_bar=name in shown, rank_zero_only=False)

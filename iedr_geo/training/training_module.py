"""The training of any model, whatever the data."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, TypedDict, cast

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.optim import Optimizer

from iedr_geo.data import BipartiteGraph, InteractionDataset, NegativeSampler
from iedr_geo.data.arguments import check_type
from iedr_geo.data.fingerprint import check_fits
from iedr_geo.data.randomness import derive_seed
from iedr_geo.data.warning import warn_caller
from iedr_geo.evaluation import Rankings
from iedr_geo.loader import Curriculum
from iedr_geo.nn import Objective
from iedr_geo.nn.contract import data_read
from iedr_geo.scoring import evaluating, scorer
from iedr_geo.training.adam import make_adam, sparse_parameters
from iedr_geo.training.divergence import Divergence
from iedr_geo.training.schedule import RateSchedule

MODEL = 2  # The stream of randomness of an epoch that the loader leaves free.
FORMAT = 3  # Of what a checkpoint holds besides Lightning's own entries.
COLUMNS = {
    *('epoch', 'estimator', 'estimator_variance', 'learning_rate'),
    *('seconds', 'training_seconds'),
}


class _Untouched:
    """Batches as they are: Lightning puts samplers of its own into other loaders."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)


class Options(TypedDict, total=False):
    """The arguments of :class:`TrainingModule` that both kinds of module pass on."""

    batch_size: int
    learning_rate: float
    schedule: RateSchedule | None
    curriculum: Curriculum | None
    weight_decay: float
    betas: tuple[float, float]
    amsgrad: bool
    estimator_steps: int
    estimator_first: bool
    monitor: str
    seed: int


class TrainingModule(LightningModule, ABC):
    """A Lightning module that trains any model on one kind of data.

    It minimises an objective of the model's predictions and the model's
    :obj:`extra_losses`, or the model's own :obj:`losses`. Where a model has an
    :obj:`estimator_loss`, a second optimizer takes steps on detached values.

    Validation is Lightning's: its metrics are logged when a validation ends, so that
    callbacks see them. They and the losses of each epoch are appended to
    :obj:`history`, which checkpoints hold and which alone decides what comes next. All
    randomness of an epoch derives from seed, epoch and rank. So a resumed run goes on as
    if it had never stopped.

    Args:
        model: The model.
        train: The training data.
        valid: Where the rankings' users, items and contexts are.
        rankings: The lists that are ranked after each epoch. Without any, the last epoch
            is the best.
        objective: The objective of the prediction (default: the module's own), unless
            the model has :obj:`losses`.
        negatives: The sampler of negatives, if any.
        batch_size: The number of rows, edges or users of a batch; of rows, negatives
            included.
        learning_rate: The learning rate of Adam.
        schedule: The schedule of the learning rate, *e.g.*, :class:`CosineRate`
            (default: it stays).
        curriculum: The curriculum that negative samplers and losses follow, *e.g.*, those
            of DICE.
        weight_decay: The weight decay of Adam.
        betas: Its coefficients.
        amsgrad: If :obj:`True`, it is the AMSGrad variant.
        estimator_steps: The number of steps of a model's estimator a batch.
        estimator_first: If :obj:`True`, they come before the main step, as in Algorithm 1
            of the IEDR paper, else after it, as in its authors' scripts (which encode
            the batch again for it).
        monitor: The validation metric that decides: the higher, the better.
        seed: The seed of the run.

    Raises:
        TypeError: If the objective is none.
        ValueError: If model, objective and negatives do not fit each other, the model
            has nothing to train, or there is no such metric.
    """

    takes: ClassVar[tuple[str, ...]]
    """The kinds of batches that there are, the default of a model first."""

    default_objective: ClassVar[type[Objective]]
    """The objective of a model without :obj:`losses` to which none is given."""

    def __init__(
        self,
        model: torch.nn.Module,
        train: InteractionDataset | BipartiteGraph,
        valid: InteractionDataset | BipartiteGraph | None,
        rankings: Rankings | None,
        objective: Objective | None,
        negatives: NegativeSampler | None,
        *,
        batch_size: int = 1024,
        learning_rate: float = 1e-3,
        schedule: RateSchedule | None = None,
        curriculum: Curriculum | None = None,
        weight_decay: float = 1e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        amsgrad: bool = False,
        estimator_steps: int = 1,
        estimator_first: bool = True,
        monitor: str = 'ndcg@10',
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_type(model, 'model', torch.nn.Module)
        name = type(model).__name__
        kind = getattr(model, 'batches', self.takes[0])
        if kind not in self.takes:
            raise ValueError(
                f'{name} takes batches of {kind}, {type(self).__name__} has batches of '
                f'{" or ".join(self.takes)}'
            )
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(f'{name} has no parameters to train')
        estimator = [hasattr(model, f'estimator_{it}') for it in ('loss', 'parameters')]
        if any(estimator) and not all(estimator):
            raise ValueError(
                f'{name} needs both `estimator_loss` and `estimator_parameters`, or '
                f'neither'
            )
        if estimator_steps < 1:
            raise ValueError(
                f'`estimator_steps` must be at least 1 (got {estimator_steps}); a model '
                f'whose estimator has no parameters takes none'
            )
        if not isinstance(objective, Objective | None):
            raise TypeError(f'`objective` is an Objective (got {objective!r})')
        if hasattr(model, 'losses') and objective is not None:
            raise ValueError(
                f'{name} has `losses` of its own, which are its objective: leave out '
                f'{objective!r}'
            )
        if not hasattr(model, 'losses') and objective is None:
            objective = self.default_objective()
        self.over_batch = objective is not None and objective.over == 'batch'
        if self.over_batch and negatives is not None:
            raise ValueError(f'{objective!r} takes no negatives: leave out {negatives!r}')
        if rankings is not None and monitor not in rankings.names:
            names = ', '.join(rankings.names)
            raise ValueError(f"`monitor` is '{monitor}', which is none of {names}")
        check_fits(
            getattr(model, 'trained_on', {}), train, f'{name} was trained on other data'
        )
        self.reads = data_read(model, train)
        if valid is not None:
            check_fits(self.reads, valid, 'The validation part is of other data')
        self.model = model
        self.valid = valid if rankings is None else rankings.data_for(model)
        self.rankings = rankings
        lists = None if rankings is None else rankings.fingerprint()
        kept = {**self.reads, 'rows': train.fingerprint('rows'), 'lists': lists}
        self.fingerprints: dict[str, Any] = described(kept)
        self.train_size = len(train.item)
        self.objective, self.negatives = objective, negatives
        self.batch_size = batch_size
        self.learning_rate, self.schedule = learning_rate, schedule
        self.curriculum = curriculum
        self.weight_decay, self.betas, self.amsgrad = weight_decay, betas, amsgrad
        self.estimator_steps, self.estimator_first = estimator_steps, estimator_first
        self.monitor = None if rankings is None else monitor
        self.seed = seed
        self.history: list[dict[str, float]] = []
        self._idle: set[str] = set()  # The terms of which it was said.
        self.clip_val: float | None = None
        self.trainer_arguments: dict[str, Any] = {}
        self._divergence = Divergence()
        self._begin()
        # Two optimizers are stepped by hand; one is Lightning's to clip and accumulate.
        self.automatic_optimization = not self._estimator()
        if self.over_batch:
            share = torch.bincount(train.item.cpu(), minlength=train.num_items)
            log_q = (share / self.train_size).log()
            self.log_q: Tensor
            self.register_buffer('log_q', log_q, persistent=False)

    def _begin(self) -> None:
        """Begins the counts of an epoch."""
        self._rate = self.learning_rate
        if self.schedule is not None:
            self._rate = self.schedule.rate(self._rate, self._values())
        self._divergence.begin(len(self.history), self.best_epoch)
        self._sums: dict[str, Tensor] = {}
        self._trained: set[str] = set()
        self._batches = 0
        self._metrics: dict[str, float] = {}
        self._validated = 0.0
        self._started = time.perf_counter()

    def _estimator(self) -> list[torch.nn.Parameter]:
        parameters = getattr(self.model, 'estimator_parameters', None)
        return [] if parameters is None else list(parameters())

    # What a run is, and what it has come to.

    @property
    def monitors(self) -> list[str]:
        """The names of the validation metrics."""
        return [] if self.rankings is None else self.rankings.names

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments a run depends on besides its data; a checkpoint fits no other."""
        names = ('objective', 'negatives', *Options.__annotations__)
        return {
            'model': type(self.model).__name__,
            'arguments': described(getattr(self.model, 'config', None)),
            **{name: described(getattr(self, name)) for name in names},
            'metrics': self.monitors,
            'trainer': described(self.trainer_arguments),
        }

    @property
    def best_epoch(self) -> int:
        """The epoch with the best value of the metric that decides, the earliest if
        several; the last one where it was never measured.
        """
        values = dict(enumerate(self._values()))
        measured = {epoch: v for epoch, v in values.items() if v is not None}
        return max(measured, key=measured.__getitem__, default=len(values) - 1)

    @property
    def epochs_without_gain(self) -> int:
        """The number of epochs since the best one that count for stopping."""
        return sum(
            self.monitor in epoch
            and (self.schedule is None or self.schedule.is_final(epoch['learning_rate']))
            for epoch in self.history[self.best_epoch + 1 :]
        )

    def _values(self) -> list[float | None]:
        """Returns the metric that decides of each epoch, where it was measured."""
        return [epoch.get(self.monitor or '') for epoch in self.history]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the history, what it depends on, and which form all have."""
        checkpoint.update(
            format=FORMAT,
            history=self.history,
            settings=self.settings,
            fingerprints=self.fingerprints,
        )

    def setup(self, stage: str) -> None:
        """Lets the model know what it is trained on."""
        self.model.trained_on = self.reads  # type: ignore[assignment]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the history up."""
        self.history = checkpoint['history']

    # Training.

    def configure_optimizers(self) -> list[Optimizer]:
        """Returns the optimizers of the main step and, if there is one, the estimator."""
        estimator = self._estimator()
        own = {id(parameter) for parameter in estimator}
        main = [p for p in self.parameters() if id(p) not in own]
        # Lightning does not clip for a fused optimizer where precision is mixed.
        clips = self.clip_val or self.trainer.gradient_clip_val
        sparse = sparse_parameters(self.model)
        return [
            make_adam(
                group,
                sparse,
                lr=self.learning_rate,
                betas=self.betas,
                weight_decay=self.weight_decay,
                amsgrad=self.amsgrad,
                fused=not clips,
            )
            for group in (main, estimator)
            if group
        ]

    @abstractmethod
    def _loader(self) -> Any:
        """Returns the training batches, drawn on this process's device."""

    def _encode(self, batch: Any) -> Any:
        """Returns what the model makes of a batch in one pass, if it can say so."""
        return None

    @abstractmethod
    def _prediction(self, batch: Any, encoded: Any) -> Tensor:
        """Returns the objective of the model's predictions."""

    def train_dataloader(self) -> Any:
        """Returns the training batches, beginning with the epoch that comes next."""
        loader = self._loader()
        # Lightning tells the epoch only after workers of a resumed run have begun.
        loader.set_epoch(len(self.history))
        return _Untouched(loader)

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch and sets its learning rate."""
        cast(Any, self.trainer.train_dataloader).set_epoch(self.current_epoch)
        stream = (self.current_epoch, MODEL, self.global_rank)
        torch.manual_seed(derive_seed(self.seed, *stream))
        self._begin()
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = self._rate

    def _over_batch(
        self, logits: Tensor, item: Tensor, items: Tensor, had: tuple[Tensor, ...]
    ) -> Tensor:
        """Returns the objective of each row with all items of a batch.

        Args:
            logits: The logits of rows and items.
            item: The item of each row.
            items: The items of the batch.
            had: The rows and items that were had in training, which are no negatives.
        """
        y = item.unsqueeze(1) == items
        left_out = torch.zeros_like(y)
        left_out[had] = True
        objective: Any = self.objective
        loss: Tensor = objective(logits, y, left_out & ~y, self.log_q[items])
        return loss

    def _losses(self, batch: Any, encoded: Any) -> dict[str, Tensor]:
        """Returns the loss of a batch, and the terms that it is made of."""
        model: Any = self.model
        taken = COLUMNS.union(self.monitors)
        if self.objective is None:
            terms = model.losses(batch)._asdict()
            own = {'loss': terms.pop('total')}
        else:
            prediction = self._prediction(batch, encoded)
            terms = {}
            if hasattr(model, 'extra_losses'):
                terms = model.extra_losses(batch, encoded)
            loss = sum(terms.values(), start=prediction)
            own = {'loss': loss, 'prediction': prediction}
        if clash := terms.keys() & taken.union(own):
            raise ValueError(
                f'{type(model).__name__} has terms of the loss that are called like '
                f'columns of the history: rename {", ".join(sorted(clash))}'
            )
        return own | terms

    def _estimate(self, optimizer: Any, encoded: Any) -> dict[str, Tensor]:
        encoded = apply_to_collection(encoded, Tensor, Tensor.detach)
        model: Any = self.model
        for _ in range(self.estimator_steps):
            loss = model.estimator_loss(encoded)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        terms = {'estimator': loss}
        if hasattr(model, 'estimator_variance'):
            terms['estimator_variance'] = model.estimator_variance(encoded)
        return terms

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Takes the loss of one batch, or all steps if there is an estimator."""
        encoded = None if self.objective is None else self._encode(batch)
        if self.automatic_optimization:
            losses = self._losses(batch, encoded)
            self._count(losses)
            return losses['loss']
        main, estimator = cast(Any, self.optimizers())
        terms = {}
        if self.estimator_first:
            terms = self._estimate(estimator, encoded)
        losses = self._losses(batch, encoded)
        main.zero_grad()
        self.manual_backward(losses['loss'])
        self.clip_gradients(main, self.clip_val)
        main.step()
        if not self.estimator_first:
            terms = self._estimate(estimator, encoded)
        self._count(losses | terms)
        return None

    def _count(self, terms: dict[str, Tensor]) -> None:
        for name, term in terms.items():  # Read once, when the epoch is over.
            self._sums[name] = self._sums.get(name, 0) + term.detach()
            if term.requires_grad:  # What weighs nothing has no gradient.
                self._trained.add(name)
        self._divergence.note(terms)
        self._batches += 1

    def on_train_epoch_end(self) -> None:
        """Logs the epoch."""
        self._divergence.check()
        seconds = time.perf_counter() - self._started
        losses = {name: float(sum_) / self._batches for name, sum_ in self._sums.items()}
        self.history.append(
            {
                'epoch': self.current_epoch,
                **losses,
                **self._metrics,
                'learning_rate': self._rate,
                'seconds': seconds,
                'training_seconds': seconds - self._validated,
            }
        )
        self._divergence.compare(losses, self.history)
        for name, value in losses.items():
            self.log(name, value, prog_bar=name == 'loss')
            if value == 0 and name in self._trained - self._idle:
                self._idle.add(name)
                reasons = getattr(self.model, 'why_zero', {})
                reason = reasons.get(name, 'look at what it is computed from')
                warn_caller(
                    f"The term '{name}' of the loss was exactly 0 in all of epoch "
                    f'{self.current_epoch}, so nothing was learned by it: {reason} '
                    f'(negatives: {self.negatives})'
                )

    # Validation.

    def val_dataloader(self) -> Any:
        """Returns the lists that this process ranks."""
        if self.rankings is None:
            return []  # Lightning calls none of the rest.
        return _Untouched(self.rankings.chunks(self.global_rank, self.trainer.world_size))

    def on_validation_start(self) -> None:
        """Makes the scorer of the model as it is now."""
        self._validation_started = time.perf_counter()
        self._ranked: list[Any] = []
        with evaluating(self.model):  # What data keep for later serves training, too.
            self.valid = cast(Any, self.valid).to(self.device)
            self._scorer: Any = scorer(self.model, self.valid)

    def validation_step(self, lists: Tensor, batch_idx: int) -> None:
        """Ranks some lists."""
        if len(lists):
            with evaluating(self.model):
                rankings = cast(Rankings, self.rankings)
                self._ranked.append(rankings.rank(self._scorer, lists))

    def on_validation_epoch_end(self) -> None:
        """Logs what all processes have ranked."""
        ranked, self._ranked, self._scorer = self._ranked, [], None  # Frees memory.
        if self.trainer.world_size > 1:
            shares: list[Any] = [None] * self.trainer.world_size
            own = apply_to_collection(ranked, Tensor, Tensor.cpu)
            dist.all_gather_object(shares, own)
            ranked = [part for share in shares for part in share]
        self._metrics = cast(Rankings, self.rankings).evaluation(ranked).metrics
        for name, value in self._metrics.items():
            self.log(name, value, prog_bar=name == self.monitor)

    def on_validation_end(self) -> None:
        """Takes the time of the validation off that of training."""
        self._validated += time.perf_counter() - self._validation_started


def described(value: Any) -> Any:
    """Returns what a checkpoint keeps of an argument: what JSON can hold of it."""
    return json.loads(json.dumps(value, default=_arguments))


def _arguments(value: Any) -> Any:
    if isinstance(value, torch.nn.Module):
        return repr(value)
    plain = (str, int, float, bool, type(None))
    kept = {
        name: entry
        for name, entry in getattr(value, '__dict__', {}).items()
        if isinstance(entry, plain) and not name.startswith('_')
    }
    return {'class': type(value).__name__, **kept}

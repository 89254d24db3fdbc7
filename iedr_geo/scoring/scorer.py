"""The fastest scorer that says the same as the model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.data.fingerprint import check_fits
from iedr_geo.nn.contract import has_hooks
from iedr_geo.scoring.agreement import agree
from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.history import HistoryScorer, reads_history
from iedr_geo.scoring.plain import GraphScorer, InteractionScorer
from iedr_geo.scoring.queries import Queries

NUM_QUERIES, NUM_ITEMS = 4, 8  # That a faster scorer is compared on.
CATALOGUE = 1 << 14  # Items, up to which it is compared on the whole catalogue, too.

Factory = TypeVar('Factory', bound=Callable[..., CatalogueScorer])


class _ScorerFunction:
    """Makes the scorer of a model; see :data:`scorer`."""

    def __init__(self) -> None:
        self._registered: dict[
            tuple[type, str], tuple[Callable[..., CatalogueScorer], tuple[str, ...]]
        ] = {}

    def register(
        self, cls: type, *, gives: tuple[str, ...]
    ) -> Callable[[Factory], Factory]:
        """Registers a faster scorer for a class of models.

        It is used for instances, also of subclasses, that have each named method as the
        class has it, and no hooks. When it is made, it is compared with the model's own
        answers for some pairs.

        Args:
            cls: The class of models.
            gives: The methods that the scorer stands for: all that its scores would
                change with. :obj:`'forward'` is among them for a model of an
                :class:`InteractionDataset`, :obj:`'score'` for one of a
                :class:`BipartiteGraph`.

        Example:
            >>> @scorer.register(MyModel, gives=('forward', 'towers'))
            ... class MyScorer(CatalogueScorer): ...
        """
        entries = {'forward', 'score'} & set(gives)
        if not entries:
            raise ValueError("`gives` must name 'forward' or 'score'")
        unknown = [name for name in gives if not hasattr(cls, name)]
        if unknown:
            raise ValueError(f"{cls.__name__} has no method '{unknown[0]}'")

        def decorate(factory: Factory) -> Factory:
            for entry in entries:
                self._registered[cls, entry] = factory, gives
            return factory

        return decorate

    def _faster(self, model: object, entry: str) -> Callable[..., Any] | None:
        """Returns what makes a faster scorer of a model, if one is registered."""
        if isinstance(model, torch.nn.Module) and has_hooks(model):
            return None
        for cls in type(model).__mro__:
            factory, gives = self._registered.get((cls, entry), (None, ()))
            same = all(
                getattr(type(model), name) is getattr(cls, name)
                and name not in vars(model)
                for name in gives
            )
            if factory is not None and same:
                return factory
        return None

    def __call__(
        self, model: Any, data: InteractionDataset | BipartiteGraph
    ) -> CatalogueScorer:
        """Returns the fastest scorer that says the same as a model.

        Args:
            model: A model with :obj:`forward(batch)` for an :class:`InteractionDataset`,
                with :obj:`score(user, item)` for a :class:`BipartiteGraph`; one that
                makes users of their items, with :obj:`encode` and :obj:`decode`; or a
                scorer, which is returned as it is.
            data: The users and items, and where there are contexts, those. Models that
                make users of their items take those of this graph.

        Raises:
            ValueError: If the model does not fit the data or was trained on others, by
                the fingerprints of what it reads of them, or if a registered scorer does
                not say the same as the model.
        """
        if isinstance(model, CatalogueScorer):
            size = data.num_users, data.num_items
            if (model.num_users, model.num_items) != size:
                raise ValueError(
                    f'The scorer was made for {model.num_users} users and '
                    f'{model.num_items} items, the data have {size[0]} and {size[1]}'
                )
            check_fits(model.fingerprints, data, 'The scorer is of other data')
            return model
        check_fits(
            getattr(model, 'trained_on', {}),
            data,
            f'{type(model).__name__} was trained on other data',
        )
        plain: Callable[[], InteractionScorer | GraphScorer]
        if isinstance(data, InteractionDataset):
            entry, plain = 'forward', partial(InteractionScorer, model, data)
        elif isinstance(data, BipartiteGraph) and reads_history(model):
            return HistoryScorer(model, data)
        elif isinstance(data, BipartiteGraph):
            entry, plain = 'score', partial(GraphScorer, model, data)
        else:
            raise TypeError(
                f'Data are an InteractionDataset or a BipartiteGraph (got '
                f'{type(data).__name__})'
            )
        factory = self._faster(model, entry)
        if factory is None:
            return plain()
        fast: CatalogueScorer = factory(model, data)
        _check_same(fast, plain(), model)
        return fast


def _check_same(
    fast: CatalogueScorer, plain: InteractionScorer | GraphScorer, model: object
) -> None:
    """Raises an error if two scorers differ on some pairs."""
    if min(plain.num_users, plain.num_items) == 0:
        return
    generator = torch.Generator().manual_seed(0)

    def draw(size: int, *shape: int) -> Tensor:
        return torch.randint(size, shape, generator=generator).to(plain.device)

    context = None
    if isinstance(plain, InteractionScorer):
        context = draw(plain.dataset.num_contexts, NUM_QUERIES)
    queries = Queries(draw(plain.num_users, NUM_QUERIES), context)
    items = draw(plain.num_items, NUM_ITEMS)
    wanted = plain.scores(queries, items)
    each = items.expand(NUM_QUERIES, -1)
    answers = {'scores': fast.scores(queries, items)}
    answers['scores of pairs'] = fast.scores(queries, each)
    if plain.num_items <= CATALOGUE:
        for _ in range(2):  # The second time, what was returned is overwritten.
            whole = fast.scores(queries)
            answers['scores of the catalogue'] = whole[:, items].clone()
            whole.fill_(torch.nan)
    if fast.parts:
        answers['parts'] = torch.stack(list(fast.split(queries, each).values())).sum(0)
    for name, values in answers.items():
        if values.shape != wanted.shape:
            raise ValueError(
                f'The {name} by {type(fast).__name__} must be of shape '
                f'{tuple(wanted.shape)} (got {tuple(values.shape)})'
            )
        same = agree(values, wanted)
        if not same.all():
            row, column = (~same).nonzero()[0].tolist()
            raise ValueError(
                f'The {name} by {type(fast).__name__} are not those of '
                f'{type(model).__name__}: user {int(queries.user[row])} and item '
                f'{int(items[column])} have {float(values[row, column]):.6g}, by the '
                f'model {float(wanted[row, column]):.6g}. Override what the scorer '
                f'stands for, or register a scorer for your class'
            )


scorer = _ScorerFunction()
"""Makes the scorer of a model on data; :meth:`register` adds faster ones."""

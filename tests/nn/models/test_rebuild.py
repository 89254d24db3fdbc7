"""Models as text and back."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from clicks import NUM_ITEMS, NUM_USERS, random_graph

from iedr_geo.nn import (
    DICE,
    IEDR,
    IEDR_VARIANTS,
    IPS,
    MF,
    SIGN,
    Biased,
    CausE,
    ContextPopularity,
    LightGCN,
    Popularity,
    Repeat,
)
from iedr_geo.nn.models.rebuild import MODELS, describe, rebuild
from iedr_geo.testing import toy_batch, toy_dataset

GRAPH = random_graph()
DATASET = toy_dataset()


def mf() -> MF:
    return MF(NUM_USERS, NUM_ITEMS, 4, std=0.1, l2=0.2)


def lightgcn() -> LightGCN:
    edges = GRAPH.adjacency()
    return LightGCN(NUM_USERS, NUM_ITEMS, *edges, 4, 3, dropout=0.1, bound=0.3)


def iedr(**kwargs) -> IEDR:
    return IEDR(DATASET.schema.num_embeddings, 4, 8, **kwargs)


MAKE: dict[str, list[Callable[[], torch.nn.Module]]] = {
    'Biased': [
        lambda: Biased(mf(), item=False),
        lambda: Biased(lightgcn(), user=False),
    ],
    'CausE': [lambda: CausE(mf(), 0.3), lambda: CausE(lightgcn())],
    'ContextPopularity': [lambda: ContextPopularity.fit(DATASET)],
    'DICE': [
        lambda: DICE(mf(), GRAPH.popularity, 0.2, 0.3, 'l1', 7),
        lambda: DICE(Biased(lightgcn()), GRAPH.popularity),
    ],
    'IEDR': [
        *(lambda v=v: iedr(**v) for v in IEDR_VARIANTS.values()),
        lambda: iedr(generator='residual', num_negatives=3, combine='sum'),
    ],
    'IPS': [
        lambda: IPS(mf(), GRAPH.popularity, 'cnsr', 0.3),
        lambda: IPS(lightgcn(), GRAPH.popularity),
    ],
    'LightGCN': [lightgcn],
    'MF': [mf],
    'Popularity': [lambda: Popularity.fit(DATASET), lambda: Popularity.fit(GRAPH)],
    'Repeat': [lambda: Repeat.fit(DATASET), lambda: Repeat.fit(GRAPH)],
}

every_model = pytest.mark.parametrize('name', MODELS)


def scores(model: torch.nn.Module) -> torch.Tensor:
    if isinstance(model, IEDR | ContextPopularity):
        return model(toy_batch())
    user, item = torch.arange(NUM_USERS).unsqueeze(1), torch.arange(NUM_ITEMS)
    return model.score(user, item)


def copied(model: torch.nn.Module) -> torch.nn.Module | None:
    """Through JSON, as a folder has it."""
    description = describe(model)
    if description is None:
        return None
    return rebuild(json.loads(json.dumps(description)), model.state_dict())


@every_model
@pytest.mark.parametrize('dtype', [torch.float, torch.double], ids=str)
def test_a_description_and_a_state_make_the_model_anew(name, dtype):
    for make in MAKE[name] if dtype == torch.float else MAKE[name][-1:]:
        model = make().to(dtype).eval()
        random = torch.get_rng_state()
        describe(model)
        assert torch.equal(torch.get_rng_state(), random)
        again = copied(model)
        assert type(again) is type(model) and again.config == model.config
        again.eval()
        state, wanted = again.state_dict(), model.state_dict()
        assert state.keys() == wanted.keys()
        for key, tensor in wanted.items():
            assert state[key].dtype == tensor.dtype and torch.equal(state[key], tensor)
        assert torch.equal(scores(again), scores(model))
        for key, parameter in again.named_parameters():  # And both are on their own.
            parameter.data += 1
            assert (parameter != wanted[key]).all() and parameter.requires_grad


@every_model
def test_a_class_of_ones_own_has_no_description(name):
    for make in MAKE[name]:
        model = make()
        model.__class__ = type(name, (type(model),), {})  # Even of the same name.
        assert describe(model) is None


@every_model
def test_a_part_of_ones_own_has_no_description(name):
    model = MAKE[name][-1]()
    assert describe(model) is not None
    for path, part in list(model.named_modules())[1:]:
        part.__class__ = type('Own', (cls := type(part),), {})
        assert describe(model) is None, path
        part.__class__ = cls
    assert describe(model) is not None


def test_modules_that_are_given_have_no_description():
    assert describe(iedr(encoder=SIGN(4, 8))) is None
    assert describe(DICE(Biased(Own()), GRAPH.popularity)) is None


class Own(MF):
    def __init__(self) -> None:
        super().__init__(NUM_USERS, NUM_ITEMS, 4)


def test_unknown_model():
    with pytest.raises(ValueError, match=r"no model 'GRU4Rec' .*LightGCN"):
        rebuild({'model': 'GRU4Rec', 'arguments': {}}, {})


def test_state_of_another_model():
    description = describe(mf())
    with pytest.raises(RuntimeError, match='Missing key'):
        rebuild(description, {})
    other = MF(NUM_USERS + 1, NUM_ITEMS, 4)
    with pytest.raises(RuntimeError, match='size mismatch'):
        rebuild(description, other.state_dict())


def test_every_model_is_there():
    assert MAKE.keys() == MODELS.keys()

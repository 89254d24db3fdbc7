"""Models as text and back."""

import json
from collections.abc import Callable, Iterator

import pytest
import torch
from clicks import NUM_ITEMS, NUM_USERS, random_graph

from iedr_geo.loader import UserLoader
from iedr_geo.nn import (
    DICE,
    IEDR,
    IEDR_VARIANTS,
    IPS,
    MF,
    SDRL,
    SDRL_VARIANTS,
    SIGN,
    AutoEncoder,
    Biased,
    CausE,
    ContextPopularity,
    LightGCN,
    MacridVAE,
    MultDAE,
    MultVAE,
    Popularity,
    Repeat,
)
from iedr_geo.nn.models.rebuild import MODELS, describe, rebuild
from iedr_geo.testing import toy_batch, toy_dataset

GRAPH, DATASET = random_graph(), toy_dataset()


def mf() -> MF:
    return MF(NUM_USERS, NUM_ITEMS, 4, std=0.1, l2=0.2)


def lightgcn() -> LightGCN:
    edges = GRAPH.adjacency()
    return LightGCN(NUM_USERS, NUM_ITEMS, *edges, 4, 3, dropout=0.1, bound=0.3)


def sdrl(**kwargs) -> SDRL:
    labels, ratings = torch.eye(NUM_ITEMS)[:, :3], torch.linspace(0, 1, GRAPH.num_edges)
    sizes = NUM_USERS, NUM_ITEMS
    return SDRL(*sizes, GRAPH.edge_index, ratings, labels, **{'hidden': 4, **kwargs})


def iedr(**kwargs) -> IEDR:
    return IEDR(DATASET.schema.num_embeddings, 4, 8, **kwargs)


class Own(MF):
    def __init__(self) -> None:
        super().__init__(NUM_USERS, NUM_ITEMS, 4)


CASES: list[Callable[[], torch.nn.Module]] = [
    mf,
    lightgcn,
    lambda: Biased(mf(), item=False),
    lambda: Biased(lightgcn(), user=False),
    lambda: CausE(mf(), 0.3),
    lambda: CausE(lightgcn()),
    lambda: DICE(mf(), GRAPH.popularity, 0.2, 0.3, 'l1', 7),
    lambda: DICE(Biased(lightgcn()), GRAPH.popularity),
    lambda: IPS(mf(), GRAPH.popularity, 'cnsr', 0.3),
    lambda: IPS(lightgcn(), GRAPH.popularity),
    *(lambda v=v: iedr(**IEDR_VARIANTS[v]) for v in ('IEDR', 'noCIED', 'released')),
    lambda: iedr(generator='residual', num_negatives=3, combine='sum'),
    lambda: iedr(generator='separate', cross=False),
    *(lambda v=v: sdrl(**SDRL_VARIANTS[v]) for v in SDRL_VARIANTS),
    lambda: sdrl(label_mask=torch.arange(NUM_ITEMS) != 1, internal_weight=0.5),
    lambda: MacridVAE(NUM_ITEMS, 2, 4, 0.2, similarity='dot', min_divergence=0.1),
    lambda: MultDAE(NUM_ITEMS, 4, num_sampled=3),
    lambda: MultVAE(NUM_ITEMS, 3, 4, beta=0.3),
    lambda: ContextPopularity.fit(DATASET),
    *(lambda data=data: Popularity.fit(data) for data in (DATASET, GRAPH)),
    *(lambda data=data: Repeat.fit(data) for data in (DATASET, GRAPH)),
]
LAST = {type(make()).__name__: make for make in CASES}  # Of each class.


def scores(model: torch.nn.Module) -> torch.Tensor:
    if isinstance(model, IEDR | ContextPopularity):
        return model(toy_batch())
    if isinstance(model, AutoEncoder):
        return model.decode(model.encode(next(iter(UserLoader(GRAPH, NUM_USERS)))))
    user, item = torch.arange(NUM_USERS).unsqueeze(1), torch.arange(NUM_ITEMS)
    return model.score(user, item)


@pytest.mark.parametrize('make', CASES)
@pytest.mark.parametrize('dtype', [torch.float, torch.double], ids=str)
def test_a_description_and_a_state_make_the_model_anew(make, dtype):
    model = make().to(dtype).eval()
    random = torch.get_rng_state()
    description = json.loads(json.dumps(describe(model)))  # As a folder has it.
    assert torch.equal(torch.get_rng_state(), random)
    again = rebuild(description, model.state_dict()).eval()
    assert type(again) is type(model) and again.config == model.config
    state, wanted = again.state_dict(), model.state_dict()
    assert state.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert state[key].dtype == tensor.dtype and torch.equal(state[key], tensor)
    assert torch.equal(scores(again), scores(model))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize('make', LAST.values(), ids=LAST)
def test_what_is_ones_own_has_no_description(make):
    """Neither a class, even of the same name, nor one of a part."""
    model = make()
    assert describe(model) is not None
    for path, part in model.named_modules():
        cls = type(part)
        part.__class__ = type('Own' if path else cls.__name__, (cls,), {})
        assert describe(model) is None, path
        part.__class__ = cls
    assert describe(model) is not None


def test_modules_that_are_given_have_no_description():
    assert describe(iedr(encoder=SIGN(4, 8))) is None
    assert describe(DICE(Biased(Own()), GRAPH.popularity)) is None


def test_other_models_and_states():
    with pytest.raises(ValueError, match=r"no model 'GRU4Rec' .*LightGCN"):
        rebuild({'model': 'GRU4Rec', 'arguments': {}}, {})
    description = describe(mf())
    with pytest.raises(RuntimeError, match='Missing key'):
        rebuild(description, {})
    with pytest.raises(RuntimeError, match='size mismatch'):
        rebuild(description, MF(NUM_USERS + 1, NUM_ITEMS, 4).state_dict())


@pytest.mark.parametrize('make', LAST.values(), ids=LAST)
def test_sizes_that_the_state_lacks(make):
    """Are refused before memory is asked for: each alone, and of the parts too."""

    def too_large(description: dict) -> Iterator[dict]:
        arguments = description['arguments']
        for name, value in arguments.items():
            if name in ('num_users', 'num_items', 'num_embeddings', 'channels'):
                yield description | {'arguments': arguments | {name: 10**12}}
            elif name == 'backbone':
                for part in too_large(value):
                    yield description | {'arguments': arguments | {name: part}}

    model = make()
    cases = [*too_large(describe(model))]
    assert cases
    for case in cases:  # Not that there is no memory for it.
        with pytest.raises(
            (RuntimeError, ValueError), match=r'mismatch|edges|shape|overflow'
        ):
            rebuild(case, model.state_dict())


def test_every_model_is_there():
    assert LAST.keys() == MODELS.keys()

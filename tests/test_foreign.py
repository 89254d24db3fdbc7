"""What has numbers of users, items, contexts or features knows whose numbers they are.

Each consumer meets a log after each change. It refuses the log if and only if something
that it reads of logs has other numbers there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import pytest
import torch
from shop import ARTICLES, CUSTOMERS, SALES

from iedr_geo.data import (
    BipartiteGraph,
    CandidateLists,
    InteractionDataset,
    UniformNegativeSampler,
)
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.metrics import NDCG
from iedr_geo.nn import (
    DICE,
    IEDR,
    IPS,
    MF,
    Biased,
    ContextPopularity,
    LightGCN,
    MacridVAE,
    Popularity,
    Repeat,
)
from iedr_geo.recommend import Recommender, load_model, save_model
from iedr_geo.scoring import scorer
from iedr_geo.testing import toy_tables
from iedr_geo.training import BipartiteModule, InteractionModule, fit
from iedr_geo.transforms import RemoveSelfLoops

METRICS = [NDCG(2)]
FOREIGN = 'other data|one log|another popularity|not the .* of the training graph'


def dataset(sales=SALES, users=CUSTOMERS, items=ARTICLES) -> InteractionDataset:
    """The shop, whose schema is fitted anew."""
    tables = sales, users, items, toy_tables().schema
    names = {'user': 'customer', 'item': 'article'}
    return InteractionDataset.from_pandas(*tables, **names, exclude_seen=True)


def graph(sales=SALES, users=CUSTOMERS, items=ARTICLES) -> BipartiteGraph:
    return BipartiteGraph.from_pandas(sales, 'customer', 'article', users, items)


OTHER_NUMBER = CUSTOMERS.assign(income=CUSTOMERS['income'] + 1)
OTHER_VALUE = CUSTOMERS.replace({'town': {'x': 'z'}})
TEXT = [
    table.astype({name: str for name in ('customer', 'article') if name in table})
    for table in (SALES, CUSTOMERS, ARTICLES)
]
LOGS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    'ids as text': (lambda: dataset(*TEXT), set()),
    'more rows': (lambda: dataset(pd.concat([SALES, SALES[:3]])), {'rows'}),
    'rows in another order': (lambda: dataset(SALES[::-1]), {'context', 'rows'}),
    'users in another order': (lambda: dataset(users=CUSTOMERS[::-1]), {'user', 'rows'}),
    'items in another order': (lambda: dataset(items=ARTICLES[::-1]), {'item', 'rows'}),
    'another value': (lambda: dataset(users=OTHER_VALUE), {'vocabulary', 'rows'}),
    'another number': (lambda: dataset(users=OTHER_NUMBER), {'rows'}),
    'other edges': (lambda: dataset().with_edges(user=RemoveSelfLoops()), {'rows'}),
}
GRAPHS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    'ids as text': (lambda: graph(*TEXT), set()),
    'rows in another order': (lambda: graph(SALES[::-1]), set()),
    'fewer edges': (lambda: graph(SALES[1:]), {'rows', 'popularity'}),
    'users in another order': (lambda: graph(users=CUSTOMERS[::-1]), {'user', 'rows'}),
    'items in another order': (
        lambda: graph(items=ARTICLES[::-1]),
        {'item', 'rows', 'popularity'},
    ),
}


class Own(torch.nn.Module):
    """Does not say what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(12))

    def forward(self, batch):
        return self.weight[batch.item_id]

    def score(self, user, item):
        return self.weight[item] + 0 * user


class OfItems(Own):
    """Takes a user for a set of items, so that who the users are does not matter."""

    reads = ('item',)


def iedr(data: InteractionDataset) -> IEDR:
    return IEDR(data.schema.num_embeddings, 4, 8, contrastive_weight=0)


def mf(data: BipartiteGraph) -> MF:
    return MF(data.num_users, data.num_items, 4)


def lightgcn(data: BipartiteGraph) -> LightGCN:
    return LightGCN(data.num_users, data.num_items, *data.adjacency(self_loops=True), 4)


def macrid_vae(data: BipartiteGraph) -> MacridVAE:
    return MacridVAE(data.num_items, 2, 4)


def module(model: Any, data: Any) -> Any:
    if isinstance(model, MacridVAE):
        return BipartiteModule(model, data)
    of_graph = isinstance(data, BipartiteGraph)
    cls = BipartiteModule if of_graph else InteractionModule
    return cls(model, data, negatives=UniformNegativeSampler(2, 'positive'))


def run(module: Any, folder: Any, **kwargs: Any) -> Any:
    arguments = {'max_epochs': 1, 'progress': False, 'accelerator': 'cpu'}
    return fit(module, folder, **arguments | kwargs).model


def trained(make: Callable, then: Callable = scorer) -> Callable:
    """Trains a model on one log, to be used with another."""
    return lambda data, folder: partial(then, run(module(make(data), data), folder))


def loaded(make: Callable) -> Callable:
    """Trains a model, saves it and loads it, to be used with another log."""

    def use(data: Any, folder: Any) -> Callable:
        save_model(folder / 'model', run(module(make(data), data), folder / 'run'))
        return partial(scorer, load_model(folder / 'model').model)

    return use


def resumed(make: Callable) -> Callable:
    """Trains a model for an epoch, to go on with another log."""

    def use(data: Any, folder: Any) -> Callable:
        run(module(make(data), data), folder)
        return lambda other: run(module(make(other), other), folder, resume=True)

    return use


def lists_of_labels(data: InteractionDataset) -> CandidateLists:
    labelled = copy.copy(data)
    labelled.y = torch.arange(len(data)) % 2
    return CandidateLists.from_labels(labelled)


def few(data: InteractionDataset) -> InteractionDataset:
    """Rows of users to whom items are left."""
    return data[data.user_ids[data.user.numpy()] != '17']


def ranked(lists: CandidateLists) -> Callable:
    return lambda other: evaluate_candidates(Own(), other, lists, METRICS)


def now(make: Callable) -> Callable:
    """Makes something of one log, to be used with another."""
    return lambda data, _: make(data)


SIDES = {'user', 'item', 'context'}
OF_LOGS: dict[str, tuple[Callable, set[str]]] = {
    'a scorer': (now(lambda data: partial(scorer, scorer(Own(), data))), SIDES),
    'lists': (now(lambda data: ranked(CandidateLists.sample(data, 2))), SIDES),
    'lists of labels': (now(lambda data: ranked(lists_of_labels(data))), SIDES),
    'seen rows': (
        now(lambda data: lambda o: evaluate_catalogue(Own(), o, [data[:0]], METRICS)),
        {'user', 'item'},
    ),
    'seen rows of lists': (
        now(
            lambda data: lambda other: CandidateLists.sample(few(other), 2, 0, [data[:0]])
        ),
        {'user', 'item'},
    ),
    'IEDR': (trained(iedr), {'vocabulary'}),
    'a loaded IEDR': (loaded(iedr), {'vocabulary'}),
    'IEDR that trains on': (trained(iedr, module), {'vocabulary'}),
    'a recommender': (trained(iedr, Recommender), {'vocabulary'}),
    'an own model': (trained(lambda _: Own()), {'vocabulary', 'user', 'item'}),
    'training rows': (
        now(lambda data: lambda o: InteractionModule(iedr(data), data, o[:3], lists(o))),
        {'vocabulary'},
    ),
    'popularity': (now(lambda data: partial(scorer, Popularity.fit(data))), {'item'}),
    'popularity in contexts': (
        now(lambda data: partial(scorer, ContextPopularity.fit(data))),
        {'item', 'context'},
    ),
    'repeat': (now(lambda data: partial(scorer, Repeat.fit(data))), SIDES),
    'a run': (resumed(iedr), {'vocabulary', 'rows'}),
}
OF_GRAPHS: dict[str, tuple[Callable, set[str]]] = {
    'a scorer': (
        now(lambda data: partial(scorer, scorer(Own(), data))),
        {'user', 'item'},
    ),
    'a seen graph': (
        now(
            lambda data: (
                lambda other: evaluate_catalogue(
                    Own(), other, data.subgraph(torch.arange(0)), METRICS
                )
            )
        ),
        {'user', 'item'},
    ),
    'MF': (trained(mf), {'user', 'item'}),
    'a loaded MF': (loaded(mf), {'user', 'item'}),
    'LightGCN': (trained(lightgcn), {'user', 'item'}),
    'a recommender': (trained(mf, Recommender), {'user', 'item'}),
    'a model of items': (trained(lambda _: OfItems()), {'item'}),
    'MacridVAE': (trained(macrid_vae), {'item'}),
    'a loaded MacridVAE': (loaded(macrid_vae), {'item'}),
    'popularity': (now(lambda data: partial(scorer, Popularity.fit(data))), {'item'}),
    'an adjacency': (now(lambda data: partial(module, lightgcn(data))), {'rows'}),
    'a backbone': (now(lambda data: partial(module, Biased(lightgcn(data)))), {'rows'}),
    'DICE': (
        now(lambda data: partial(module, DICE(mf(data), data.popularity))),
        {'popularity'},
    ),
    'IPS': (
        now(lambda data: partial(module, IPS(mf(data), data.popularity, 'plain'))),
        {'popularity'},
    ),
    'a run': (resumed(lightgcn), {'user', 'item', 'rows'}),
}


def lists(data: InteractionDataset) -> CandidateLists:
    return CandidateLists.sample(data[:3], 2)


def cases(data: Callable, consumers: dict, logs: dict) -> list:
    return [
        pytest.param(data, make, other, bool(reads & changes), id=f'{name} + {log}')
        for (name, (make, reads)), (log, (other, changes)) in product(
            consumers.items(), logs.items()
        )
    ]


@pytest.mark.parametrize(
    ('data', 'make', 'other', 'is_foreign'),
    cases(dataset, OF_LOGS, LOGS) + cases(graph, OF_GRAPHS, GRAPHS),
)
def test_refuses_what_is_foreign_to_it_and_nothing_else(
    tmp_path, data, make, other, is_foreign
):
    use = make(data(), tmp_path)
    if is_foreign:
        with pytest.raises(ValueError, match=FOREIGN):
            use(other())
    else:
        use(other())


def test_numbers_that_go_on():
    """What comes after the last user or context changes no number."""
    more = pd.concat([CUSTOMERS, CUSTOMERS[:1].assign(customer=99)])
    sales = pd.concat([SALES, SALES[:1].assign(customer=99, day='tue', gift=True)])
    before, after = dataset(), dataset(sales, more)
    ranked(CandidateLists.sample(before, 2))(after)
    with pytest.raises(ValueError, match=r'the users .* differ, 6 there and 5 here'):
        ranked(CandidateLists.sample(after, 2))(before)
    with pytest.raises(ValueError, match='5 users and 12 items, the data have 6'):
        scorer(scorer(Own(), before), after)


def test_what_is_no_dataset():
    for use in (CandidateLists.sample, partial(evaluate_catalogue, Own())):
        with pytest.raises(ValueError, match=r'`seen` .* of datasets, not of Inter'):
            use(dataset()[:3], seen=dataset())


def test_numbers_alone_fit_any_ids_of_as_many():
    data = graph()
    bare = BipartiteGraph(data.user, data.item, data.num_users, data.num_items)
    made = scorer(Own(), bare)
    assert scorer(made, data) is scorer(made, graph(items=ARTICLES[::-1])) is made


def test_a_saved_dataset_has_the_numbers_of_before(tmp_path):
    data = dataset()
    data.save(tmp_path / 'data.pt')
    again = InteractionDataset.load(tmp_path / 'data.pt')
    for name in (*SIDES, 'vocabulary', 'rows'):
        assert again.fingerprint(name) == data.fingerprint(name)

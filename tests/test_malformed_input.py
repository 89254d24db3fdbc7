"""Whatever users give: an error of our own that names what is wrong, or what they meant.

Every case is a pair of an entry point and of what is wrong with what it is given, and
states what comes of it. What the cells of tables can be besides is in
``data/columns/test_any_column.py``, what is of another log in ``test_foreign.py``.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cinema import (
    TABLES,
    assert_means_what_tables_say,
    assert_same_nodes,
    build,
    decode,
    expected,
    make_schema,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed import KINDS, NAMED, Warns, expect, objects, outcome, refusal
from scipy.sparse import csr_matrix
from vector_model import Tables

from iedr_geo import datasets
from iedr_geo.analysis import (
    context_invariance,
    disentanglement_report,
    plot_explanation,
    plot_generator,
    popularity_overlap,
    value_probe,
    variance_shares,
    write_page,
)
from iedr_geo.data import (
    BipartiteGraph,
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    PopularityMarginSampler,
    PopularityNegativeSampler,
    UniformNegativeSampler,
    cold_start_split,
    describe,
    given_split,
    index_split,
    intervened_split,
    leave_last_out,
    random_split,
    strong_generalisation_split,
    time_cut,
    time_split,
)
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.loader import EdgeLoader, InteractionBatch, InteractionLoader, UserLoader
from iedr_geo.metrics import MRR, NDCG, HitRatio, Recall
from iedr_geo.nn import DICE, IEDR, MF
from iedr_geo.recommend import Recommender, UnknownValueWarning, load_model
from iedr_geo.training import BipartiteModule, InteractionModule, fit

USERS, ITEMS, LOG = TABLES.values()
CONTEXT = {'with': 'none', 'time': '2024-03-02T10', 'heat': 1.0, 'snacks': ['m']}
ROWS = {'user': USERS.iloc[2].to_dict(), 'item': ITEMS.iloc[1].to_dict()}
del ROWS['item']['studio']  # Which is in no field.
ROWS['context'] = CONTEXT
DATA = build(TABLES, exclude_seen=False)
PLAIN = build(TABLES, label=None)
GRAPH = BipartiteGraph.from_dataset(PLAIN)
NO_EDGES = GRAPH.subgraph(torch.arange(0))
torch.manual_seed(0)
MODEL = IEDR(DATA.schema.num_embeddings, 4, 8).double().eval()
PLAIN_MF = MF(GRAPH.num_users, GRAPH.num_items, 4)
RECOMMENDER, OF_GRAPH = Recommender(MODEL, DATA), Recommender(PLAIN_MF, GRAPH)
LISTS = CandidateLists.sample(DATA, 2)
OF_LISTS = 'user', 'context', 'item', 'target', 'list_index'
PARTS = pd.Series(['train'] * 6 + ['valid', 'test'])
METRICS, DAY = [NDCG(2)], pd.Timestamp('2020-01-01')
SAMPLERS = UniformNegativeSampler, PopularityNegativeSampler, PopularityMarginSampler


# Tables, and cells of them.


@pytest.mark.parametrize('table', TABLES)
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda t: pd.concat({'': t}, axis=1), '{} table must be .* with one level'),
        (lambda t: t.to_dict('list'), '{} table must be a DataFrame.*got dict'),
        (lambda t: t.iloc[:, 0], '{} table must be a DataFrame.*got Series'),
        (lambda t: pd.concat([t, t], axis=1), r"{} table has duplicate columns: \['"),
        (lambda t: t[:0], '{} table is empty'),
        (lambda t: t.iloc[:, :1], r"{} table has no column '.*' \(it has: \w+\)"),
        (lambda t: t.rename(columns=str.upper), "{} table has no column '"),
    ],
    ids=['levels', 'a dict', 'a column', 'twice', 'no row', 'one column', 'capitals'],
)
def test_tables_of_another_form(table: str, change: Callable, message: str):
    names = {'users': 'user', 'items': 'item', 'log': 'interactions'}
    changed = {table: change(TABLES[table])}
    expect(lambda: build(TABLES | changed), message.format(names[table]))


@pytest.mark.parametrize('name', NAMED)
@pytest.mark.parametrize('column', [c for c in KINDS if c in {**USERS, **ITEMS, **LOG}])
def test_cells_of_tables(column: str, name: str):
    """In the second row of a table: refused by the table of what kinds of columns hold,
    or encoded as the definition of the column says.
    """
    table = next(table for table in TABLES if column in TABLES[table])
    cells = TABLES[table][column].astype(object).tolist()
    tables = TABLES | {
        table: TABLES[table].assign(
            **{column: objects([cells[0], NAMED[name], *cells[2:]])}
        )
    }
    wrong: Any = refusal(column, KINDS[column], name)
    if name == 'float of 2^60' and column in ('age', 'heat'):  # Of a scale that hurts.
        wrong = Warns(f"'{column}'")
    if isinstance(wrong, str):
        expect(lambda: build(tables), wrong)
        return
    with pytest.warns(UserWarning, match=wrong.text) if wrong else nullcontext():
        assert_means_what_tables_say(build(tables), tables)


def of_items(table: pd.DataFrame) -> dict[int, float]:
    return dict(zip(table['film'], table['score'], strict=True))


def frame_of(row: dict) -> pd.DataFrame:
    return pd.DataFrame({name: objects([cell]) for name, cell in row.items()})


def many(rows: dict) -> dict[int, float]:
    frame = frame_of(rows['context']).assign(guest=2)
    return of_items(RECOMMENDER.recommend_many(frame, 5))


# What is asked with the columns of a user, an item and a context: scores of items.
ASKED: dict[str, tuple[str, Callable[[dict], dict[int, float]]]] = {
    'recommend a user': (
        'user',
        lambda rows: of_items(RECOMMENDER.recommend(rows['user'], CONTEXT, 5)),
    ),
    'recommend in a context': (
        'context',
        lambda rows: of_items(RECOMMENDER.recommend(2, rows['context'], 5)),
    ),
    'recommend many': ('context', many),
    'score an item': (
        'item',
        lambda rows: {0: RECOMMENDER.score(2, rows['item'], CONTEXT)},
    ),
}


@pytest.mark.parametrize(
    ('ask', 'column', 'name'),
    [
        (ask, column, name)
        for ask, (side, _) in ASKED.items()
        for column, name in product(ROWS[side], NAMED)
    ],
)
def test_cells_of_requests(ask: str, column: str, name: str):
    """Refused, or scored as the model scores what is encoded, with a warning if and only
    if it says what training has not had.
    """
    side, call = ASKED[ask]
    rows = ROWS | {side: ROWS[side] | {column: NAMED[name]}}
    is_id = column in ('guest', 'film')  # Of one who is new, any.
    wrong = refusal(column, 'category' if is_id else KINDS[column], name)
    if column == 'made' and 'date' in name:
        wrong = None  # Without numbers beside it, a date is one.
    if wrong is not None:
        expect(lambda: call(rows), wrong)
        return
    here, schema, nodes = DATA[:0], DATA.schema, {}
    for each, row in rows.items():
        frame = frame_of(row)
        graphs = schema.encode(each, frame)
        nodes[each] = expected(each, frame, schema)
        assert_same_nodes(decode(graphs, schema), nodes[each])
        if each != 'item' or side == 'item':
            setattr(here, f'{each}s', graphs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        found = call(rows)
    new = [n for n, _ in nodes[side][0] if n.endswith('<unknown>')]
    # Of the other columns, training had missing values.
    untrained = [(f'{c}=<missing>', 1) for c in ('guest', 'film', 'income')]
    new += [node for node in untrained if node in nodes[side][0]]
    text = ' '.join(str(warning.message) for warning in caught)
    assert all(isinstance(w.message, UnknownValueWarning) for w in caught)
    assert bool(new) == bool(text) and (not new or f"'{column}'" in text)
    items = torch.arange(len(here.items))
    zero = torch.zeros_like(items)
    scores = MODEL(InteractionBatch.from_ids(here, zero, items, zero)).tolist()
    numbers = DATA.own_ids('item').tolist() if len(items) > 1 else [0]
    assert found == pytest.approx(dict(zip(numbers, scores, strict=True)), rel=1e-6)


# All other arguments.


def bare(**changes: Any) -> BipartiteGraph:
    return BipartiteGraph(
        **{'user': ids(0), 'item': ids(0), 'num_users': 3, 'num_items': 3} | changes
    )


def ids(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)


def of_log(
    log: Any = LOG, user: Any = 'guest', item: Any = 'film', **tables: Any
) -> BipartiteGraph:
    return BipartiteGraph.from_pandas(log, user, item, **tables)


def ranked(**changes: Any) -> Any:
    return evaluate_candidates(MODEL, DATA, replace(LISTS, **changes), METRICS).metrics


def catalogue(model: Any, data: Any, seen: Any = NO_EDGES, metrics: Any = METRICS) -> Any:
    return evaluate_catalogue(model, data, seen, metrics).metrics


def recommend(user: Any = 2, context: Any = CONTEXT, k: Any = 5, **options: Any) -> int:
    return len(RECOMMENDER.recommend(user, context, k, **options))


def train(module: Any, folder: Any = '/nowhere/run', **options: Any) -> Any:
    return fit(module, folder, progress=False, accelerator='cpu', **options)


def with_nan(rows: torch.Tensor) -> Tables:
    rows[1, 0] = torch.nan
    return Tables(torch.ones(4, 4), rows, 2, 'interest', 'conformity')


FACTORS = torch.randn(20, 3)
NAN = FACTORS * torch.nan
FRAMES = {'user': USERS, 'item': ITEMS, 'context': LOG}
COUNT = r'must be at least {} .got {}., and an integer'
COUNTS = {
    'zero': 0, 'negative': -1, 'a fraction': 2.5, 'text': '2', 'nothing': None,
    'NaN': np.nan, 'True': True,
}  # fmt: skip
# fmt: off
# What takes a number, what it calls it, and the least that it takes.
COUNTED: dict[str, tuple[Callable[[Any], Any], str, int]] = {
    'CandidateLists.sample': (lambda n: CandidateLists.sample(DATA, n), 'num_neg', 1),
    'leave_last_out': (partial(leave_last_out, DATA), 'min_records', 3),
    'strong_generalisation_split': (partial(strong_generalisation_split, GRAPH),
        'num_held_out', 1),
    **{cls.__name__: (cls, 'num_negatives', 1) for cls in SAMPLERS},
    'EdgeLoader': (partial(EdgeLoader, GRAPH), 'batch_size', 1),
    'UserLoader': (partial(UserLoader, GRAPH), 'batch_size', 1),
    'InteractionLoader': (partial(InteractionLoader, DATA), 'batch_size', 1),
    'fit': (lambda n: train(BipartiteModule(PLAIN_MF, GRAPH), max_epochs=n), 'max_', 1),
    'recommend': (lambda n: recommend(k=n), 'k', 1),
    'recommend_many': (lambda n: RECOMMENDER.recommend_many(LOG, n), 'k', 1),
    'similar_items': (lambda n: RECOMMENDER.similar_items(10, CONTEXT, n), 'k', 1),
    'similar_users': (lambda n: RECOMMENDER.similar_users(2, CONTEXT, n), 'k', 1),
    'compare_contexts': (partial(RECOMMENDER.compare_contexts, 2, CONTEXT, CONTEXT),
        'k', 1),
}
# What takes an object of a class, or one of two, and what it calls it.
ROWS_OF, ONE = 'InteractionDataset', 'BipartiteGraph'
TYPED: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    'random_split': (random_split, 'dataset', ROWS_OF),
    'time_split': (time_split, 'dataset', ROWS_OF),
    'leave_last_out': (leave_last_out, 'dataset', ROWS_OF),
    'time_cut': (lambda data: time_cut(data, 3, 5), 'dataset', ROWS_OF),
    'cold_start_split': (lambda data: cold_start_split(data, 'user'), 'dataset', ROWS_OF),
    'given_split': (lambda data: given_split(data, ['train'] * 8), 'dataset', ROWS_OF),
    'index_split': (lambda data: index_split(data, [0], [1], [2]), 'dataset', ROWS_OF),
    'intervened_split': (intervened_split, 'graph', ONE),
    'strong_generalisation_split': (lambda graph: strong_generalisation_split(graph, 1),
        'graph', ONE),
    'describe': (describe, 'dataset', ROWS_OF),
    'from_pandas': (lambda it: InteractionDataset.from_pandas(LOG, USERS, ITEMS, it),
        'schema', 'FeatureSchema'),
    'from_dataset': (BipartiteGraph.from_dataset, 'datasets', ROWS_OF),
    'BipartiteGraph': (lambda users: bare(user=users), 'user ids', 'Tensor'),
    'CandidateLists.sample': (CandidateLists.sample, 'dataset', ROWS_OF),
    'CandidateLists.from_labels': (CandidateLists.from_labels, 'dataset', ROWS_OF),
    'evaluate_candidates': (lambda data: evaluate_candidates(MODEL, data, LISTS),
        'dataset', ROWS_OF),
    'evaluate_candidates of lists': (lambda it: evaluate_candidates(MODEL, DATA, it),
        'lists', 'CandidateLists'),
    'evaluate_catalogue': (lambda data: catalogue(MODEL, data),
        'held_out', f'{ROWS_OF} or {ONE}'),
    'EdgeLoader': (EdgeLoader, 'graph', ONE),
    'UserLoader': (UserLoader, 'graph', ONE),
    'InteractionLoader': (InteractionLoader, 'dataset', ROWS_OF),
    'InteractionModule': (lambda data: InteractionModule(MODEL, data), 'train', ROWS_OF),
    'BipartiteModule': (lambda data: BipartiteModule(PLAIN_MF, data),
        'training part', ONE),
    'BipartiteModule to validate': (lambda data: BipartiteModule(PLAIN_MF, GRAPH, data),
        'validation part', ONE),
    'fit': (lambda it: train(it), 'module', 'TrainingModule'),
    'popularity_overlap': (lambda data: popularity_overlap(MODEL, data, 2), 'train', ONE),
    'plot_generator': (plot_generator, 'model', 'IEDR'),
    'plot_explanation': (plot_explanation, 'explanation', 'Explanation'),
}
OBJECTS: dict[str, Any] = {
    **{'a dataset': DATA, 'a graph': GRAPH, 'a table': LOG, 'a model': PLAIN_MF},
    'nothing': None,
}
WRONG: dict[str, dict[str, tuple[Callable[..., Any], Any]]] = {
    'from_pandas of a graph': {
        'a dict': (lambda: of_log(LOG.to_dict('list')),
            'interactions table must be a DataFrame.*dict'),
        'a column as users': (lambda: of_log(users=USERS['guest']),
            'user table must be a DataFrame.*Series'),
        'an empty log': (lambda: of_log(LOG[:0]), 'interactions table is empty'),
        'columns twice': (lambda: of_log(pd.concat([LOG, LOG], axis=1)),
            r"interactions table has duplicate columns: \['guest'"),
        'swapped names': (lambda: of_log(LOG, 'film', 'guest', users=USERS),
            "user table has no column 'film'"),
        'a list as a name': (lambda: of_log(LOG, ['guest']), r"no column '\['guest'\]'"),
        'a user twice': (lambda: of_log(users=pd.concat([USERS, USERS[:1]])),
            "'guest' of the user table holds an id twice: 3"),
        'floats beyond 2^53': (lambda: of_log(LOG.assign(film=2.0**60)),
            "'film' of the interactions holds 1152921504606846976"),
        'True and False': (
            lambda: list(of_log(LOG.assign(film=[True, False] * 4)).item_ids),
            [True, False]),
        'ids as text': (
            lambda: list(of_log(LOG.astype({'guest': str}), users=USERS).user_ids),
            [3, 1, 2, 7]),
    },
    'from_pandas of a dataset': {
        'ids as labels': (lambda: build(TABLES, label='guest'),
            "'guest' must hold labels 0 and 1: row 0 holds .*3"),
        'signs as labels': (
            lambda: build(TABLES | {'log': LOG.assign(liked=[1, -1] * 4)}),
            r"'liked' must hold .* row 1 holds .*-1.* \(4 rows"),
        'a list as the label': (lambda: build(TABLES, label=['liked']),
            r"no column '\['liked'\]'"),
        'a list as the user': (lambda: build(TABLES, user=['guest']),
            r"no column '\['guest'\]'"),
        'one name': (lambda: build(TABLES, item='guest'),
            r"`user` and `item` are two columns \(got 'guest' for both"),
        'words as times': (lambda: build(TABLES, time='with'),
            "'with' holds neither numbers nor dates.*to_datetime"),
        'lists as times': (lambda: build(TABLES, time='snacks'),
            "'snacks' holds neither numbers nor dates"),
        'times with and without a zone': (
            lambda: build(
                TABLES | {'log': LOG.assign(sold=[DAY, DAY.tz_localize('UTC')] * 4)}),
            "'sold' holds neither numbers nor dates"),
        'labels as times': (lambda: build(TABLES, time='liked').time.tolist(),
            LOG['liked'].tolist()),
    },
    'a schema': {
        'text': (lambda: FeatureSchema('a', [Categorical('a')], [Categorical('b')]),
            "'a' is no user column: write"),
        'names': (lambda: FeatureSchema([Categorical('a')], ['a'], [Categorical('b')]),
            "'a' is no item column: write"),
        'a class': (lambda: FeatureSchema([Categorical], [], []),
            'is no user column: write'),
        'a column twice': (lambda: FeatureSchema([Categorical('a')] * 2, [], []),
            r"names a user column twice: \['a', 'a'\]"),
        'edges of a side that is none': (lambda: make_schema(edges={'users': None}),
            r"`edges` are of user, .*\(got 'users'\)"),
        'edges that are no transform': (lambda: make_schema(edges={'user': 5}),
            'user edges must be built by a transform .*5'),
        'no JSON': (lambda: FeatureSchema.from_json('{'), 'not a schema in JSON'),
        'JSON of a list': (lambda: FeatureSchema.from_json('[1]'),
            'not a schema in JSON'),
    },
    'fit of a schema': {
        'an empty table': (lambda: make_schema().fit(FRAMES | {'user': USERS[:0]}),
            'user table is empty'),
        'no column': (
            lambda: make_schema().fit(FRAMES | {'item': ITEMS.drop(columns='price')}),
            "item table has no column 'price'"),
        'swapped tables': (lambda: make_schema().fit(FRAMES | {'user': ITEMS}),
            "user table has no column 'guest'"),
    },
    'encode of a schema': {
        'another side': (lambda: DATA.schema.encode('users', USERS),
            "side is one of user, item, context .got 'users'"),
        'another table': (lambda: DATA.schema.encode('user', ITEMS),
            "user table has no column 'guest'"),
        'floats beyond 2^53': (
            lambda: DATA.schema.encode('user', USERS.assign(guest=2.0**60)),
            "'guest' holds 1152921504606846976"),
    },
    'a graph': {
        'a negative item': (lambda: bare(item=ids(-1)),
            r'Item ids must be .*less than 3 \(got -1 to -1'),
        'large floats as ids': (lambda: bare(user_ids=[1, 2, 2.0**60]),
            "'user_ids' of the graph holds 1152921504606846976"),
        'small integers': (lambda: bare(item=ids(2).to(torch.int8)).item.tolist(), [2]),
        'a labelled series as ids': (
            lambda: list(bare(user_ids=pd.Series(list('abc'), [5, 6, 7])).user_ids),
            list('abc')),
    },
    'from_scipy': {
        'nothing': (lambda: BipartiteGraph.from_scipy(None),
            'sparse matrix of users by items .got NoneType'),
        'one dimension': (lambda: BipartiteGraph.from_scipy(np.ones(2)),
            'sparse matrix of users by items .got ndarray'),
        'NaN': (lambda: BipartiteGraph.from_scipy(csr_matrix([[np.nan]])),
            'NaN in 1 cells, the first of user 0 and item 0'),
        'a complex NaN': (
            lambda: BipartiteGraph.from_scipy(csr_matrix([[complex('nan')]])),
            'NaN in 1 cells'),
        'a dense array': (lambda: BipartiteGraph.from_scipy(np.eye(2)).num_edges, 2),
        'infinity': (
            lambda: BipartiteGraph.from_scipy(csr_matrix([[np.inf, 0]])).num_edges,
            1),
        'no cell': (lambda: BipartiteGraph.from_scipy(csr_matrix((2, 3))).num_edges, 0),
    },
    'lists of labels': {
        'lists as list ids': (lambda: CandidateLists.from_labels(DATA, [[1]] * 8),
            '`list_id` holds lists'),
        'the name of a column': (lambda: CandidateLists.from_labels(DATA, 'query'),
            r'`list_id` must name .* 8 rows \(got 1'),
    },
    'evaluation of lists': {
        **{
            f'{what} {name}': (
                partial(lambda n, f: ranked(**{n: f(getattr(LISTS, n))}), name, one),
                f'{name[1:]} ids`? must be {text}')
            for name in [n for n in OF_LISTS if n != 'target']
            for what, one, text in (
                ('a negative', lambda one: one - 1 - one.max(), 'from 0'),
                ('an unknown', lambda one: one + 99, r'from 0 to less than \d \(got 99'),
                ('a fraction of a', lambda one: one / 2, r'integers .*float32'),
                ('a two-dimensional', lambda one: one[None], r'integers of shape \(E\)'),
                ('an array of a', lambda one: one.numpy(), ''),
            )
        },
        'an item too few': (lambda: ranked(item=LISTS.item[1:]),
            'got 4 users, 4 contexts, and 11 items, 12 targets and 12'),
        'a context too few': (lambda: ranked(context=LISTS.context[1:]),
            'got 4 users, 3 contexts'),
        'counts as targets': (lambda: ranked(target=2 * LISTS.target),
            'target must be 0 or 1, but 4 of 12'),
        'no targets': (lambda: ranked(target=0 * LISTS.target),
            'AUC needs both classes, got 0 positives'),
        'booleans as targets': (lambda: ranked(target=LISTS.target == 1) == ranked(),
            True),
        'no list': (
            lambda: ranked(**dict.fromkeys(OF_LISTS, torch.arange(0))),
            'no lists to rank'),
        'no model': (lambda: evaluate_candidates(None, DATA, LISTS, METRICS),
            'model whose `forward` takes a batch.*NoneType'),
        'a model of graphs': (lambda: evaluate_candidates(PLAIN_MF, DATA, LISTS, METRICS),
            'that of MF does not'),
        'infinite scores': (
            lambda: evaluate_candidates(lambda b: torch.ones(len(b)) / 0, DATA, LISTS),
            "12 of 12 scores .* item '10' for user '3': inf"),
        **{
            f'{name} as the metrics': (
                partial(evaluate_candidates, MODEL, DATA, LISTS, metrics), text)
            for name, metrics, text in (
                ('nothing', [], 'no metrics'),
                ('a class', [NDCG], r'`metrics` .*got the class NDCG'),
                ('a name', ['ndcg@5'], '`metrics` must be of .* RankingMetric .got str'),
                ('a metric twice', [NDCG(2)] * 2, 'given twice: ndcg@2, ndcg@2'),
            )
        },
    },
    'evaluation of the catalogue': {
        'a seen table': (lambda: catalogue(PLAIN_MF, GRAPH, LOG),
            'Of a graph, `seen` is a graph'),
        'a seen dataset, not in a list': (
            lambda: catalogue(MODEL, build(TABLES, exclude_seen=True), DATA),
            '`seen` has to be of datasets'),
        'a model of rows': (lambda: catalogue(MODEL, GRAPH),
            'BipartiteGraph needs a model with `score.*IEDR'),
        'a metric twice': (lambda: catalogue(PLAIN_MF, GRAPH, NO_EDGES, METRICS * 2),
            'given twice'),
        'a NaN vector': (lambda: catalogue(with_nan(torch.ones(5, 4)), GRAPH),
            "item '11' for user '3': nan"),
    },
    'splits': {
        'leave_last_out of too many': (lambda: leave_last_out(DATA, 100),
            'No user has 100 records; the most .* is 2'),
        'given_split by number': (lambda: given_split(DATA, [0, 1] * 4),
            "part '0' of row 0 is none of train"),
        'given_split by another index': (
            lambda: given_split(DATA, PARTS.set_axis(range(8, 0, -1))).test.time.tolist(),
            [4]),
        'index_split by nothing': (lambda: index_split(DATA, None, [1], [2]),
            '`train` must be the numbers of rows'),
        'time_cut by text': (lambda: time_cut(DATA, '3', '5'),
            r"`valid_from` must be a number \(got '3'\).*from 1.0 to 8.0"),
        'time_cut the wrong way': (lambda: time_cut(DATA, 5, 3), 'must be before'),
    },
    'loaders': {
        'unknown users': (lambda: UserLoader(GRAPH, users=ids(99)),
            'User ids must be .* less than 4'),
    },
    'models': {
        **{
            f'a {name} weight of IEDR': (
                partial(IEDR, 5, 4, 8, contrastive_weight=weight),
                f'must not be negative or infinite .got {weight}')
            for name, weight in (('negative', -1), ('NaN', np.nan), ('infinite', np.inf))
        },
    },
    'training': {
        'no row': (lambda: InteractionModule(MODEL, DATA[:0]), 'training part is empty'),
        'a class for the model': (lambda: InteractionModule(IEDR, DATA),
            '`model` .*the class IEDR'),
        'training rows for validation': (lambda: InteractionModule(MODEL, DATA, DATA),
            'is `seen` itself'),
        'a name for the objective': (
            lambda: InteractionModule(MODEL, DATA, objective='bce'),
            "`objective` is an Objective .got 'bce'"),
        'a model of rows': (lambda: BipartiteModule(MODEL, GRAPH),
            'model with `score.*IEDR'),
        'a popularity of NaN': (
            lambda: BipartiteModule(DICE(PLAIN_MF, GRAPH.popularity * torch.nan), GRAPH),
            'another popularity'),
    },
    'fit': {
        'no folder': (lambda: train(BipartiteModule(PLAIN_MF, GRAPH), None),
            '`folder` .*NoneType'),
        'too few items': (lambda tmp: train(BipartiteModule(PLAIN_MF, GRAPH), tmp),
            "User '3' has all but 3 of the 5 items"),
    },
    'a recommender': {
        'swapped model and data': (lambda: Recommender(DATA, MODEL),
            'Data are an InteractionDataset or .*got IEDR'),
        'a table': (lambda: Recommender(MODEL, LOG), 'Data are .*DataFrame'),
        'no model': (lambda: Recommender(None, DATA), 'that of NoneType does not'),
        'rows for a model of graphs': (lambda: Recommender(PLAIN_MF, DATA),
            'that of MF does not'),
        'a graph for a model of rows': (lambda: Recommender(MODEL, GRAPH),
            'which IEDR does not have'),
        'a NaN vector': (
            lambda: Recommender(with_nan(torch.ones(5, 4)), GRAPH).embeddings('item'),
            "1 of 20 numbers in vectors are not finite.*item '11': nan"),
        'a NaN factor': (
            lambda: Recommender(with_nan(torch.ones(5, 4)), GRAPH).similar_items(10),
            "not finite, .*item '11': nan"),
    },
    'recommend': {
        'a k beyond the catalogue': (lambda: recommend(k=10**9), 5),
        'a list as the user': (lambda: recommend([2]), "'guest' holds lists"),
        'a table as the user': (lambda: recommend(USERS[:1]), "'guest' holds lists"),
        'a vector of another length': (lambda: recommend({'taste': [1.0, 2.0, 3.0]}),
            "'taste' holds vectors of length 3"),
        'an unknown user': (lambda: recommend(99), Warns("value 99 of column 'guest'")),
        'no user': (lambda: recommend(None), Warns("missing value of column 'guest'")),
        'no context': (lambda: recommend(context={}), "context lacks column 'with'"),
        'columns in capitals': (
            lambda: recommend(context={n.upper(): v for n, v in CONTEXT.items()}),
            "context lacks column 'with'"),
        'a missing candidate': (lambda: recommend(candidates=[None, 11]),
            'candidates are not .*: None'),
        'a table as candidates': (lambda: recommend(candidates=ITEMS),
            'candidates are not .*: film, studio'),
        'a tensor as candidates': (lambda: recommend(candidates=ids(10, 11)), 2),
        'a context of a graph': (lambda: OF_GRAPH.recommend(3, CONTEXT),
            "no contexts, .* column 'with'"),
        'an unknown user of a graph': (lambda: OF_GRAPH.recommend(99), 'no user 99'),
    },
    'recommend_many': {
        'a dict': (lambda: RECOMMENDER.recommend_many(LOG.to_dict('list')),
            'rows table must be a DataFrame.*dict'),
        'columns twice': (
            lambda: RECOMMENDER.recommend_many(pd.concat([LOG, LOG[['guest']]], axis=1)),
            r"rows.*\['guest'\]"),
        'no row': (lambda: RECOMMENDER.recommend_many(LOG[:0]), 'rows table is empty'),
        'no context column': (
            lambda: RECOMMENDER.recommend_many(LOG.drop(columns='heat')),
            "rows table has no column 'heat'"),
        'lists as users': (
            lambda: RECOMMENDER.recommend_many(LOG.assign(guest=[[1]] * 8)),
            "'guest' holds lists"),
        'unknown users': (lambda: RECOMMENDER.recommend_many(LOG.assign(guest=99)),
            Warns('99.* of column .guest')),
        'unknown contexts': (
            lambda: RECOMMENDER.recommend_many(
                LOG.take([0] * 10).replace('friends', 'z')),
            Warns("100% of .* column 'with', among them 'z'")),
        'labels twice': (
            lambda: RECOMMENDER.recommend_many(LOG.set_axis([0] * 8), 5)['row'].tolist(),
            [0] * 40),
    },
    'other questions': {
        'score of user and item swapped': (lambda: RECOMMENDER.score(10, 3, CONTEXT),
            Warns("value 3 of column 'film'")),
        'score of lists': (lambda: RECOMMENDER.score(2, [10, 11], CONTEXT),
            "'film' holds lists"),
        'explain of an unknown item': (lambda: RECOMMENDER.explain(2, 'zz', CONTEXT),
            Warns("value 'zz' of column 'film'")),
        'comparison with half a context': (
            lambda: RECOMMENDER.compare_contexts(2, CONTEXT, {'with': 'none'}),
            "lacks column 'time'"),
        'comparison with itself': (
            lambda: set(RECOMMENDER.compare_contexts(2, CONTEXT, CONTEXT)['change']),
            {'stays'}),
        'similar items of a list': (lambda: RECOMMENDER.similar_items([10], CONTEXT),
            "'film' holds lists"),
    },
    'files': {
        'no folder of a model': (lambda tmp: Recommender.load(tmp / 'no'),
            'no is not a model folder'),
        'a dataset over a folder': (lambda tmp: DATA.save(tmp), 'Cannot write'),
        'a dataset in no folder': (lambda tmp: DATA.save(tmp / 'nowhere' / 'data.pt'),
            'data.pt'),
        **{
            f'no {name}': (partial(getattr(datasets, name), '/nowhere'), 'where lacks ')
            for name in ('Frappe', 'Gowalla', 'MovieLens1M', 'MovieLens100K')
        },
    },
    'analysis': {
        'page and path swapped': (lambda: write_page(disentanglement_report, 'x.html'),
            'path comes first'),
        'a graph for the lists of a report': (
            lambda: disentanglement_report(MODEL, DATA, lists=GRAPH),
            '`lists` must be CandidateLists'),
        'a probe for NaN': (lambda: value_probe(FACTORS, NAN[:, 0]),
            'labels hold values that are not finite'),
        'invariance of NaN': (lambda: context_invariance(NAN, FACTORS, FACTORS),
            'factors hold values that are not finite'),
        'shares of NaN': (lambda: variance_shares(NAN.view(5, 4, 3)),
            'factors hold values that are not finite'),
    },
}
# fmt: on


def counts() -> Iterator[Any]:
    for (what, (call, argument, least)), (name, number) in product(
        COUNTED.items(), COUNTS.items()
    ):
        text = f'`{argument}.* {COUNT.format(least, repr(number))}'
        yield pytest.param(partial(call, number), text, id=f'{what}: {name}')
    for cls, (name, number) in product((NDCG, Recall, HitRatio, MRR), COUNTS.items()):
        text = f'k must be a positive integer, got {number!r}'
        yield pytest.param(partial(cls, number), text, id=f'{cls.__name__}: {name}')


def kinds() -> Iterator[Any]:
    for (what, (call, argument, kind)), (name, value) in product(
        TYPED.items(), OBJECTS.items()
    ):
        if type(value).__name__ in kind or (value is None and 'validate' in what):
            continue  # As it should be.
        text = rf'`{argument}` must be of the class {kind} \(got {type(value).__name__}\)'
        yield pytest.param(partial(call, value), text, id=f'{what}: {name}')


@pytest.mark.parametrize(
    ('call', 'expected'),
    [
        *counts(),
        *kinds(),
        *(
            pytest.param(*case, id=f'{entry}: {name}')
            for entry, cases in WRONG.items()
            for name, case in cases.items()
        ),
    ],
)
def test_arguments(tmp_path: Path, call: Callable, expected: Any):
    wants_path = 'tmp' in inspect.signature(call).parameters
    expect(partial(call, tmp=tmp_path) if wants_path else call, expected)


# Files, shares and sizes.


def test_shares():
    shares = [-0.1, 0.0, 0.2, 0.5, 1.0, 1.5, np.nan, np.inf]
    for one, two in product(shares, shares):
        for split in (random_split, time_split):
            parts = outcome(lambda: split(DATA, one, two), 'hares', 'part of the sp')  # noqa: B023
            assert parts is not None or not (one == 0.2 == two)
        outcome(
            lambda: intervened_split(GRAPH, one, two, parts=(two, one, 1 - one - two)),  # noqa: B023
            *('`share`', '`parts`', 'share of', 'part of the split'),
        )


def test_small_catalogues():
    tables = TABLES | {'log': TABLES['log'].assign(film=11)}
    alone = build(tables | {'items': TABLES['items'][1:2]})
    with pytest.raises(ValueError, match='catalogue of at least two items'):
        CandidateLists.sample(alone)
    two = build(tables | {'items': TABLES['items'][:2]})
    lists = CandidateLists.sample(two, 5)
    assert set(lists.item[lists.target == 0].tolist()) == {0}
    with pytest.raises(ValueError, match=r'ndcg@3: the catalogue has only 2 items'):
        catalogue(IEDR(two.schema.num_embeddings, 4, 8), two, [], [NDCG(2), NDCG(3)])
    lists, metrics = CandidateLists.sample(DATA, 2), [NDCG(3), NDCG(50)]
    values = evaluate_candidates(MODEL, DATA, lists, metrics).per_list
    assert values['ndcg@3'].tolist() == values['ndcg@50'].tolist()


def test_truncated_datasets(tmp_path):
    path = tmp_path / 'dataset.pt'
    DATA.save(path)
    content = path.read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert outcome(lambda: InteractionDataset.load(path), 'dataset.pt') is None
    for other in ({}, [1], {'users': None}):
        torch.save(other, path)
        message = r'dataset\.pt is damaged or holds no dataset'
        with pytest.raises(ValueError, match=message):
            InteractionDataset.load(path)
    with pytest.raises(FileNotFoundError, match=r'another\.pt'):
        InteractionDataset.load(tmp_path / 'another.pt')


@st.composite
def damaged(draw: Any, content: Any) -> Any:
    """JSON that somewhere lacks something, or has something else."""
    if not content or not isinstance(content, (dict, list)):
        return draw(st.sampled_from([None, 5, -1, 1.5, 'x', [], {}, True, [1]]))
    copied = content.copy()
    keys = sorted(content) if isinstance(content, dict) else range(len(content))
    key = draw(st.sampled_from(keys))
    if draw(st.integers(0, 3)):
        copied[key] = draw(damaged(content[key]))
    else:
        del copied[key]
    return copied


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, Path]:
    folders = {kind: tmp_path_factory.mktemp('model') / kind for kind in ('iedr', 'dice')}
    RECOMMENDER.save(folders['iedr'])
    Recommender(DICE(PLAIN_MF, GRAPH.popularity), GRAPH).save(folders['dice'])
    return folders


@pytest.mark.parametrize(
    ('kind', 'name'),
    [('iedr', 'config.json'), ('iedr', 'schema.json'), ('dice', 'config.json')],
)
@settings(max_examples=20)
@given(data=st.data())
def test_damaged_model_folders(folders, kind: str, name: str, data: Any):
    folder = folders[kind]
    [path] = folder.glob(f'*/{name}')
    text = path.read_text()
    try:
        content = data.draw(damaged(json.loads(text)))
        path.write_text(json.dumps(content))
        recommender = outcome(lambda: Recommender.load(folder, verify=False), str(folder))
        if recommender is not None:  # What was damaged is of no account.
            context = CONTEXT if kind == 'iedr' else None
            assert len(recommender.recommend('3', context, 1)) == 1
            if kind == 'iedr':
                load_model(folder, verify=False)
    finally:
        path.write_text(text)

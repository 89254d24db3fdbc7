"""Frappe, small and against its raw files, read here in another way."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from batches import rows_of
from raw_files import APP, APPS, CONTEXT, FRAPPE, LISTS, USES, candidates, nodes, write

from iedr_geo.data import InteractionDataset, UniformNegativeSampler
from iedr_geo.datasets import Frappe
from iedr_geo.loader import InteractionLoader

# Of the authors' lists: the first id of each column's values.
FIRST = dict(zip(CONTEXT, (5039, 5046, 5053, 5055, 5058, 5060, 5069, 5149), strict=True))
PARTS = {'valid': 2, 'test': 1}  # Which of a user's last rows each holds.
FILES = list(Frappe.urls)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small raw files."""
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'home'))
    sums = {n: hashlib.sha256(text).hexdigest() for n, text in (FRAPPE | LISTS).items()}
    monkeypatch.setattr(Frappe, 'checksums', sums)
    return write(tmp_path / 'root', FRAPPE)


def text(dataset: InteractionDataset) -> list[tuple[str, ...]]:
    """Reads user, item and context of rows back as text."""
    contexts = dataset.context_frame.iloc[dataset.context.numpy()]
    return list(
        zip(
            dataset.user_ids[dataset.user.numpy()],
            dataset.item_ids[dataset.item.numpy()],
            *(contexts[name] for name in CONTEXT),
            strict=True,
        )
    )


def decoded(dataset: Frappe, part: str) -> Counter[tuple[str, ...]]:
    """Reads the rows of candidate lists back: user, item, target and context."""
    lists = dataset.candidates(part)
    rows = dataset[torch.zeros(lists.item.numel(), dtype=torch.long)]
    rows.user, rows.context = (
        lists.user[lists.list_index],
        lists.context[lists.list_index],
    )
    rows.item = lists.item
    targets = map(str, lists.target.tolist())
    return Counter((*r[:2], y, *r[2:]) for r, y in zip(text(rows), targets, strict=True))


def features(app: tuple[str, ...]) -> list[str]:
    """The names of an app's nodes; its rating is of the first bucket that reaches it."""
    rating, bounds = app[5], [0, 1, 2, 3, 4, 4.5, 5]
    if rating != 'unknown':
        [rating] = [f'({a}, {b}]' for a, b in pairwise(bounds) if a < float(rating) <= b]
    return [f'{n}={value}' for n, value in zip(APP, (*app[:5], rating), strict=True)]


def test_small_log(small):
    data = Frappe(small)
    assert text(data) == USES
    assert data.y is None and data.time is None and data.exclude_seen is False
    assert data.num_contexts == 6
    assert nodes(data, 'user') == [[f'user={user}'] for user in data.user_ids]
    assert nodes(data, 'item') == [features(app) for app in APPS]
    contexts = dict.fromkeys(use[2:] for use in USES)
    assert nodes(data, 'context') == [
        [
            f'{name}={value.removesuffix(".0")}'
            for name, value in zip(CONTEXT, context, strict=True)
        ]
        for context in contexts
    ]
    assert data.apps()['name'].tolist() == [f'App {app[0]}' for app in APPS]
    assert data.apps()['rating'].tolist() == [app[5] for app in APPS]


@pytest.mark.parametrize('part', PARTS)
def test_small_candidates(small, part):
    data = Frappe(small)
    split = data.split()
    assert split.order == 'rows' and len(split.train) == 13 - 4
    own = {user: [use for use in USES if use[0] == user] for user in ('5', '1')}
    held_out = sorted(uses[-PARTS[part]] for uses in own.values())
    assert sorted(text(getattr(split, part))) == held_out
    context = {use[0]: use[2:] for use in held_out}
    expected = [(str(user), str(item), str(y)) for user, item, y, *_ in candidates(part)]
    assert decoded(data, part) == Counter((*row, *context[row[0]]) for row in expected)
    assert torch.bincount(data.candidates(part).list_index).tolist() == [5, 5]
    with pytest.raises(ValueError, match=r"'valid' or 'test' \(got 'train'\)"):
        data.candidates('train')


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('damage', ['empty', 'cut', 'short', 'other', 'page'])
def test_damaged_file(small, name, damage):
    content = FRAPPE[name]
    changed = {
        'empty': b'',
        'cut': content[:-30],
        'short': content[:10],
        'other': content[:50] + b'xx' + content[52:],
        'page': b'<!DOCTYPE html><title>Rate limit exceeded</title>',
    }
    write(small, {name: changed[damage]})
    with pytest.raises(ValueError, match=f'{small / name} is damaged or another version'):
        Frappe(small).candidates('valid' if name == FILES[1] else 'test')


@pytest.fixture(scope='module')
def data(data_root: Path) -> Frappe:
    return Frappe(data_root / 'frappe')


@pytest.fixture(scope='module')
def tables(data_root: Path) -> dict[str, list[dict[str, str]]]:
    """The log and the apps, as rows of text."""
    result = {}
    with zipfile.ZipFile(data_root / 'frappe' / FILES[0]) as archive:
        for name in ('frappe', 'meta'):
            file = archive.open(f'Mobile_Frappe/frappe/{name}.csv')
            rows = csv.DictReader(io.TextIOWrapper(file, 'utf-8'), delimiter='\t')
            result[name] = list(rows)
    return result


@pytest.fixture(scope='module')
def log(tables) -> list[tuple[str, ...]]:
    """User, item and context of each row."""
    columns = ('user', 'item', *CONTEXT)
    return [tuple(row[name] for name in columns) for row in tables['frappe']]


@pytest.fixture(scope='module')
def of_user(log) -> dict[str, list[tuple[str, ...]]]:
    """The rows of each user with more than five, in the order of the log."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for row in log:
        rows.setdefault(row[0], []).append(row)
    return {user: own for user, own in rows.items() if len(own) > 5}


def test_log(data, log):
    assert len(data) == 96_203
    assert (data.num_users, data.num_items) == (957, 4082)
    assert data.num_contexts == len({row[2:] for row in log}) == 18_603
    assert text(data) == log


def test_features(data, tables):
    """957 users, 4,082 items, 2,892 item values, 343 context values: 8,274 features."""
    sizes = {
        side: {name: len(values) for name, values in fields.items()}
        for side, fields in data.schema.vocabulary.items()
    }
    assert sizes['user'] == {'user': 957}
    assert tuple(sizes['item']) == APP and list(sizes['context']) == CONTEXT
    assert sum(sizes['item'].values()) == 4082 + 2892
    assert sum(sizes['context'].values()) == 343
    # The library's own rows: unknown and missing in each of fifteen fields.
    assert data.schema.num_embeddings == 8274 + 2 * 15
    for side in ('user', 'item', 'context'):
        named = {name for graph in nodes(data, side) for name in graph}
        assert not any(name.endswith(('<unknown>', '<missing>')) for name in named)
    apps = [tuple(row[name] for name in APP) for row in tables['meta']]
    assert nodes(data, 'item') == [features(app) for app in apps]
    buckets = Counter(features(app)[5].removeprefix('rating=') for app in apps)
    assert buckets == {  # Of the authors' item features; 1,007 round down to others.
        **{'(1, 2]': 11, '(2, 3]': 115, '(3, 4]': 777, '(4, 4.5]': 1_833},
        **{'(4.5, 5]': 796, 'unknown': 550},
    }
    # The ids of the lists: behind users, items and each other.
    first = 957 + 4082
    for name in CONTEXT:
        assert first == FIRST[name]
        first += len({row[name] for row in tables['frappe']})


def test_split(data, of_user):
    """The numbers of the paper: users, rows, context values and batches."""
    train, valid, test, _ = data.split()
    assert len(of_user) == 695
    assert (len(train), len(valid), len(test)) == (94_142, 695, 695)
    for part, place in ((valid, 2), (test, 1)):
        assert sorted(text(part)) == sorted(own[-place] for own in of_user.values())
    kept: dict[str, list] = {user: [] for user in of_user}
    for row in text(train):
        kept[row[0]].append(row)
    assert kept == {user: own[:-2] for user, own in of_user.items()}
    contexts = torch.cat([part.context for part in (train, valid, test)]).unique()
    frame = train.context_frame.iloc[contexts.numpy()]
    assert sum(frame[name].nunique() for name in CONTEXT) == 318
    had = set(rows_of(train.user, train.item, train.context))
    for exclude, wrong in (('positive', 393), ('context', 0)):
        sampler = UniformNegativeSampler(2, exclude)
        loader = InteractionLoader(train, 1024, sampler, shuffle=True)
        *ids, y = (torch.cat(column) for column in zip(*loader.sampler, strict=True))
        assert (len(loader), y.numel(), int(y.sum())) == (276, 282_426, 94_142)
        negatives = rows_of(*(column[y == 0] for column in ids))
        assert sum(row in had for row in negatives) == wrong
    assert train.num_users == 957 and train.num_items == 4082


@pytest.mark.parametrize(('part', 'recurring'), [('test', 9), ('valid', 19)])
def test_candidates(data, data_root, tables, of_user, part, recurring):
    """Every row of the authors' files, in lists of 100, and what is odd about them."""
    with gzip.open(data_root / 'frappe' / f'iedr_{part}_data.csv.gz', 'rt') as file:
        rows = list(csv.DictReader(file))
    # A column's values are numbered as they first appear in the log.
    values = {n: list(dict.fromkeys(row[n] for row in tables['frappe'])) for n in CONTEXT}
    context = {
        row['user']: tuple(values[n][int(row[n]) - FIRST[n]] for n in CONTEXT)
        for row in rows
    }
    assert decoded(data, part) == Counter(
        (row['user'], row['item'], row['rating'], *context[row['user']]) for row in rows
    )
    found = {row['user']: row['item'] for row in rows if row['rating'] == '1'}
    assert [(u, i, *context[u]) for u, i in sorted(found.items())] == sorted(
        own[-PARTS[part]] for own in of_user.values()
    )
    lists = data.candidates(part)
    assert torch.bincount(lists.list_index).tolist() == [100] * 695
    # Not in blocks: whoever reshapes in place of grouping mixes the users.
    users = [row['user'] for row in rows]
    assert any(len(set(users[i : i + 99])) > 1 for i in range(695, 69_500, 99))
    negatives = [(row['user'], row['item']) for row in rows if row['rating'] == '0']
    assert len(set(negatives)) < len(negatives) == 68_805
    assert len({user for user, item in negatives if found[user] == item}) == recurring
    used = {row[:2] for own in of_user.values() for row in own}
    share = sum(pair in used for pair in negatives) / len(negatives)
    assert round(100 * share, 1) == 0.6


def test_log_of_repeated_use(data, of_user):
    """506 of 695 test positives are apps that the user has had before."""
    had = [own[-1][1] in {row[1] for row in own[:-1]} for own in of_user.values()]
    assert (sum(had), len(had)) == (506, 695)

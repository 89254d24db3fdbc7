"""Frappe, small and against its raw files, read here in another way."""

import csv
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

from iedr_geo.data import InteractionDataset
from iedr_geo.datasets import Frappe

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


def test_facts(data_root):
    """The numbers of the paper; rows and apps as the raw files have them, and lists whose
    positives are the rows held out.
    """
    data, tables = Frappe(data_root / 'frappe'), {}
    with zipfile.ZipFile(data_root / 'frappe' / FILES[0]) as archive:
        for name in ('frappe', 'meta'):
            file = archive.open(f'Mobile_Frappe/frappe/{name}.csv')
            rows = csv.DictReader(io.TextIOWrapper(file, 'utf-8'), delimiter='\t')
            tables[name] = list(rows)
    sizes = len(data), data.num_users, data.num_items, data.num_contexts
    assert sizes == (96_203, 957, 4082, 18_603)
    # Users, apps, values of apps and of contexts; unknown and missing in fifteen fields.
    assert data.schema.num_embeddings == 957 + 4082 + 2892 + 343 + 2 * 15
    columns = 'user', 'item', *CONTEXT
    log = [tuple(row[name] for name in columns) for row in tables['frappe']]
    assert text(data) == log
    apps = [tuple(row[name] for name in APP) for row in tables['meta']]
    assert nodes(data, 'item') == [features(app) for app in apps]
    of_user: dict[str, list] = {}
    for row in log:
        of_user.setdefault(row[0], []).append(row)
    kept = [own for own in of_user.values() if len(own) > 5]
    split = data.split()
    assert (len(split.train), len(kept)) == (94_142, 695)
    for name, last in PARTS.items():
        part, lists = getattr(split, name), data.candidates(name)
        assert sorted(text(part)) == sorted(own[-last] for own in kept)
        assert torch.bincount(lists.list_index).tolist() == [100] * 695
        index = lists.list_index[lists.target == 1]
        found = lists.user[index], lists.item[lists.target == 1], lists.context[index]
        held_out = part.user, part.item, part.context
        assert sorted(rows_of(*found)) == sorted(rows_of(*held_out))

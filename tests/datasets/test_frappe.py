"""Frappe against its raw files, read here in another way, and the facts known of it."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from iedr_geo.data import InteractionDataset, UniformNegativeSampler
from iedr_geo.datasets import Frappe, frappe
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.loader import InteractionLoader
from iedr_geo.metrics import Recall

CONTEXT = [
    'daytime',
    'weekday',
    'isweekend',
    'homework',
    'cost',
    'weather',
    'country',
    'city',
]
ITEM = ['item', 'category', 'downloads', 'developer', 'language', 'rating']
# Of the authors' lists: the first id of each column's values.
FIRST = dict(zip(CONTEXT, (5039, 5046, 5053, 5055, 5058, 5060, 5069, 5149), strict=True))
ZIP, VALID, TEST = 'Mobile_Frappe.zip', 'iedr_valid_data.csv.gz', 'iedr_test_data.csv.gz'
PARTS = {'valid': (VALID, 2), 'test': (TEST, 1)}


@pytest.fixture(scope='module')
def root(data_root: Path) -> Path:
    return data_root / 'frappe'


@pytest.fixture(scope='module')
def data(root: Path) -> Frappe:
    return Frappe(root)


@pytest.fixture(scope='module')
def split(data: Frappe):
    return data.split()


@pytest.fixture(scope='module')
def tables(root: Path) -> dict[str, list[dict[str, str]]]:
    """The log and the apps, as rows of text."""
    with zipfile.ZipFile(root / ZIP) as archive:
        return {
            name: list(
                csv.DictReader(
                    io.TextIOWrapper(
                        archive.open(f'Mobile_Frappe/frappe/{name}.csv'), 'utf-8'
                    ),
                    delimiter='\t',
                )
            )
            for name in ('frappe', 'meta')
        }


@pytest.fixture(scope='module')
def log(tables) -> list[tuple[str, ...]]:
    """User, item and context of each row."""
    return [
        (row['user'], row['item'], *(row[name] for name in CONTEXT))
        for row in tables['frappe']
    ]


@pytest.fixture(scope='module')
def of_user(log) -> dict[str, list[tuple[str, ...]]]:
    """The rows of each user with more than five, in the order of the log."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for row in log:
        rows.setdefault(row[0], []).append(row)
    return {user: own for user, own in rows.items() if len(own) > 5}


@pytest.fixture(scope='module')
def raw_lists(root: Path) -> dict[str, list[dict[str, int]]]:
    """The authors' candidate lists, as they are."""
    result = {}
    for part, (name, _) in PARTS.items():
        with gzip.open(root / name, 'rt') as file:
            result[part] = [
                {key: int(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
    return result


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of PyG of this test's own, in which nothing is processed yet."""
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('IEDR_GEO_DATA', raising=False)
    return tmp_path / 'home'


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of the raw files that may be damaged."""
    folder = tmp_path / 'copy'
    folder.mkdir()
    for name in (ZIP, VALID, TEST):
        shutil.copyfile(root / name, folder / name)
    return folder


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


def assert_same_dataset(one: InteractionDataset, two: InteractionDataset) -> None:
    for name in ('user', 'item', 'context'):
        assert torch.equal(getattr(one, name), getattr(two, name))
        for tensor in ('x', 'ptr'):
            tensors = (getattr(getattr(d, f'{name}s'), tensor) for d in (one, two))
            assert torch.equal(*tensors)
    assert one.schema == two.schema
    assert one.user_ids.equals(two.user_ids) and one.item_ids.equals(two.item_ids)
    assert one.context_frame.equals(two.context_frame)
    assert (one.y, one.time, one.exclude_seen) == (two.y, two.time, two.exclude_seen)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob('*')]
    }


def test_counts(data):
    assert len(data) == 96_203
    assert (data.num_users, data.num_items) == (957, 4082)
    assert data.num_contexts == 18_603
    assert data.y is None and data.time is None


def test_rows_are_the_log(data, log):
    assert text(data) == log
    assert data.num_contexts == len({row[2:] for row in log})


def test_feature_counts(data):
    """957 users, 4,082 items, 2,892 item values, 343 context values: 8,274 features."""
    vocabulary = data.schema.vocabulary
    sizes = {
        side: {name: len(values) for name, values in fields.items()}
        for side, fields in vocabulary.items()
    }
    assert sizes['user'] == {'user': 957}
    assert sizes['item'].pop('item') == 4082
    assert list(sizes['item']) == ITEM[1:]
    assert sum(sizes['item'].values()) == 2892
    assert list(sizes['context']) == CONTEXT
    assert sum(sizes['context'].values()) == 343
    assert 957 + 4082 + 2892 + 343 == 8274
    # The library's own rows: unknown and missing in each of fifteen fields.
    assert data.schema.num_embeddings == 8274 + 2 * 15
    names = data.schema.names()
    for graphs in (data.users, data.items, data.contexts):
        named = [names[x] for x in torch.unique(graphs.x)]
        assert not any(name.endswith(('<unknown>', '<missing>')) for name in named)


def test_feature_ids_of_the_lists_follow_from_the_log(tables):
    """Where each context column's values begin: behind users, items and each other."""
    first = 957 + 4082
    for name in CONTEXT:
        assert first == FIRST[name]
        first += len({row[name] for row in tables['frappe']})
    assert first == 957 + 4082 + 343


def test_context_values_after_the_user_filter(split):
    """The 318 context values of the paper's Table 2."""
    parts = split[:3]
    places = torch.cat([part.context for part in parts]).unique()
    frame = split.train.context_frame.iloc[places.numpy()]
    assert sum(frame[name].nunique() for name in CONTEXT) == 318


def test_order_of_feature_nodes(data, log):
    """User; item, category, downloads, developer, language, rating; eight contexts."""
    names = data.schema.names()
    for row in (0, 1, 54_321, 96_202):
        sample = data[row]
        assert [names[x] for x in sample.x_user] == [f'user={log[row][0]}']
        assert [names[x].split('=')[0] for x in sample.x_item] == ITEM
        assert names[sample.x_item[0]] == f'item={log[row][1]}'
        assert [names[x] for x in sample.x_context] == [
            f'{name}={value}' for name, value in zip(CONTEXT, log[row][2:], strict=True)
        ]
        for side, size in (('user', 1), ('item', 6), ('context', 8)):
            assert sample[f'edge_index_{side}'].shape == (2, size * size)


def test_features_of_every_app(data, tables):
    """The rating is rounded down, 'unknown' a value of its own, 'NA' and '' as well."""
    names = np.array(data.schema.names())
    read = names[data.items.x.view(4082, 6).numpy()].tolist()
    assert data.item_ids.tolist() == [row['item'] for row in tables['meta']]
    ratings = Counter()
    for nodes, row in zip(read, tables['meta'], strict=True):
        rating = row['rating']
        bucket = rating if rating == 'unknown' else str(int(float(rating) // 1))
        ratings[bucket] += 1
        assert nodes[:5] == [f'{name}={row[name]}' for name in ITEM[:5]]
        assert nodes[5] == f'rating={bucket}'
    assert {'3', '4', 'unknown'} <= set(ratings) <= {*'012345', 'unknown'}
    assert set(data.schema.vocabulary['item']['rating']) == set(ratings)


def test_split(data, split, of_user):
    train, valid, test, order = split
    assert order == 'rows'
    assert len(of_user) == 695
    assert len(train) + len(valid) + len(test) == 95_532
    assert (len(train), len(valid), len(test)) == (94_142, 695, 695)
    expected = {user: (rows[:-2], rows[-2], rows[-1]) for user, rows in of_user.items()}
    assert sorted(text(valid)) == sorted(rows[1] for rows in expected.values())
    assert sorted(text(test)) == sorted(rows[2] for rows in expected.values())
    kept: dict[str, list] = {user: [] for user in expected}
    for row in text(train):
        kept[row[0]].append(row)
    assert kept == {user: rows[0] for user, rows in expected.items()}
    # Ids and feature graphs are those of the whole log.
    assert train.num_users == 957 and train.num_items == 4082


def test_training_rows(split):
    """With two negatives each, 282,426 rows in 276 batches."""
    sampler = UniformNegativeSampler(2)
    loader = InteractionLoader(split.train, 1024, sampler, shuffle=True)
    assert len(loader) == 276
    rows = positives = 0
    for _, _, _, y in loader.sampler:
        rows += y.numel()
        positives += int(y.sum())
    assert (rows, positives) == (282_426, 94_142)


@pytest.mark.parametrize('part', PARTS)
def test_candidates_are_the_held_out_rows(data, split, of_user, part):
    """A list of 100 for each user, whose positive is the last or last but one row."""
    lists = data.candidates(part)
    assert len(lists) == 695
    assert lists.item.numel() == lists.target.numel() == 69_500
    assert torch.bincount(lists.list_index).tolist() == [100] * 695
    assert int(lists.target.sum()) == 695
    found = lists.target == 1
    assert lists.list_index[found].sort().values.tolist() == list(range(695))
    where = lists.list_index[found]
    rows = data[torch.zeros(695, dtype=torch.long)]
    rows.user, rows.context = lists.user[where], lists.context[where]
    rows.item = lists.item[found]
    _, place = PARTS[part]
    assert sorted(text(rows)) == sorted(own[-place] for own in of_user.values())
    held_out = getattr(split, part)
    assert sorted(text(rows)) == sorted(text(held_out))


@pytest.mark.parametrize('part', PARTS)
def test_candidates_are_the_authors_rows(data, raw_lists, tables, part):
    """Every row of the file, by user; the context ids mean what the positives say."""
    rows, lists = raw_lists[part], data.candidates(part)
    assert len(rows) == 69_500
    assert [row['rating'] for row in rows] == [1] * 695 + [0] * 68_805
    users = [row['user'] for row in rows]
    assert len(set(users[:695])) == 695
    # Not in blocks: whoever reshapes in place of grouping mixes the users.
    assert any(len(set(users[i : i + 99])) > 1 for i in range(695, 69_500, 99))
    expected = Counter((row['user'], row['item'], row['rating']) for row in rows)
    owner = data.user_ids[lists.user[lists.list_index].numpy()].astype(int)
    item = data.item_ids[lists.item.numpy()].astype(int)
    assert Counter(zip(owner, item, lists.target.tolist(), strict=True)) == expected

    # A column's values are numbered as they first appear in the log.
    values = {
        name: list(dict.fromkeys(row[name] for row in tables['frappe']))
        for name in CONTEXT
    }
    contexts = data.context_frame.iloc[lists.context.numpy()]
    of_list = dict(
        zip(data.user_ids[lists.user.numpy()].astype(int), contexts.values, strict=True)
    )
    for row in rows:
        decoded = [values[name][row[name] - FIRST[name]] for name in CONTEXT]
        assert decoded == list(of_list[row['user']])


@pytest.mark.parametrize(('part', 'number'), [('test', 9), ('valid', 19)])
def test_positive_recurs_as_a_negative(data, part, number):
    lists = data.candidates(part)
    positive = torch.empty(695, dtype=torch.long)
    found = lists.target == 1
    positive[lists.list_index[found]] = lists.item[found]
    again = (lists.item == positive[lists.list_index]) & ~found
    assert lists.list_index[again].unique().numel() == number


def test_some_negatives_repeat(data):
    for part in PARTS:
        lists = data.candidates(part)
        negatives = lists.target == 0
        pairs = torch.stack([lists.list_index, lists.item])[:, negatives]
        assert pairs.unique(dim=1).size(1) < pairs.size(1)


def test_some_negatives_were_used_at_another_time(data, of_user):
    """0.6 % of them, over both parts and in each."""
    used = {(row[0], row[1]) for rows in of_user.values() for row in rows}
    counts = []
    for part in PARTS:
        lists = data.candidates(part)
        negative = lists.target == 0
        user = data.user_ids[lists.user[lists.list_index[negative]].numpy()]
        item = data.item_ids[lists.item[negative].numpy()]
        counts.append(sum(pair in used for pair in zip(user, item, strict=True)))
        assert round(100 * counts[-1] / negative.sum().item(), 1) == 0.6
    assert round(100 * sum(counts) / (2 * 68_805), 1) == 0.6


def test_log_of_repeated_use(data, split, of_user):
    """506 of 695 test positives are apps that the user has had before."""
    had = [own[-1][1] in {row[1] for row in own[:-1]} for own in of_user.values()]
    assert (sum(had), len(had)) == (506, 695)
    assert data.exclude_seen is False and split.test.exclude_seen is False
    rows = split.test[:3]

    def worst_for_seen(batch):
        return -torch.isin(batch.item_id, rows.item).float()

    # Seen apps stay in the ranking: those to be found come last, behind all others.
    result = evaluate_catalogue(worst_for_seen, rows, [split.train], [Recall(4000)])
    assert result.metrics == {'recall@4000': 0}


def test_unknown_part(data):
    with pytest.raises(ValueError, match=r"'valid' or 'test' \(got 'train'\)"):
        data.candidates('train')


def test_second_reading_comes_from_the_cache(data, root, monkeypatch):
    def refuse(self):
        raise AssertionError('processed again')

    monkeypatch.setattr(Frappe, 'process', refuse)
    again = Frappe(root)
    assert_same_dataset(again, data)
    for name, tensor in vars(again.candidates('test')).items():
        assert torch.equal(tensor, getattr(data.candidates('test'), name))


def test_processed_files_are_in_the_home_of_pyg(root, home):
    before = listing(root)
    data = Frappe(root)
    data.candidates('valid')
    data.split()
    assert (home / 'iedr_geo' / 'frappe' / 'processed' / 'dataset.pt').is_file()
    assert listing(root) == before
    assert not list(home.rglob('*.partial'))


def test_force_reload(data, root, home):
    Frappe(root)
    cache = home / 'iedr_geo' / 'frappe' / 'processed' / 'dataset.pt'
    data[:10].save(cache)
    assert len(Frappe(root)) == 10  # Read as it is ...
    assert_same_dataset(Frappe(root, force_reload=True), data)  # ... unless told not to.
    assert_same_dataset(Frappe(root), data)


def test_raw_files_in_the_folder_raw(data, copy, home):
    """In the root or its folder `raw`; neither is written to."""
    nested = copy.parent / 'nested'
    nested.mkdir()
    copy.rename(nested / 'raw')
    before = listing(nested)
    again = Frappe(str(nested))
    assert_same_dataset(again, data)
    assert again.candidates('test').item.numel() == 69_500
    assert listing(nested) == before


def test_default_root_is_in_the_data_folder(data, root, monkeypatch):
    monkeypatch.setenv('IEDR_GEO_DATA', str(root.parent))
    assert_same_dataset(Frappe(), data)


def test_transform(root):
    def mark(sample):
        sample.mark = True
        return sample

    assert Frappe(root, transform=mark)[5].mark
    assert 'mark' not in Frappe(root)[5]


@pytest.mark.parametrize('name', [ZIP, VALID, TEST])
def test_missing_file(copy, name):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=f'{copy} lacks {name}$'):
        Frappe(copy)


def test_no_files(tmp_path):
    message = f'{tmp_path}/none lacks {ZIP}, {VALID}, {TEST}'
    with pytest.raises(FileNotFoundError, match=message):
        Frappe(tmp_path / 'none')
    assert list(tmp_path.iterdir()) == []


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    path.write_bytes(
        {
            'empty': b'',
            'truncated': content[:-1000],
            'short': content[:100],
            'other': content[:5000] + b'x' + content[5001:],
            'page': b'<!DOCTYPE html><title>Rate limit exceeded</title>',
        }[kind]
    )


@pytest.mark.parametrize('kind', ['empty', 'truncated', 'short', 'other', 'page'])
def test_damaged_log(copy, home, kind):
    damage(copy / ZIP, kind)
    with pytest.raises(ValueError, match=f'{copy / ZIP} is damaged'):
        Frappe(copy)
    assert not list(home.rglob('dataset.pt*'))


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize('kind', ['empty', 'truncated', 'short', 'other', 'page'])
def test_damaged_lists(copy, part, kind):
    path = copy / PARTS[part][0]
    damage(path, kind)
    with pytest.raises(ValueError, match=f'{path} is damaged'):
        Frappe(copy).candidates(part)


@pytest.fixture
def downloads(root, home, monkeypatch) -> list[str]:
    """Copies files in place of a download; the lists come as plain text."""
    urls: list[str] = []

    def download_url(url, folder, log=True, filename=None):
        assert not (Path(folder) / filename).exists()  # PyG would not download it.
        urls.append(url)
        name = next(name for name, known in Frappe.urls.items() if known == url)
        content = (root / name).read_bytes()
        if not url.endswith('.zip'):
            content = gzip.decompress(content)
        (Path(folder) / filename).write_bytes(content)

    monkeypatch.setattr(frappe, 'download_url', download_url)
    return urls


def test_download(data, home, downloads):
    """To the home of PyG, once; what is there is not downloaded again."""
    again = Frappe()
    assert_same_dataset(again, data)
    folder = home / 'iedr_geo' / 'frappe'
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert names == {ZIP, VALID, TEST}
    assert downloads == list(Frappe.urls.values())
    for part in PARTS:
        one, two = (vars(dataset.candidates(part)) for dataset in (data, again))
        assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    Frappe()
    assert len(downloads) == 3
    (folder / VALID).unlink()
    Frappe()
    assert downloads[3:] == [Frappe.urls[VALID]]


@pytest.mark.parametrize('name', [ZIP, VALID, TEST])
@pytest.mark.parametrize('kind', ['truncated', 'page'])
def test_damaged_download(home, downloads, monkeypatch, name, kind):
    """No trace of it is left, so the next try starts anew."""
    good = frappe.download_url

    def bad(url, folder, log=True, filename=None):
        good(url, folder, log, filename)
        if url == Frappe.urls[name]:
            damage(Path(folder) / filename, kind)

    folder = home / 'iedr_geo' / 'frappe'
    with monkeypatch.context() as patch:
        patch.setattr(frappe, 'download_url', bad)
        with pytest.raises(ValueError, match=f'{name}.* is damaged'):
            Frappe()
    kept = [ZIP, VALID, TEST][: [ZIP, VALID, TEST].index(name)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
    assert not list(home.rglob('dataset.pt*'))


def test_interrupted_download(home, downloads, monkeypatch):
    """Neither an error on the way nor a killed process is in the way of the next."""
    folder = home / 'iedr_geo' / 'frappe'
    good = frappe.download_url

    def bad(url, directory, log=True, filename=None):
        good(url, directory, log, filename)
        damage(Path(directory) / filename, 'short')
        raise ConnectionError('reset by peer')

    with monkeypatch.context() as patch:
        patch.setattr(frappe, 'download_url', bad)
        with pytest.raises(ConnectionError, match='reset by peer'):
            Frappe()
    assert list(folder.iterdir()) == []
    for name in (ZIP, VALID, TEST):  # Left by a process that was killed.
        (folder / f'{name}.partial').write_bytes(b'half')
    assert len(Frappe()) == 96_203
    assert not list(folder.glob('*.partial'))


def test_cannot_write_processed_files(root, tmp_path, monkeypatch):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'file' / 'home'))
    folder = tmp_path / 'file' / 'home' / 'iedr_geo' / 'frappe'
    with pytest.raises(OSError, match=f'Cannot write to {folder / "processed"}: '):
        Frappe(root)
    monkeypatch.delenv('IEDR_GEO_DATA', raising=False)
    with pytest.raises(OSError, match=f'Cannot write to {folder}: '):
        Frappe()
    assert os.listdir(tmp_path) == ['file']

"""The datasets of the CARSKit collection, small and against their raw files."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from raw_files import (
    DEPAUL,
    DEPAUL_ROWS,
    STS,
    STS_COLUMNS,
    STS_ROWS,
    archive,
    nodes,
    write,
)

from iedr_geo.datasets import DePaulMovie, TravelSTS

FILES = {DePaulMovie: DEPAUL, TravelSTS: STS}
RATINGS = {
    DePaulMovie: [int(row[2]) for row in DEPAUL_ROWS],
    TravelSTS: [int(row['rating']) for row in STS_ROWS],
}
# As the archive's notes have them, in the order of their codes.
MEANINGS = {
    'distance': 'far away, near by',
    'timeAvailable': 'half day, one day, more than one day',
    'temperature': 'burning, hot, warm, cool, cold, freezing',
    'crowdedness': 'crowded, not crowded, empty',
    'knowledgeOfSurroundings': 'new to area, returning visitor, citizen of the area',
    'season': 'spring, summer, autumn, winter',
    'budget': 'budget traveler, price for quality, high spender',
    'daytime': 'morning, noon, afternoon, evening, night',
    'weather': 'clear sky, sunny, cloudy, rainy, thunderstorm, snowing',
    'companion': 'alone, with friends/colleagues, with family, '
    'with girlfriend/boyfriend, with children',
    'mood': 'happy, sad, active, lazy',
    'weekday': 'weekday, weekend',
    'travelGoal': 'visiting friends, business, religion, health care, social event, '
    'education, scenic/landscape, hedonistic/fun, activity/sport',
    'transport': 'no transportation means, a bicycle, a car, public transport',
}
TRAITS = STS_COLUMNS[6:11]
GENDERS = {'m': 'male', 'f': 'female', None: '<missing>'}


@pytest.fixture(params=FILES)
def cls(request) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of PyG of this test's own, in which nothing is processed yet."""
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home'


def text(content: bytes, cls: Any) -> str:
    """Returns the table of a zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        return files.read(cls.table).decode()


def changed(folder: Path, cls: Any, old: str, new: str) -> Path:
    """Writes a small zip file whose table has another text at one place."""
    [(name, content)] = FILES[cls].items()
    table = text(content, cls)
    assert table.count(old) >= 1
    return write(folder, {name: archive({cls.table: table.replace(old, new, 1)})})


def rows(data: Any) -> list[tuple[str, str, list[str]]]:
    """Reads user, item and the nodes of the context of each row back."""
    contexts = nodes(data, 'context')
    return [
        (data.user_ids[u], data.item_ids[i], contexts[c])
        for u, i, c in zip(
            *(getattr(data, s).tolist() for s in ('user', 'item', 'context')), strict=True
        )
    ]


def depaul_context(row: Any) -> list[str]:
    fields = zip(('time', 'location', 'companion'), row, strict=True)
    return [f'{name}={value}' for name, value in fields]


def ours(name: str) -> str:
    return ''.join(f'_{c.lower()}' if c.isupper() else c for c in name)


def told(row: dict[str, str], name: str) -> str | None:
    value = row.get(name, 'NULL')
    return None if value == 'NULL' else value


def sts_context(row: dict[str, str]) -> list[str]:
    return [
        f'{ours(name)}='
        + (
            values.split(', ')[int(code) - 1]
            if (code := told(row, name))
            else '<missing>'
        )
        for name, values in MEANINGS.items()
    ]


def sts_user(row: dict[str, str]) -> list[str]:
    birth = told(row, 'birthDate')
    year = None if birth is None else int(birth.split('/')[2])
    decades = {None: '<missing>', **dict.fromkeys(range(1900, 1960), '<1960')}
    decades |= {y: f'{y // 10}0 to {y // 10 + 1}0' for y in range(1960, 1990)}
    return [
        f'user={row["userID"]}',
        f'gender={GENDERS[told(row, "gender")]}',
        f'born={decades.get(year, ">=1990")}',
        *(f'{ours(name)}={told(row, name) or "<missing>"}' for name in TRAITS),
    ]


def sts_item(row: dict[str, str]) -> list[str]:
    found = {told(row, f'category{i}') for i in (1, 2, 3)} - {None}
    return [f'item={row["itemID"]}', *(f'categories={each}' for each in sorted(found))]


def check_sts(data: TravelSTS, log: list[dict[str, str]]) -> None:
    """Rows, contexts, users and sights, in the order in which they first come."""
    assert rows(data) == [(r['userID'], r['itemID'], sts_context(r)) for r in log]
    users = {row['userID']: sts_user(row) for row in log}
    items = {row['itemID']: sts_item(row) for row in log}
    assert nodes(data, 'user') == list(users.values())
    assert nodes(data, 'item') == list(items.values())


def test_small_depaul(tmp_path):
    """That there was no context is a value like the others."""
    data = DePaulMovie(write(tmp_path, DEPAUL))
    assert rows(data) == [(u, i, depaul_context(c)) for u, i, _, *c in DEPAUL_ROWS]
    assert nodes(data, 'user') == [['user=1123'], ['user=1003'], ['user=1040']]
    assert nodes(data, 'item') == [['item=tt01'], ['item=tt02'], ['item=ttnanana2']]
    assert data.num_contexts == 4 and data.y is None and data.time is None


def test_small_sts(tmp_path):
    """What was not told is missing."""
    data = TravelSTS(write(tmp_path, STS))
    check_sts(data, STS_ROWS)
    assert data.num_contexts == 3 and data.y is None and data.time is None
    assert data.own_ids('user').tolist() == [9, 4]


def test_split_and_candidates(cls, tmp_path):
    """Rows are drawn by the seed, and lists are of the same seed's rows."""
    data = cls(write(tmp_path, FILES[cls]))
    held_out = set()
    for seed in range(20):
        split = data.split(seed)
        assert split.order == 'random' and [len(p) for p in split[:3]] == [8, 1, 1]
        merged = [row for part in split[:3] for row in rows(part)]
        assert sorted(merged) == sorted(rows(data))
        for part in ('valid', 'test'):
            lists, expected = data.candidates(part, 30, seed=seed), getattr(split, part)
            assert lists.item.tolist()[0] == int(expected.item)
            assert torch.equal(lists.user, expected.user)
            assert torch.equal(lists.context, expected.context)
            # Whether the user had them or not: of three items, all are drawn.
            assert set(lists.item.tolist()) == set(range(data.num_items))
            assert lists.target.tolist() == [1] + 30 * [0]
        held_out.add(str(rows(split.test)))
    assert len(held_out) > 1
    assert rows(data.split().test) == rows(data.split(0).test)
    with pytest.raises(ValueError, match=r"'valid' or 'test' \(got 'train'\)"):
        data.candidates('train')


def test_high_ratings(cls, tmp_path):
    """Low ratings are no rows; users and items are the same as ever, and so is what
    rankings leave out, whether pairs recur or not.
    """
    root = write(tmp_path, FILES[cls])
    whole, high, top = (cls(root, min_rating=rating) for rating in (0, 4, 4.5))
    log = RATINGS[cls]
    assert rows(high) == [r for r, n in zip(rows(whole), log, strict=True) if n >= 4]
    assert len(whole) > len(high) > len(top) == sum(n == 5 for n in log)
    for data in (high, top):
        assert data.user_ids.equals(whole.user_ids)
        assert nodes(data, 'item') == nodes(whole, 'item')
    assert whole.repeated > 0 == top.repeated
    assert not (whole.exclude_seen or top.exclude_seen)
    with pytest.raises(ValueError, match=r'No rating is 5\.5 or higher'):
        cls(root, min_rating=5.5)


@pytest.mark.parametrize(
    ('cls', 'old', 'new', 'message'),
    [
        (DePaulMovie, ',2,NA', ',6,NA', "rating in row 1 is '6', not .* from 1 to 5$"),
        (DePaulMovie, ',3,Week', ',NA,Week', "the rating in row 2 is 'NA', not "),
        (DePaulMovie, 'Home,Alone', 'Home', 'row 2 has no companion$'),
        (DePaulMovie, '\n1003', '\n', 'row 2 has no user$'),
        (DePaulMovie, 'Home,Alone', 'Home,Alone,x', 'of another format: .* line 3'),
        (DePaulMovie, 'Location', 'Place', "ratings.txt table has no column 'Location'"),
        (TravelSTS, 'travelGoal', 'goal', "csv table has no column 'travelGoal'"),
        (TravelSTS, '\t9\t7', '\tu9\t7', "user in row 1 is 'u9', not a whole number$"),
        (TravelSTS, '\t9\t7', '\tNULL\t7', "the user in row 1 is 'NULL', not a whole"),
        (TravelSTS, '\t7\t4\t', '\t7\t0\t', "the rating in row 1 is '0', not "),
        (TravelSTS, '\t7\t4\t', '\t7\tNULL\t', "the rating in row 1 is 'NULL', not "),
        (TravelSTS, 'L\t3\tN', 'L\t4\tN', "time_available in row 2 is '4', neither"),
        (TravelSTS, '\t9\t1\t1', '\tfun\t1\t1', "travel_goal in row 2 is 'fun', neither"),
        (TravelSTS, '1979\tf\t7', '1979\tf\t8', "openness_.* in row 1 is '8', neither"),
        (TravelSTS, '1979\tf', '1979\tx', "gender in row 1 is 'x', neither one of f, m"),
        (TravelSTS, '31/12', '31/13', "birth in row 1 .* a date such as .* nor NULL$"),
        (TravelSTS, '\t24\t25', '\t30\t25', "category1 in row 3 is '30', neither"),
        (TravelSTS, '1979\tf', '1979\tm', "'user' .* table holds an id twice: 9$"),
        (TravelSTS, '\t24\t25', '\t24\t26', "'item' .* table holds an id twice: 20$"),
    ],
)  # fmt: skip
def test_bad_table(tmp_path, home, cls, old, new, message):
    """Rows are counted from 1, below the header."""
    root = changed(tmp_path / 'root', cls, old, new)
    path = root / next(iter(FILES[cls])) / cls.table
    with pytest.raises(ValueError, match=f'^{path}.*{message}'):
        cls(root)
    assert not list(home.rglob('*-0.pt*'))


@pytest.mark.parametrize('damage', ['empty', 'cut', 'other'])
def test_bad_archive(cls, tmp_path, damage):
    [(name, content)] = FILES[cls].items()
    write(
        tmp_path,
        {
            name: {
                'empty': b'',
                'cut': content[:-30],
                'other': archive({'ratings.txt': text(content, cls)}),
            }[damage]
        },
    )
    with pytest.raises(ValueError, match=f'{tmp_path / name} is damaged or of another'):
        cls(tmp_path)


def raw(data_root: Path, cls: Any) -> list[dict[str, str]]:
    """Reads the table of the raw file, and holds what else was counted of it."""
    [name] = cls.urls
    table = text((data_root / 'cars' / name).read_bytes(), cls)
    return list(csv.DictReader(io.StringIO(table), delimiter=',\t'[cls is TravelSTS]))


@pytest.mark.parametrize(
    ('cls', 'sizes', 'high', 'repeated'),
    [
        (DePaulMovie, (5043, 97, 79, 13), 2582, 3600),
        (TravelSTS, (2534, 325, 249, 932), 1407, 702),
    ],
)
def test_facts(cls, sizes, high, repeated, data_root):
    """Counts, the shares of the split, and that the raw file is what is downloaded."""
    data = cls(data_root / cls.folder)
    assert (len(data), data.num_users, data.num_items, data.num_contexts) == sizes
    assert data.repeated * len(data) == pytest.approx(repeated)
    assert len(cls(data.root, min_rating=4)) == high
    train, valid, test, _ = data.split()
    assert len(valid) == len(test) == round(len(data) / 10)
    assert len(train) + len(valid) + len(test) == len(data)
    content = Path(data.raw_paths[0]).read_bytes()
    data._check(content, *cls.urls, 'the file')


def test_rows_of_depaul(data_root):
    data, log = DePaulMovie(data_root / 'cars'), raw(data_root, DePaulMovie)
    assert rows(data) == [
        (row['userid'], row['itemid'], depaul_context(list(row.values())[3:]))
        for row in log
    ]
    without = [c for *_, c in rows(data) if 'time=NA' in c]
    assert len(without) == 1448  # All of it, or nothing.
    assert without == [depaul_context(['NA'] * 3)] * 1448
    assert len({tuple(row.values())[:2] + tuple(row.values())[3:] for row in log}) == 5029


def test_rows_of_sts(data_root):
    data, log = TravelSTS(data_root / 'cars'), raw(data_root, TravelSTS)
    check_sts(data, log)
    known = [sum(told(row, name) is not None for name in MEANINGS) for row in log]
    assert (known.count(0), max(known)) == (908, 5)
    assert sum(told(row, 'creationDate') is None for row in log) == 793

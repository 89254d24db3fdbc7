"""Folders of recommenders: what is read recommends as what was written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from shop import (
    BIPARTITE,
    BOUGHT,
    CONTEXTS,
    IDS,
    SALES,
    batch_of,
    make_bipartite,
    make_graph,
    make_model,
    make_shop,
    row_of,
)

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.recommend import Recommender, load_model, save_model

CONTEXT = CONTEXTS[1]


def make_recommender(kind: str) -> Recommender:
    if kind == 'IEDR':
        dataset = make_shop(exclude_seen=False)
        return Recommender(
            make_model(dataset.schema, exact=True, pointwise=True), dataset
        )
    graph = make_graph()
    return Recommender(make_bipartite(kind, graph), graph)


def outputs(recommender: Recommender, contextual: bool) -> list[Any]:
    """What every method returns."""
    context = CONTEXT if contextual else None
    rows = SALES.rename(columns={} if contextual else {'customer': 'user'})
    out = [
        recommender.recommend(30, context),
        recommender.recommend(30, context, exclude_seen=True, candidates=IDS[:7]),
        recommender.recommend_many(rows[::3]),
        recommender.score(4, 112, context),
        repr(recommender),
    ]
    if recommender.parts:
        out += [
            recommender.similar_items(40, context),
            recommender.similar_users(30, context, by=recommender.parts[1]),
            str(recommender.explain(30, 112, context)),
        ]
    if contextual:
        out += [
            recommender.recommend({'town': 'y'}, context),
            recommender.compare_contexts(30, *CONTEXTS[1:3]),
            recommender.explain(30, 112, context).pairs,
        ]
    return out


def assert_same(one: Recommender, two: Recommender, contextual: bool) -> None:
    pairs = zip(outputs(one, contextual), outputs(two, contextual), strict=True)
    for expected, actual in pairs:
        if isinstance(expected, pd.DataFrame):
            assert_frame_equal(actual, expected)
        else:
            assert actual == expected


@pytest.fixture(params=['IEDR', *BIPARTITE])
def kind(request) -> str:
    return request.param


@pytest.fixture
def folder(tmp_path: Path, kind: str) -> Path:
    make_recommender(kind).save(tmp_path / 'model')
    return tmp_path / 'model'


def test_loaded_recommends_alike(tmp_path, kind):
    recommender = make_recommender(kind)
    recommender.save(tmp_path / 'one')
    loaded = Recommender.load(tmp_path / 'one')
    assert_same(recommender, loaded, kind == 'IEDR')
    # As often as one likes, and without the first folder.
    loaded.save(str(tmp_path / 'two'))
    shutil.rmtree(tmp_path / 'one')
    assert_same(recommender, Recommender.load(str(tmp_path / 'two')), kind == 'IEDR')
    assert [path.name for path in tmp_path.iterdir()] == ['two']


def test_seen_rows_alone_are_written(tmp_path):
    """Those that were held out are in the folder no more than in the recommender."""
    shop = make_shop()
    model, part = make_model(shop.schema), shop[: len(BOUGHT) - 12]
    Recommender(model, part).save(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model')
    assert len(loaded.recommend(17, CONTEXT, 12)) == 12
    rows = InteractionDataset.load(tmp_path / 'model' / 'catalogue.pt')
    assert len(rows) == len(set(BOUGHT[:-12])) and rows.num_contexts == 1


def test_folder_of_iedr_holds_the_model(tmp_path):
    dataset = make_shop()
    model = make_model(dataset.schema, exact=True)
    Recommender(model, dataset).save(tmp_path / 'model')
    loaded, schema = load_model(tmp_path / 'model')
    batch = batch_of(schema, row_of(30), CONTEXT)
    assert torch.equal(loaded(batch), model(batch))


@pytest.mark.parametrize('step', ['torch.save', 'os.rename'])
def test_replaced_at_once(folder, kind, step, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = make_recommender(kind)

    def fail(*args: Any) -> None:
        raise OSError('No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(
            *((torch, 'save') if step == 'torch.save' else (Path, 'rename')), fail
        )
        with pytest.raises(OSError, match='No space left'):
            other.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]
    other.save(folder)
    assert_same(other, Recommender.load(folder), kind == 'IEDR')
    assert list(folder.parent.iterdir()) == [folder]
    assert {path.name for path in folder.iterdir()} == set(before)


def test_nothing_else_is_replaced(folder, kind):
    (folder / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match=r'notes\.txt'):
        make_recommender(kind).save(folder)


@pytest.mark.parametrize(
    'name', ['weights.pt', 'config.json', 'schema.json', 'catalogue.pt']
)
def test_missing_file(folder, kind, name):
    if kind != 'IEDR' and name == 'schema.json':
        assert not (folder / name).exists()
        return
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.replace('.', r'\.')):
        Recommender.load(folder)


def test_no_folder(tmp_path):
    for place in (tmp_path / 'none', Path(__file__)):
        with pytest.raises(FileNotFoundError, match=place.name):
            Recommender.load(place)


def test_folder_of_a_model_alone(tmp_path):
    schema = make_shop().schema
    save_model(tmp_path / 'model', make_model(schema), schema)
    with pytest.raises(FileNotFoundError, match=r'model has no catalogue.*load_model'):
        Recommender.load(tmp_path / 'model')


@pytest.mark.parametrize('share', [0.0, 0.5, 0.95])
def test_truncated_file(folder, share):
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=f'{path}'):
            Recommender.load(folder)
        path.write_bytes(content)
    Recommender.load(folder)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('name', ['weights.pt', 'catalogue.pt'])
def test_pickled_files_are_not_read(folder, name):
    torch.save(Trap(folder / 'trap'), folder / name)
    with pytest.raises(ValueError, match=rf'{folder / name} is damaged'):
        Recommender.load(folder)
    assert not (folder / 'trap').exists()


@pytest.mark.parametrize('text', ['{}', '[]', '{"model": "LightGCN", "arguments": {}}'])
def test_foreign_config(folder, text):
    (folder / 'config.json').write_text(text)
    with pytest.raises(ValueError, match=r'config\.json does not describe a model'):
        Recommender.load(folder)


def test_files_of_another_recommender(tmp_path):
    """Of another shop, whose tables are of other sizes."""
    for kind in ('IEDR', 'DICE'):
        make_recommender(kind).save(tmp_path / kind)
    few = make_shop(SALES[SALES['day'] == 'mon'])
    Recommender(make_model(few.schema), few).save(tmp_path / 'few')
    graph = BipartiteGraph.from_pandas(SALES[:7], 'customer', 'article')
    Recommender(make_bipartite('DICE', graph), graph).save(tmp_path / 'core')
    for one, other in (
        ('IEDR', 'few'),
        ('DICE', 'core'),
        ('IEDR', 'DICE'),
        ('DICE', 'IEDR'),
    ):
        message = 'another model|another schema|is damaged'
        for name in ('weights.pt', 'catalogue.pt'):
            if (other, name) == ('IEDR', 'catalogue.pt'):
                continue  # The same ids and rows.
            folder = tmp_path / f'{one}-{other}-{name}'
            shutil.copytree(tmp_path / one, folder)
            shutil.copy(tmp_path / other / name, folder)
            with pytest.raises(ValueError, match=message):
                Recommender.load(folder)

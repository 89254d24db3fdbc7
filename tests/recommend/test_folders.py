"""Model folders: what is read answers as what was written, or is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pandas.testing import assert_frame_equal
from shop import (
    BOUGHT,
    CONTEXTS,
    SALES,
    Pairs,
    every_triple,
    make_graph,
    make_model,
    make_shop,
)
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.nn import (
    DICE,
    IEDR,
    IEDR_VARIANTS,
    MF,
    ContextPopularity,
    LightGCN,
    MeanEncoder,
    Popularity,
    Repeat,
)
from iedr_geo.recommend import Recommender, load_model, save_model

SHOP, GRAPH, CONTEXT = make_shop(exclude_seen=False), make_graph(), CONTEXTS[1]
FILES = ['catalogue.pt', 'config.json', 'schema.json', 'weights.pt']


class Encoder(MeanEncoder):
    """Another name for the mean, and so another class."""


def iedr(**kwargs: Any) -> IEDR:
    return IEDR(SHOP.schema.num_embeddings, 4, 8, **kwargs)


def dice() -> DICE:
    backbone = LightGCN(5, 12, *GRAPH.adjacency(), channels=6, dropout=0.5)
    return DICE(backbone.double(), GRAPH.popularity, beta=0.2)


Make = Callable[[], torch.nn.Module]
KINDS: dict[str, tuple[Any, Make]] = {
    'IEDR': (SHOP, lambda: iedr(pointwise=True, dropout=0.5)),
    'double': (SHOP, lambda: iedr(generator='residual').double()),
    'ContextPopularity': (SHOP, lambda: ContextPopularity.fit(SHOP)),
    'Repeat': (SHOP, lambda: Repeat.fit(SHOP)),
    'MF': (GRAPH, lambda: MF(5, 12, 6)),
    'DICE': (GRAPH, dice),
    'Popularity': (GRAPH, lambda: Popularity.fit(GRAPH)),
}
# What the library cannot make, and the same state with other answers.
OWN: dict[str, tuple[Any, Make, Make]] = {
    'IEDR': (
        SHOP,
        lambda: iedr(encoder=Encoder()),
        lambda: iedr(encoder='mean', combine='sum'),
    ),
    'Pairs': (GRAPH, Pairs, lambda: Pairs(2.0)),
}


def recommender_of(kind: str) -> Recommender:
    data, make = KINDS[kind]
    return Recommender(make(), data)


def assert_same(one: Recommender, two: Recommender) -> None:
    """Compares what every method returns."""
    on_dataset = isinstance(one.data, InteractionDataset)
    context = CONTEXT if on_dataset else None
    calls: list[Callable[[Recommender], Any]] = [
        lambda r: r.recommend(30, context),
        lambda r: r.recommend_many(SALES[::3]),
        lambda r: r.explain(30, 112, context).pairs,
    ]
    if one.scorer.factor_names:
        calls.append(lambda r: r.embeddings('user', context))
    if on_dataset:
        calls.append(lambda r: r.recommend({'town': 'y'}, {'day': None, 'gift': True}))
    for call in calls:
        assert_frame_equal(call(two), call(one), check_exact=True)
    assert repr(two) == repr(one)
    assert str(two.explain(30, 112, context)) == str(one.explain(30, 112, context))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


pytestmark = [
    pytest.mark.filterwarnings(f'ignore::iedr_geo.recommend.{name}Warning')
    for name in ('ContextIgnored', 'UnknownValue')
]


@pytest.mark.parametrize('kind', KINDS)
def test_loaded_answers_alike(tmp_path, kind, device):
    recommender = recommender_of(kind)
    if device.type != 'cpu':
        recommender = Recommender(recommender.model.to(device), recommender.data)
    random = torch.get_rng_state()
    recommender.save(tmp_path / 'one')
    loaded = Recommender.load(tmp_path / 'one')
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module.training for module in loaded.model.modules())
    state = loaded.model.state_dict()
    torch.testing.assert_close(
        recommender.model.cpu().state_dict(), state, rtol=0, atol=0
    )
    # As often as one likes, and without the first folder.
    loaded.save(str(tmp_path / 'two'))
    shutil.rmtree(tmp_path / 'one')
    again = Recommender.load(str(tmp_path / 'two'))
    assert_same(recommender if device.type == 'cpu' else loaded, again)
    assert type(again.model) is type(recommender.model)
    assert again.model.config == recommender.model.config
    assert [path.name for path in tmp_path.iterdir()] == ['two']


@pytest.mark.parametrize('kind', OWN)
def test_model_of_ones_own(tmp_path, kind):
    """Takes a model like it, and no other, though its weights fit."""
    data, make, other = OWN[kind]
    recommender = Recommender(make().train(), data)
    recommender.save(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model', make().train())
    assert not any(module.training for module in loaded.model.modules())
    loaded.save(tmp_path / 'again')
    assert_same(recommender, Recommender.load(tmp_path / 'again', make()))
    for model, message in (
        (None, rf'holds a .*{kind}, which .*load\(folder, mod'),
        (other(), rf'does not score as .* was a .*{kind}: was it'),
        (torch.nn.Linear(2, 1), r'weights\.pt or config.* belongs to another'),
    ):
        with pytest.raises(ValueError, match=message):
            Recommender.load(tmp_path / 'model', model)


def test_functions_cannot_be_saved(tmp_path):
    recommender = Recommender(lambda batch: batch.item_id.float(), SHOP)
    with pytest.raises(ValueError, match='A function has no state to be saved'):
        recommender.save(tmp_path / 'model')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'ids', [[2**62 + 1, 2**53 + 1, 7], [1.0, 2.0, 0.5], [' 1', 1, 'é']]
)
def test_ids_of_any_kind(tmp_path, ids):
    edges = torch.arange(6).expand(2, -1) % 3  # Of repeated use.
    graph = BipartiteGraph(*edges, 3, 3, user_ids=ids, item_ids=ids)
    recommender = Recommender(MF(3, 3, 4), graph)
    recommender.save(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model')
    assert 'repeated=50.0%, exclude_seen=False' in repr(loaded.data)
    for one in ids:
        table, before = loaded.recommend(one), recommender.recommend(one)
        assert len(table) == 3
        # Those of several types are text in the folder.
        assert_frame_equal(table, before.astype({'item': table['item'].dtype}))


def test_seen_rows_alone_are_written(tmp_path):
    """Those that were held out are in the folder no more than in the recommender."""
    shop = make_shop(SALES.assign(label=[1, 0] + [1] * (len(SALES) - 2)), label='label')
    model, part = make_model(shop.schema), shop[: len(BOUGHT) - 12]
    part.time, part.catalogue = torch.arange(len(part)), torch.arange(7)
    Recommender(model, part).save(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model')
    assert len(loaded.recommend(17, CONTEXT, 12)) == 12
    written = InteractionDataset.load(tmp_path / 'model' / FILES[0])
    users, items = written.user.numpy(), written.item.numpy()
    pairs = zip(shop.user_ids[users], shop.item_ids[items], strict=True)
    wanted = {(str(user), str(item)) for user, item in BOUGHT[:-12]} - {('30', '5')}
    assert sorted(pairs) == sorted(wanted)
    assert written.y is written.time is written.catalogue is None


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


Damage = Callable[[Path], Any]


def cut(share: float) -> Damage:
    return lambda path: path.write_bytes(
        path.read_bytes()[: int(share * path.stat().st_size)]
    )


def write(text: str) -> Damage:
    return lambda path: path.write_text(text)


def change(**values: Any) -> Damage:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


def from_other(kind: str) -> Damage:
    """The file of the recommender of another shop, or of another kind of model."""
    return lambda path: shutil.copy(path.parent.with_name(kind) / path.name, path)


def trap(path: Path) -> None:
    torch.save(Trap(path.parent / 'trap'), path)


def shifted(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({name: tensor + 1 for name, tensor in state.items()}, path)


WITHOUT_CLASS = {'model': 'IEDR', 'arguments': {'num_embeddings': 9, 'layers': 2}}
VERSION = r'config.json describes a model folder of version {}; .* writes version 2$'
DAMAGES: list[tuple[str, str, Damage, str]] = [
    *(('IEDR', name, cut(share), name) for name in FILES for share in (0.0, 0.5)),
    *(('DICE', name, damage, name) for damage in (cut(0.9), trap)
      for name in ('catalogue.pt', 'weights.pt')),
    *(('IEDR', 'config.json', write(text), VERSION.format(None))
      for text in ('{}', '[]', '"IEDR"', 'null')),
    *(('IEDR', 'config.json', change(version=other), VERSION.format(other))
      for other in (0, 1, '0.9.1')),
    *(('IEDR', 'config.json', change(**changes), 'config.json')
      for changes in ({'model': 'IEDR'}, {'model': WITHOUT_CLASS}, {'remembered': {}},
                      {'remembered': [[1.0, 'x']]})),
    ('IEDR', 'config.json', change(model={'model': 'GPT', 'arguments': {}}), 'no model'),
    ('IEDR', 'config.json', change(data='graph'), 'catalogue.pt is damaged'),
    ('DICE', 'config.json', change(data='dataset'), 'catalogue.pt is damaged'),
    ('IEDR', 'weights.pt', shifted, 'does not score as the one that was saved'),
    *(('IEDR', name, from_other('few'), name) for name in FILES if name[:2] != 'co'),
    *(('IEDR', name, from_other('DICE'), name) for name in FILES if name[:2] != 'sc'),
    *(('IEDR', 'schema.json', write(text), 'json is damaged')
      for text in ('[]', '{"user": []}', 'null')),
    ('IEDR', 'schema.json', change(vocabulary=None), 'it was not fitted'),
]  # fmt: skip


@pytest.fixture(scope='module')
def saved(tmp_path_factory) -> Path:
    """Folders of recommenders by kind, which are not to be changed."""
    root: Path = tmp_path_factory.mktemp('saved')
    for kind in ('IEDR', 'DICE'):
        recommender_of(kind).save(root / kind)
    few = make_shop(SALES[SALES['day'] == 'mon'])
    Recommender(make_model(few.schema), few).save(root / 'few')
    return root


@pytest.mark.parametrize(('kind', 'name', 'damage', 'message'), DAMAGES)
def test_damaged_files(saved, tmp_path, kind, name, damage, message):
    """The error names the folder, and nothing in it is executed."""
    folder = shutil.copytree(saved, tmp_path / 'saved') / kind
    damage(folder / name)
    assert (folder / name).read_bytes() != (saved / kind / name).read_bytes()
    with pytest.raises(ValueError, match=rf'{folder}(?s:.*){message}'):
        Recommender.load(folder)
    assert not (folder / 'trap').exists()


@pytest.fixture
def folder(tmp_path: Path, saved: Path) -> Path:
    return Path(shutil.copytree(saved / 'IEDR', tmp_path / 'model'))


@pytest.mark.parametrize('name', FILES)
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf'{folder}.* no {name}'):
        Recommender.load(folder)
    if name in ('weights.pt', 'config.json'):
        with pytest.raises(FileNotFoundError, match=rf'not a model folder.* no {name}'):
            load_model(folder)
    else:
        load_model(folder)
    for path in (folder / 'none', Path(__file__)):
        with pytest.raises(FileNotFoundError, match=path.name):
            load_model(path)


@pytest.mark.parametrize('step', ['save', 'rename'])
@pytest.mark.parametrize('new', [True, False])
def test_failure_half_way(folder, monkeypatch, step, new):
    """The old folder stays, and no temporary one."""
    before, rename, save = content(folder), Path.rename, torch.save
    target = folder.with_name('new') if new else folder

    def half(obj: Any, path: Any) -> None:
        save(obj, path)
        os.truncate(path, 100)
        raise OSError('No space left on device')

    def rename_once(self: Path, path: Path) -> Path:
        if Path(path) == target and (self / 'weights.pt').exists():
            monkeypatch.setattr(Path, 'rename', rename)
            raise OSError('No space left on device')
        return rename(self, path)

    failing = {'save': (torch, 'save', half), 'rename': (Path, 'rename', rename_once)}
    with monkeypatch.context() as patch:
        patch.setattr(*failing[step])
        with pytest.raises(OSError, match='No space left'):
            recommender_of('IEDR').save(target)
    assert list(folder.parent.iterdir()) == [folder] and content(folder) == before


def test_replaces_an_older_folder(folder):
    """Also where a link points, and of another kind; but nothing else."""
    link = folder.with_name('link')
    link.symlink_to(folder)
    other = recommender_of('MF')
    other.save(link)
    assert link.is_symlink()
    assert_same(Recommender.load(folder), other)
    assert sorted(content(folder)) == [name for name in FILES if name != 'schema.json']
    assert folder.stat().st_mode & 0o777 == 0o755
    link.unlink()
    (folder / 'notes.txt').write_text('mine')
    before = content(folder)
    for place, error, message in (
        ('', FileExistsError, r'model is not replaced.*notes\.txt'),
        ('..', FileExistsError, 'not replaced'),
        ('notes.txt', OSError, r'notes\.txt'),
        # Below a file: root may write anywhere.
        ('notes.txt/model', OSError, 'Cannot write the model to .*model'),
        ('notes.txt/deep/model', OSError, 'Cannot write the model to .*deep/model'),
    ):
        for save in (other.save, lambda place: save_model(place, other.model)):
            with pytest.raises(error, match=message):
                save(folder / place)
    assert content(folder) == before and list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize('variant', IEDR_VARIANTS)
def test_a_model_alone(tmp_path, variant, monkeypatch):
    model = iedr(**IEDR_VARIANTS[variant])
    model.encoders['item'].load_state_dict(model.encoders['user'].state_dict())
    monkeypatch.chdir(tmp_path)
    save_model('a/b/model', model, SHOP.schema)
    folder = tmp_path / 'a' / 'b' / 'model'
    assert sorted(path.name for path in folder.iterdir()) == FILES[1:]
    weights = torch.load(folder / 'weights.pt', weights_only=True)
    assert {type(tensor) for tensor in weights.values()} == {Tensor}
    loaded, schema = load_model('a/b/model')
    assert loaded.config == model.config and schema == SHOP.schema
    assert model.training and not any(module.training for module in loaded.modules())
    batch = every_triple(SHOP)
    with torch.no_grad():
        assert torch.equal(loaded(batch), model.eval()(batch))
    assert list(folder.parent.iterdir()) == [folder]
    with pytest.raises(FileNotFoundError, match=r'model has no catalogue.*load_model'):
        Recommender.load(folder)


def test_schema_of_another_size(tmp_path):
    size = SHOP.schema.num_embeddings
    model = IEDR(size + 1, 4, 8)
    with pytest.raises(ValueError, match=f'has {size} embeddings, the model {size + 1}'):
        save_model(tmp_path / 'model', model, SHOP.schema)
    assert list(tmp_path.iterdir()) == []
    save_model(tmp_path / 'model', model)
    (tmp_path / 'model' / 'schema.json').write_text(SHOP.schema.to_json())
    with pytest.raises(ValueError, match=rf'schema\.json has {size} embeddings'):
        load_model(tmp_path / 'model')

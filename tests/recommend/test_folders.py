"""Model folders: what is read answers as what was written, or is refused."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
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
    MacridVAE,
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
    'MacridVAE': (GRAPH, lambda: MacridVAE(12, 3, 4)),
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


def save_in(folder: Path) -> Path:
    """The only folder of files in a model folder, beside its manifest and its lock."""
    *hidden, manifest, save = sorted(folder.iterdir())
    assert {path.name for path in hidden} <= {'.lock'}
    assert manifest.name == 'manifest.json' and save.is_dir()
    return save


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in save_in(folder).iterdir())


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
        assert_frame_equal(table, before)


def test_seen_rows_alone_are_written(tmp_path):
    """Those that were held out are in the folder no more than in the recommender."""
    shop = make_shop(SALES.assign(label=[1, 0] + [1] * (len(SALES) - 2)), label='label')
    model, part = make_model(shop.schema), shop[: len(BOUGHT) - 12]
    part.time, part.catalogue = torch.arange(len(part)), torch.arange(7)
    Recommender(model, part).save(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model')
    assert len(loaded.recommend(17, CONTEXT, 12)) == 12
    written = InteractionDataset.load(save_in(tmp_path / 'model') / FILES[0])
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
    return lambda path: shutil.copy(
        save_in(path.parents[1].with_name(kind)) / path.name, path
    )


def trap(path: Path) -> None:
    torch.save(Trap(path.parent / 'trap'), path)


def shifted(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({name: tensor + 1 for name, tensor in state.items()}, path)


WITHOUT_CLASS = {'model': 'IEDR', 'arguments': {'num_embeddings': 9, 'layers': 2}}
HUGE = {'model': 'IEDR', 'arguments': {'num_embeddings': 10**12}}
DAMAGES: list[tuple[str, str, Damage, str]] = [
    *(('IEDR', name, cut(share), name) for name in FILES for share in (0.0, 0.5)),
    *(('DICE', name, damage, name) for damage in (cut(0.9), trap)
      for name in ('catalogue.pt', 'weights.pt')),
    *(('IEDR', 'config.json', write(text), 'config.json')
      for text in ('{}', '[]', '"IEDR"', 'null')),
    *(('IEDR', 'config.json', change(**changes), 'config.json')
      for changes in ({'model': 'IEDR'}, {'model': WITHOUT_CLASS}, {'remembered': {}},
                      {'remembered': [[1.0, 'x']]})),
    ('IEDR', 'config.json', change(model={'model': 'GPT', 'arguments': {}}), 'no model'),
    ('IEDR', 'config.json', change(model=HUGE), 'size mismatch'),
    ('IEDR', 'config.json', change(data='graph'), 'catalogue.pt is damaged'),
    ('DICE', 'config.json', change(data='dataset'), 'catalogue.pt is damaged'),
    ('IEDR', 'weights.pt', shifted, 'does not score as the one that was saved'),
    *(('IEDR', name, from_other('few'), name) for name in FILES if name[:2] != 'co'),
    *(('IEDR', name, from_other('DICE'), name) for name in FILES if name[:2] != 'sc'),
    *(('IEDR', 'schema.json', write(text), 'json is damaged')
      for text in ('[]', '{"user": []}', 'null')),
    ('IEDR', 'schema.json', change(vocabulary=None), 'it was not fitted'),
    ('IEDR', 'schema.json', from_other('few'), r'schema\.json has .* embeddings, the'),
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
    path = save_in(folder) / name
    damage(path)
    assert path.read_bytes() != (save_in(saved / kind) / name).read_bytes()
    with pytest.raises(ValueError, match=rf'{path} is damaged: its size or SHA-256'):
        Recommender.load(folder)
    # Who means harm writes a manifest that agrees.
    with pytest.raises(ValueError, match=rf'{folder}(?s:.*){message}'):
        Recommender.load(folder, verify=False)
    assert not (path.parent / 'trap').exists()


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        *((change(version=other), rf'of version {other}; .* writes version 3$')
          for other in (None, 2, '0.9.1')),
        *((write(text), 'damaged') for text in ('', '{}', '[]', 'null', '{"format": 3}')),
        *((change(**changes), 'damaged: it does not name the files')
          for changes in ({'folder': '..'}, {'folder': 7}, {'files': ['weights.pt']},
                          {'files': {'weights.pt': {}}}, {'files': {'/dev/zero': {}}})),
    ],
)  # fmt: skip
def test_damaged_manifest(folder, damage, message):
    damage(folder / 'manifest.json')
    with pytest.raises(ValueError, match=rf'{folder}/manifest\.json .*{message}'):
        load_model(folder, verify=False)


@pytest.fixture
def folder(tmp_path: Path, saved: Path) -> Path:
    return Path(shutil.copytree(saved / 'IEDR', tmp_path / 'model'))


def test_missing_file(folder, tmp_path):
    (save_in(folder) / 'schema.json').unlink()
    with pytest.raises(FileNotFoundError, match=rf'{folder}.* no .*/schema\.json, which'):
        load_model(folder)
    (folder / 'manifest.json').unlink()
    for path in (folder, folder / 'none', Path(__file__)):
        with pytest.raises(FileNotFoundError, match=rf'{path} .* no manifest\.json'):
            load_model(path)


@pytest.mark.parametrize(('owner', 'name'), [(torch, 'save'), (Path, 'replace')])
@pytest.mark.parametrize('new', [True, False])
def test_failure_half_way(folder, monkeypatch, owner, name, new):
    """The old model stays, and nothing of the new one."""
    before, target = content(folder), folder.with_name('new') if new else folder

    def fail(first: Any, file: Any) -> None:
        file.write(b'half') if name == 'save' else None
        raise OSError('No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(OSError, match=f'Cannot write .* {target}: .*No space left'):
            recommender_of('IEDR').save(target)
    assert content(folder) == before
    assert not new or list(content(target)) == ['.lock']


def forked(call: Callable[[], Any]) -> int:
    """Calls a function in a process of its own, which ends with 0 if it returns."""
    if not hasattr(os, 'fork'):
        pytest.skip('needs a system that can fork')
    if pid := os.fork():
        return pid
    with contextlib.suppress(BaseException):
        call()
        os._exit(0)
    os._exit(1)


@pytest.mark.parametrize('stride', [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_step(folder, stride):
    """The old model or the new one is there, and nothing else after the next save."""
    old, new = recommender_of('IEDR'), recommender_of('MF')
    found: dict[Path, list[str]] = {folder: [], folder.with_name('none'): []}

    def save_until(target: Path, step: int) -> None:
        steps = iter(range(step))

        def hook(event: str, arguments: tuple) -> None:
            if str(folder.parent) in str(arguments[:1]) and next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        new.save(target)

    for target, models in found.items():
        for step in count(0, stride):
            pid = forked(lambda t=target, s=step: save_until(t, s))
            died = os.waitpid(pid, 0)[1]
            with contextlib.suppress(*[FileNotFoundError] * (target != folder)):
                models.append(type(load_model(target).model).__name__)
            if not died:
                break
            assert died == signal.SIGKILL
            old.save(target)
            save_in(target)
            if target != folder:
                shutil.rmtree(target)
        assert step > 20 and models[-1] == 'MF' and models == sorted(models)
    assert 'IEDR' in found[folder]


@pytest.mark.parametrize('loads', [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_read_while_others_save(folder, loads):
    """A reader gets one whole model or the other, and those who save take turns."""

    def save(kind: str) -> None:
        recommender = recommender_of(kind)
        while True:
            recommender.save(folder)

    pids = [forked(lambda kind=kind: save(kind)) for kind in ('MF', 'IEDR')]
    try:
        kinds = {type(Recommender.load(folder).model).__name__ for _ in range(loads)}
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            assert os.waitpid(pid, 0)[1] == signal.SIGKILL  # It was still at it.
    assert kinds == {'MF', 'IEDR'}
    recommender_of('MF').save(folder)
    save_in(folder)


def test_reads_without_writing(folder):
    (folder / '.lock').unlink()
    before = content(folder), folder.stat().st_mtime_ns
    Recommender.load(folder)
    assert (content(folder), folder.stat().st_mtime_ns) == before


def test_replaces_an_older_model(folder):
    """Also where a link points, and of another kind; but nothing else."""
    link = folder.with_name('link')
    link.symlink_to(folder)
    (folder / 'notes.txt').write_text('mine')
    other = recommender_of('MF')
    other.save(link)
    assert link.is_symlink()
    assert (folder / 'notes.txt').read_text() == 'mine'
    (folder / 'notes.txt').unlink()
    assert names(folder) == [name for name in FILES if name != 'schema.json']
    assert_same(Recommender.load(folder), other)
    link.unlink()
    foreign = folder / 'foreign'
    foreign.mkdir()
    (foreign / 'config.json').write_text('{"version": 2}')
    (foreign / 'manifest').mkdir()
    (foreign / 'manifest' / 'manifest.json').write_text('{"version": 3}')
    before = content(folder)
    for place, error, message in (
        ('foreign', FileExistsError, 'foreign is not replaced, as it is not empty: .*no'),
        (
            'foreign/manifest',
            FileExistsError,
            'manifest is not replaced.*manifest.json is',
        ),
        ('..', FileExistsError, 'not replaced'),
        ('manifest.json', OSError, r'manifest\.json'),
        # Below a file: root may write anywhere.
        ('manifest.json/model', OSError, 'Cannot write the model to .*model'),
        ('manifest.json/deep/model', OSError, 'Cannot write the model to .*deep/model'),
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
    assert names(folder) == FILES[1:]
    weights = torch.load(save_in(folder) / 'weights.pt', weights_only=True)
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

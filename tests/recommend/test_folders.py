"""Model folders: what is read answers as what was written, or is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from shop import BOUGHT, CONTEXTS, IDS, SALES, make_graph, make_model, make_shop
from torch import Tensor

from iedr_geo.data import BipartiteGraph, FeatureSchema, InteractionDataset
from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionBatch, InteractionLoader
from iedr_geo.nn import (
    DICE,
    IEDR,
    IEDR_VARIANTS,
    IPS,
    MF,
    SIGN,
    Biased,
    CausE,
    ContextPopularity,
    LightGCN,
    MeanEncoder,
    MLPGenerator,
    Popularity,
    Repeat,
)
from iedr_geo.nn.models.rebuild import MODELS
from iedr_geo.recommend import Recommender, load_model, save_model

CONTEXT = CONTEXTS[1]
FILES = ['catalogue.pt', 'config.json', 'schema.json', 'weights.pt']


class Rows(torch.nn.Module):
    """Knows users and items by their numbers, and one of each that is new."""

    def __init__(self, dataset: InteractionDataset, sign: int = 1) -> None:
        super().__init__()
        self.user = torch.nn.Embedding(dataset.num_users + 1, 4)
        self.item = torch.nn.Embedding(dataset.num_items + 1, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.sign = sign

    def forward(self, batch: InteractionBatch) -> Tensor:
        user = self.norm(self.user(batch.user_id + 1))
        return self.sign * (user * self.item(batch.item_id + 1)).sum(1)


class Pairs(torch.nn.Module):
    """The same for a graph."""

    def __init__(self, graph: BipartiteGraph, power: float = 1.0) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.rand(graph.num_users, graph.num_items))
        self.power = power

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.table[user, item] ** self.power


class Encoder(MeanEncoder):
    """Another name for the mean, and so another class."""


class Turned(IEDR):
    """Another answer by the same weights."""

    def forward(self, batch: Any) -> Tensor:
        return -super().forward(batch)


def swapped(dataset: InteractionDataset, cls: type[IEDR] = IEDR) -> IEDR:
    model = cls(dataset.schema.num_embeddings, 4, 8)
    model.encoders['item'] = Encoder()
    return model


def wider(dataset: InteractionDataset, cls: type[IEDR] = IEDR) -> IEDR:
    model = cls(dataset.schema.num_embeddings, 4, 8)
    model.encoders['user'] = SIGN(4, 16)  # A class of the library, of another size.
    return model


def iedr(dataset: InteractionDataset, **kwargs: Any) -> IEDR:
    return IEDR(dataset.schema.num_embeddings, 4, 8, **kwargs)


def lightgcn(graph: BipartiteGraph) -> LightGCN:
    size = graph.num_users, graph.num_items
    return LightGCN(*size, *graph.adjacency(), channels=6, dropout=0.5)


def mf(graph: BipartiteGraph) -> MF:
    return MF(graph.num_users, graph.num_items, 6)


Make = Callable[[Any], torch.nn.Module]
ON_DATASET: dict[str, Make] = {
    'IEDR': lambda d: iedr(d, pointwise=True, dropout=0.5),
    'double': lambda d: iedr(d, generator='residual').double(),
    'Popularity': Popularity.fit,
    'ContextPopularity': ContextPopularity.fit,
    'Repeat': Repeat.fit,
}
ON_GRAPH: dict[str, Make] = {
    'MF': mf,
    'LightGCN': lightgcn,
    'DICE': lambda g: DICE(lightgcn(g).double(), g.popularity, beta=0.2),
    'IPS': lambda g: IPS(mf(g), g.popularity, 'cnsr'),
    'CausE': lambda g: CausE(mf(g)),
    'Biased': lambda g: Biased(mf(g), user=False),
    'Popularity of a graph': Popularity.fit,
    'Repeat of a graph': Repeat.fit,
}
# What the library cannot make, and the same state with other answers.
OWN_ON_DATASET: dict[str, tuple[Make, Make]] = {
    'Rows': (Rows, lambda d: Rows(d, -1)),
    'encoder': (
        lambda d: iedr(d, encoder=Encoder()),
        lambda d: iedr(d, encoder='mean', combine='sum'),
    ),
    'generator': (
        lambda d: iedr(d, generator=MLPGenerator(4, 8)),
        lambda d: iedr(d, generator=MLPGenerator(4, 8, combine='sum')),
    ),
    'swapped': (swapped, lambda d: swapped(d, Turned)),
    'wider': (wider, lambda d: wider(d, Turned)),
    'Turned': (lambda d: Turned(d.schema.num_embeddings, 4, 8), iedr),
}
OWN_ON_GRAPH: dict[str, tuple[Make, Make]] = {
    'Pairs': (Pairs, lambda g: Pairs(g, 2.0)),
    'DICE': (lambda g: DICE(OwnMF(5, 12, 6), g.popularity), lambda g: Halved(mf(g), g)),
}


class OwnMF(MF):
    """Another class, which the library does not know."""


class Halved(DICE):
    """Half the score."""

    def __init__(self, backbone: MF, graph: BipartiteGraph) -> None:
        super().__init__(backbone, graph.popularity)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return super().score(user, item) / 2


def data_of(kind: str) -> InteractionDataset | BipartiteGraph:
    on_graph = kind in ON_GRAPH or kind in OWN_ON_GRAPH
    return make_graph() if on_graph else make_shop(exclude_seen=False)


def make(kind: str) -> Recommender:
    data = data_of(kind)
    return Recommender({**ON_DATASET, **ON_GRAPH}[kind](data), data)


def answers(recommender: Recommender) -> list[Any]:
    """What every method returns."""
    on_dataset = isinstance(recommender.data, InteractionDataset)
    context = CONTEXT if on_dataset else None
    rows = SALES.rename(columns={} if on_dataset else {'customer': 'user'})
    out = [
        recommender.recommend(30, context),
        recommender.recommend(30, context, exclude_seen=True, candidates=IDS[:7]),
        recommender.recommend_many(rows[::3]),
        recommender.score(4, 112, context),
        recommender.explain(30, 112, context),
        repr(recommender),
    ]
    if recommender.scorer.factors:
        out += [
            recommender.similar_items(40, context),
            recommender.embeddings('user', context),
        ]
    if on_dataset:
        out += [
            recommender.recommend({'town': 'y'}, context),
            recommender.recommend(30, {'day': None, 'gift': True}),
            recommender.compare_contexts(30, *CONTEXTS[1:3]),
        ]
    return out


def assert_same(one: Recommender, two: Recommender) -> None:
    for expected, actual in zip(answers(one), answers(two), strict=True):
        if isinstance(expected, pd.DataFrame):
            assert_frame_equal(actual, expected, check_exact=True)
        elif hasattr(expected, 'features'):
            assert (actual.score, actual.parts) == (expected.score, expected.parts)
            assert_frame_equal(actual.features, expected.features)
            assert_frame_equal(actual.pairs, expected.pairs)
        else:
            assert actual == expected


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


pytestmark = pytest.mark.filterwarnings(
    'ignore::iedr_geo.recommend.ContextIgnoredWarning'
)


@pytest.mark.parametrize('kind', [*ON_DATASET, *ON_GRAPH])
def test_loaded_answers_alike(tmp_path, kind, device):
    recommender = make(kind)
    if device.type != 'cpu':
        recommender = Recommender(recommender.model.to(device), recommender.data)
    random = torch.get_rng_state()
    recommender.save(tmp_path / 'one')
    loaded = Recommender.load(tmp_path / 'one')
    assert torch.equal(random, torch.get_rng_state())
    assert {tensor.device.type for tensor in loaded.model.state_dict().values()} == {
        'cpu'
    }
    assert not any(module.training for module in loaded.model.modules())
    states = recommender.model.state_dict(), loaded.model.state_dict()
    assert list(states[0]) == list(states[1])
    for name, tensor in states[0].items():
        assert tensor.dtype == states[1][name].dtype
        assert torch.equal(tensor.cpu(), states[1][name]), name
    if device.type == 'cpu':
        assert_same(recommender, loaded)
    # As often as one likes, and without the first folder.
    loaded.save(str(tmp_path / 'two'))
    shutil.rmtree(tmp_path / 'one')
    again = Recommender.load(str(tmp_path / 'two'))
    assert_same(loaded, again)
    assert type(again.model) is type(recommender.model)
    assert again.model.config == recommender.model.config
    assert [path.name for path in tmp_path.iterdir()] == ['two']


def test_every_model_of_the_library_is_read():
    known = {type(make(kind).model).__name__ for kind in (*ON_DATASET, *ON_GRAPH)}
    assert known == set(MODELS)


@pytest.mark.parametrize('kind', [*OWN_ON_DATASET, *OWN_ON_GRAPH])
def test_model_of_ones_own(tmp_path, kind):
    """Takes a model like it, and no other, though its weights fit."""
    data = data_of(kind if kind in OWN_ON_DATASET else 'Pairs')
    table = OWN_ON_DATASET if kind in OWN_ON_DATASET else OWN_ON_GRAPH
    make, other = table[kind]
    recommender = Recommender(make(data).train(), data)
    recommender.save(tmp_path / 'model')
    name = type(recommender.model).__name__
    with pytest.raises(ValueError, match=rf'holds a .*{name}, which .*load\(folder, mod'):
        Recommender.load(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model', make(data).train())
    assert not any(module.training for module in loaded.model.modules())
    assert_same(recommender, loaded)
    loaded.save(tmp_path / 'again')
    assert_same(recommender, Recommender.load(tmp_path / 'again', make(data)))
    with pytest.raises(ValueError, match=rf'does not score as .* was a .*{name}: was it'):
        Recommender.load(tmp_path / 'model', other(data))
    with pytest.raises(ValueError, match=r'weights\.pt or config.* belongs to another'):
        Recommender.load(tmp_path / 'model', torch.nn.Linear(2, 1))


def test_functions_cannot_be_saved(tmp_path):
    shop = make_shop()
    recommender = Recommender(lambda batch: batch.item_id.float(), shop)
    with pytest.raises(ValueError, match='A function has no state to be saved'):
        recommender.save(tmp_path / 'model')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'ids', [[2**62 + 1, 2**53 + 1, 7], [1.0, 2.0, 0.5], [' 1', 1, 'é']]
)
def test_ids_of_any_kind(tmp_path, ids):
    graph = BipartiteGraph(
        torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2]), 3, 3, user_ids=ids, item_ids=ids
    )
    recommender = Recommender(MF(3, 3, 4), graph)
    recommender.save(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model')
    for one in ids:
        assert_frame_equal(loaded.recommend(one), recommender.recommend(one))


def test_seen_rows_alone_are_written(tmp_path):
    """Those that were held out are in the folder no more than in the recommender."""
    shop = make_shop()
    model, part = make_model(shop.schema), shop[: len(BOUGHT) - 12]
    Recommender(model, part).save(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model')
    assert len(loaded.recommend(17, CONTEXT, 12)) == 12
    assert len(InteractionDataset.load(tmp_path / 'model' / FILES[0])) == len(
        set(BOUGHT[:-12])
    )


@pytest.fixture
def folder(tmp_path: Path, saved: Path) -> Path:
    return Path(shutil.copytree(saved / 'IEDR', tmp_path / 'model'))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def cut(share: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return change


def write(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


def change(**values: Any) -> Callable[[Path], None]:
    def merge(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return merge


def from_other(kind: str) -> Callable[[Path], None]:
    """The file of the recommender of another shop, or of another kind of model."""
    return lambda path: (
        shutil.copy(path.parent.with_name(kind) / path.name, path) and None
    )


def trap(path: Path) -> None:
    torch.save(Trap(path.parent / 'trap'), path)


def shifted(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({name: tensor + 1 for name, tensor in state.items()}, path)


# The error names another file, or the folder.
OTHER_PLACE = (shifted, change(data='dataset'))
IEDR_CONFIG = {'num_embeddings': 9, 'layers': 2}
DAMAGES: list[tuple[str, str, Callable[[Path], None]]] = [
    *((kind, name, cut(share)) for kind, share in (('IEDR', 0.5), ('DICE', 0.9))
      for name in FILES if (kind, name) != ('DICE', 'schema.json')),
    *(('IEDR', name, cut(0.0)) for name in FILES),
    *((kind, name, trap) for kind in ('IEDR', 'DICE')
      for name in ('weights.pt', 'catalogue.pt')),
    *(('IEDR', 'config.json', write(text)) for text in ('{}', '[]', '"IEDR"', 'null')),
    # Of an earlier version.
    ('IEDR', 'config.json', write('{"model": "IEDR", "arguments": {}}')),
    ('IEDR', 'config.json', change(model='IEDR')),
    ('IEDR', 'config.json', change(model={'model': 'GPT', 'arguments': {}})),
    ('IEDR', 'config.json', change(model={'model': 'IEDR', 'arguments': IEDR_CONFIG})),
    ('IEDR', 'config.json', change(remembered=[[1.0, 'x']])),
    ('IEDR', 'config.json', change(remembered={})),
    ('DICE', 'config.json', OTHER_PLACE[1]),
    ('IEDR', 'config.json', change(data='graph')),
    ('IEDR', 'weights.pt', shifted),
    ('DICE', 'weights.pt', shifted),
    *(('IEDR', name, from_other('few')) for name in ('weights.pt', *FILES[:3:2])),
    ('IEDR', 'weights.pt', from_other('DICE')),
    ('IEDR', 'config.json', from_other('DICE')),
    ('IEDR', 'catalogue.pt', from_other('DICE')),
    *(('IEDR', 'schema.json', write(text)) for text in ('[]', '{"user": []}', 'null')),
    ('IEDR', 'schema.json', change(vocabulary=None)),
]  # fmt: skip


@pytest.fixture(scope='module')
def saved(tmp_path_factory) -> Path:
    """Folders of recommenders by kind, which are not to be changed."""
    root: Path = tmp_path_factory.mktemp('saved')
    for kind in ('IEDR', 'DICE'):
        make(kind).save(root / kind)
    few = make_shop(SALES[SALES['day'] == 'mon'])
    Recommender(make_model(few.schema), few).save(root / 'few')
    return root


@pytest.mark.parametrize(('kind', 'name', 'damage'), DAMAGES)
def test_damaged_files(saved, kind, name, damage):
    """The error names the folder, and nothing in it is executed."""
    folder = saved / 'model'
    shutil.copytree(saved / kind, folder)
    try:
        damage(folder / name)
        assert (folder / name).read_bytes() != (saved / kind / name).read_bytes()
        with pytest.raises(ValueError, match=rf'{folder}') as caught:
            Recommender.load(folder)
        assert name in str(caught.value) or damage in OTHER_PLACE
        assert not (folder / 'trap').exists()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize('name', FILES)
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf'{folder}.* no {name}'):
        Recommender.load(folder)
    if name in ('weights.pt', 'config.json'):
        with pytest.raises(FileNotFoundError, match=rf'not a model folder.* no {name}'):
            load_model(folder)


def test_no_folder(tmp_path):
    for load in (load_model, Recommender.load):
        for place in (tmp_path / 'none', Path(__file__)):
            with pytest.raises(FileNotFoundError, match=place.name):
                load(place)
    save_model(tmp_path / 'model', iedr(make_shop()))
    with pytest.raises(FileNotFoundError, match=r'model has no catalogue.*load_model'):
        Recommender.load(tmp_path / 'model')


@pytest.mark.parametrize('step', ['torch.save', 'to_json', 'rename'])
@pytest.mark.parametrize('new', [True, False])
def test_failure_half_way(folder, monkeypatch, step, new):
    """The old folder stays, and no temporary one."""
    before, rename, save = content(folder), Path.rename, torch.save
    target = folder.with_name('new') if new else folder

    def full() -> None:
        raise OSError('No space left on device')

    def half(obj: Any, path: Any) -> None:
        save(obj, path)
        os.truncate(path, 100)
        full()

    def rename_once(self: Path, path: Path) -> Path:
        if Path(path) == target and (self / 'weights.pt').exists():
            monkeypatch.setattr(Path, 'rename', rename)
            full()
        return rename(self, path)

    failing = {
        'torch.save': (torch, 'save', half),
        'to_json': (FeatureSchema, 'to_json', lambda self: full()),
        'rename': (Path, 'rename', rename_once),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*failing[step])
        with pytest.raises(OSError, match='No space left'):
            make('IEDR').save(target)
    assert list(folder.parent.iterdir()) == [folder] and content(folder) == before


def test_replaces_an_older_folder(folder):
    """Also where a link points, and of another kind; but nothing else."""
    link = folder.with_name('link')
    link.symlink_to(folder)
    other = make('MF')
    other.save(link)
    assert link.is_symlink()
    assert_same(Recommender.load(folder), other)
    assert sorted(content(folder)) == [name for name in FILES if name != 'schema.json']
    link.unlink()
    (folder / 'notes.txt').write_text('mine')
    before = content(folder)
    for save in (other.save, lambda place: save_model(place, other.model)):
        with pytest.raises(FileExistsError, match=r'model is not replaced.*notes\.txt'):
            save(folder)
        with pytest.raises(FileExistsError, match='not replaced'):
            save(folder.parent)
        with pytest.raises(OSError, match=r'notes\.txt'):
            save(folder / 'notes.txt')
        for place in ('model', 'deep/model'):  # Below a file: root may write anywhere.
            with pytest.raises(OSError, match=f'Cannot write the model to .*{place}'):
                save(folder / 'notes.txt' / place)
    assert content(folder) == before and list(folder.parent.iterdir()) == [folder]


@pytest.fixture(scope='module')
def planted() -> PlantedFactors:
    return PlantedFactors(num_users=10, num_items=8, num_interactions=90)


@pytest.mark.parametrize('variant', IEDR_VARIANTS)
def test_a_model_alone(tmp_path, planted, variant, monkeypatch):
    model = iedr(planted, **IEDR_VARIANTS[variant])
    model.encoders['item'].load_state_dict(model.encoders['user'].state_dict())
    monkeypatch.chdir(tmp_path)
    save_model('a/b/model', model, planted.schema)
    folder = tmp_path / 'a' / 'b' / 'model'
    assert sorted(path.name for path in folder.iterdir()) == FILES[1:]
    weights = torch.load(folder / 'weights.pt', weights_only=True)
    assert {type(tensor) for tensor in weights.values()} == {Tensor}
    loaded, schema = load_model('a/b/model')
    assert loaded.config == model.config and schema == planted.schema
    assert model.training and not any(module.training for module in loaded.modules())
    [batch] = InteractionLoader(planted, batch_size=len(planted))
    with torch.no_grad():
        assert torch.equal(loaded(batch), model.eval()(batch))
    # Tables that are encoded with the schema mean the same rows.
    users = schema.encode('user', planted.planted.users)
    assert torch.equal(users.x, planted.users.x)
    assert list(folder.parent.iterdir()) == [folder]


def test_schema_of_another_size(tmp_path, planted):
    model = IEDR(planted.schema.num_embeddings + 1, 4, 8)
    size = planted.schema.num_embeddings
    with pytest.raises(ValueError, match=f'has {size} embeddings, the model {size + 1}'):
        save_model(tmp_path / 'model', model, planted.schema)
    assert list(tmp_path.iterdir()) == []
    save_model(tmp_path / 'model', model)
    (tmp_path / 'model' / 'schema.json').write_text(planted.schema.to_json())
    with pytest.raises(ValueError, match=rf'schema\.json has {size} embeddings'):
        load_model(tmp_path / 'model')

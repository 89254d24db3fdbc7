"""Model folders: what is read equals what was written, and nothing is half written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from iedr_geo.data import FeatureSchema, InteractionDataset
from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionLoader
from iedr_geo.nn import IEDR, IEDR_VARIANTS, SIGN, MeanEncoder
from iedr_geo.recommend import Recommender, load_model, save_model

FILES = ['config.json', 'schema.json', 'weights.pt']


@pytest.fixture(scope='module')
def dataset() -> PlantedFactors:
    return PlantedFactors(num_users=10, num_items=8, num_interactions=90)


@pytest.fixture
def model(dataset: InteractionDataset) -> IEDR:
    return IEDR(dataset.schema.num_embeddings, 4, 8)


@pytest.fixture
def folder(tmp_path: Path, model: IEDR, dataset: InteractionDataset) -> Path:
    save_model(tmp_path / 'model', model, dataset.schema)
    return tmp_path / 'model'


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_model(one: IEDR, two: IEDR) -> None:
    states = one.state_dict(), two.state_dict()
    assert list(states[0]) == list(states[1])
    for name, tensor in states[0].items():
        assert torch.equal(tensor.cpu(), states[1][name]), name


@pytest.mark.parametrize('variant', IEDR_VARIANTS)
def test_reads_what_was_written(tmp_path, dataset, variant, device):
    arguments = IEDR_VARIANTS[variant]
    model = IEDR(dataset.schema.num_embeddings, 4, 8, **arguments).to(device)
    random = torch.get_rng_state()
    save_model(tmp_path / 'model', model, dataset.schema)
    assert torch.equal(random, torch.get_rng_state())
    loaded, schema = load_model(tmp_path / 'model')
    assert_same_model(model, loaded)
    assert loaded.config == model.config
    assert schema == dataset.schema
    assert not any(module.training for module in loaded.modules())
    assert next(loaded.parameters()).device.type == 'cpu'
    assert model.training and next(model.parameters()).device.type == device.type
    [batch] = InteractionLoader(dataset, batch_size=len(dataset))
    with torch.no_grad():
        expected = model.eval().cpu()(batch)
        assert torch.equal(loaded(batch), expected)
    # Tables that are encoded with the schema mean the same rows.
    users = schema.encode('user', dataset.planted.users)
    assert torch.equal(users.x, dataset.users.x)


def test_holds_weights_and_text_alone(folder, model):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    weights = torch.load(folder / 'weights.pt', weights_only=True)
    assert {type(tensor) for tensor in weights.values()} == {torch.Tensor}
    assert json.loads((folder / 'config.json').read_text())['arguments'] == model.config
    json.loads((folder / 'schema.json').read_text())


def test_leaves_nothing_beside(folder):
    assert list(folder.parent.iterdir()) == [folder]


def test_makes_parents_and_takes_text(tmp_path, model, dataset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model('a/b/model', model, dataset.schema)
    assert_same_model(model, load_model('a/b/model').model)


def test_replaces_an_older_folder(folder, model, dataset):
    other = IEDR(dataset.schema.num_embeddings, 6, 8, pointwise=True)
    save_model(folder, other, dataset.schema)
    assert_same_model(other, load_model(folder).model)
    assert list(folder.parent.iterdir()) == [folder]
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_writes_where_a_link_points(folder, model, dataset):
    link = folder.with_name('link')
    link.symlink_to(folder)
    other = IEDR(dataset.schema.num_embeddings, 4, 8)
    save_model(link, other, dataset.schema)
    assert link.is_symlink()
    assert_same_model(other, load_model(folder).model)


def test_replaces_nothing_but_a_model(folder, model, dataset):
    """A folder with anything else in it may be somebody's work."""
    (folder / 'notes.txt').write_text('mine')
    before = content(folder)
    with pytest.raises(FileExistsError, match=r'model is not replaced.*notes\.txt'):
        save_model(folder, model, dataset.schema)
    with pytest.raises(FileExistsError, match='not replaced'):
        save_model(folder.parent, model, dataset.schema)
    with pytest.raises(OSError, match=r'notes\.txt'):
        save_model(folder / 'notes.txt', model, dataset.schema)
    assert content(folder) == before
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize('step', ['torch.save', 'to_json', 'rename'])
@pytest.mark.parametrize('new', [True, False])
def test_failure_half_way(folder, dataset, monkeypatch, step, new):
    """The old folder stays, and no temporary one."""
    other = IEDR(dataset.schema.num_embeddings, 4, 8)
    before = content(folder)
    target = folder.with_name('new') if new else folder
    save, rename = torch.save, Path.rename

    def failing_save(obj, path):
        save(obj, path)
        Path(path).write_bytes(Path(path).read_bytes()[:100])
        raise OSError('No space left on device')

    def failing_rename(self, path):
        if Path(path) == target and (self / 'weights.pt').exists():
            monkeypatch.setattr(Path, 'rename', rename)
            raise OSError('No space left on device')
        return rename(self, path)

    def failing_json(self):
        raise OSError('No space left on device')

    with monkeypatch.context() as patch:
        if step == 'torch.save':
            patch.setattr(torch, 'save', failing_save)
        elif step == 'to_json':
            patch.setattr(FeatureSchema, 'to_json', failing_json)
        else:
            patch.setattr(Path, 'rename', failing_rename)
        with pytest.raises(OSError, match='No space left'):
            save_model(target, other, dataset.schema)
    assert list(folder.parent.iterdir()) == [folder]
    assert content(folder) == before


def test_refuses_a_schema_of_another_size(folder, dataset):
    before = content(folder)
    model = IEDR(dataset.schema.num_embeddings + 1, 4, 8)
    size = dataset.schema.num_embeddings
    with pytest.raises(ValueError, match=f'{size} embeddings, the model {size + 1}'):
        save_model(folder, model, dataset.schema)
    assert content(folder) == before


@pytest.mark.parametrize('place', ['file/model', 'file/deep/model'])
def test_cannot_write(tmp_path, model, dataset, place):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=f'Cannot write the model to .*{place}'):
        save_model(tmp_path / place, model, dataset.schema)
    assert list(tmp_path.iterdir()) == [tmp_path / 'file']


@pytest.mark.parametrize('name', FILES)
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf'model is not a .* has no {name}'):
        load_model(folder)


def test_no_folder(tmp_path):
    for place in (tmp_path / 'none', Path(__file__)):
        with pytest.raises(FileNotFoundError, match='is not a model folder'):
            load_model(place)


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize('name', FILES)
def test_truncated_file(folder, name, share):
    path = folder / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=f'{path}'):
        load_model(folder)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_weights_are_not_read(folder):
    """A file that would run code when unpickled does not."""
    torch.save(Trap(folder / 'trap'), folder / 'weights.pt')
    with pytest.raises(ValueError, match=r'weights\.pt is damaged or belongs'):
        load_model(folder)
    assert not (folder / 'trap').exists()


@pytest.mark.parametrize(
    'config',
    [
        '[]',
        '{}',
        '"IEDR"',
        '{"model": "LightGCN", "arguments": {}}',
        '{"model": "IEDR"}',
        '{"model": "IEDR", "arguments": {}}',
        '{"model": "IEDR", "arguments": {"num_embeddings": 9, "layers": 2}}',
        '{"model": "IEDR", "arguments": {"num_embeddings": -9}}',
        '{"model": "IEDR", "arguments": {"num_embeddings": 9, "encoder": "gat"}}',
    ],
)
def test_foreign_config(folder, config):
    (folder / 'config.json').write_text(config)
    with pytest.raises(ValueError, match=r'config\.json does not describe an IEDR'):
        load_model(folder)


def test_weights_of_another_model(folder, tmp_path, dataset):
    other = IEDR(dataset.schema.num_embeddings, 6, 8)
    save_model(tmp_path / 'other', other, dataset.schema)
    shutil.copy(tmp_path / 'other' / 'weights.pt', folder)
    with pytest.raises(ValueError, match=r'weights\.pt is damaged or belongs'):
        load_model(folder)


@pytest.mark.parametrize('text', ['[]', '{}', '{"user": []}', '\x00', 'null'])
def test_foreign_schema(folder, text):
    (folder / 'schema.json').write_text(text)
    with pytest.raises(ValueError, match=r'schema\.json'):
        load_model(folder)


def test_schema_that_is_not_fitted(folder):
    content = json.loads((folder / 'schema.json').read_text())
    (folder / 'schema.json').write_text(json.dumps(content | {'vocabulary': None}))
    with pytest.raises(ValueError, match=r'schema\.json: .*not fitted'):
        load_model(folder)


def test_schema_of_another_size(folder, tmp_path):
    other = PlantedFactors(num_users=12, num_items=8, num_interactions=100)
    size = other.schema.num_embeddings
    save_model(tmp_path / 'other', IEDR(size, 4, 8), other.schema)
    shutil.copy(tmp_path / 'other' / 'schema.json', folder)
    with pytest.raises(ValueError, match=rf'schema\.json has {size} embeddings'):
        load_model(folder)


def test_loaded_model_ranks_alike(folder, model, dataset):
    split = dataset.split()
    lists = dataset.candidates('test', num_negatives=4)
    expected = evaluate_candidates(model, split.test, lists).metrics
    loaded = load_model(folder).model
    assert evaluate_candidates(loaded, split.test, lists).metrics == expected


@pytest.mark.parametrize('own', [torch.nn.Identity(), SIGN(4, 8), MeanEncoder()])
def test_part_of_ones_own_is_refused(tmp_path, model, dataset, own):
    """What could not be read again is not written, whether it has weights or not."""
    model.encoders['item'] = own
    if type(own) is SIGN:  # Is what the arguments make.
        save_model(tmp_path / 'model', model, dataset.schema)
        assert_same_model(load_model(tmp_path / 'model').model, model)
        return
    message = f'`encoders.item` of the model is a {type(own).__name__}'
    with pytest.raises(ValueError, match=message):
        save_model(tmp_path / 'model', model, dataset.schema)
    with pytest.raises(ValueError, match=message):
        Recommender(model, dataset).save(tmp_path / 'model')
    assert list(tmp_path.iterdir()) == []

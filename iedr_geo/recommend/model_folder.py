"""A trained model on disk: weights, constructor arguments and schema."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from iedr_geo import __version__
from iedr_geo.data import BipartiteGraph, FeatureSchema, InteractionDataset
from iedr_geo.data.schema import Side
from iedr_geo.nn import IEDR
from iedr_geo.recommend.iedr_source import IEDRSource
from iedr_geo.recommend.vector_source import VectorSource

WEIGHTS, CONFIG, SCHEMA = 'weights.pt', 'config.json', 'schema.json'
CATALOGUE = 'catalogue.pt'
FILES = {WEIGHTS, CONFIG, SCHEMA, CATALOGUE}

T = TypeVar('T')


class LoadedModel(NamedTuple):
    """What a model folder holds."""

    model: IEDR
    schema: FeatureSchema


@contextmanager
def _replaced(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a folder to write to, which then takes the place of another at once.

    It stands under a temporary name beside its place, so that it is never seen half
    written.
    """
    folder = Path(folder).resolve()
    if folder.exists():
        others = {path.name for path in folder.iterdir()} - FILES
        if others:
            raise FileExistsError(
                f'{folder} is not replaced: it holds more than a model ({min(others)})'
            )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    except OSError as error:
        raise OSError(f'Cannot write the model to {folder}: {error}') from error
    try:
        yield partial
        partial.chmod(0o755)
        if folder.exists():
            old = partial.with_name(partial.name + '.old')
            folder.rename(old)
            try:
                partial.rename(folder)
            except BaseException:
                old.rename(folder)
                raise
            shutil.rmtree(old)
        else:
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_model(folder: Path, model: IEDR, schema: FeatureSchema) -> None:
    """Writes a model that its constructor arguments can make again."""
    with torch.device('meta'):
        made = {name: type(part) for name, part in IEDR(**model.config).named_modules()}
    for name, part in model.named_modules():
        if made.get(name) is not type(part):
            raise ValueError(
                f"`{name}` of the model is a {type(part).__name__}, which IEDR's "
                f'arguments do not make: a model folder cannot hold it. Keep its '
                f'state_dict beside the code that makes the model'
            )
    _write(folder, 'IEDR', model.config, model.state_dict())
    (folder / SCHEMA).write_text(schema.to_json())


def _write(
    folder: Path, name: str, arguments: dict[str, Any], weights: dict[str, Tensor]
) -> None:
    config = {'model': name, 'version': __version__, 'arguments': arguments}
    weights = {key: tensor.detach().cpu() for key, tensor in weights.items()}
    torch.save(weights, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1))


def save_model(
    folder: str | os.PathLike[str], model: IEDR, schema: FeatureSchema
) -> None:
    """Writes a model folder: a state dict and two JSON files, nothing pickled.

    The folder is written under a temporary name beside its place and then renamed, so
    that it is never seen half written; an older one is replaced.

    Args:
        folder: Where to write.
        model: The model.
        schema: What the rows of its embedding table mean.

    Raises:
        ValueError: If model and schema do not fit each other, or the model has a part
            that is not the library's.
        OSError: If the folder cannot be written, or holds anything but a model.
    """
    if schema.num_embeddings != model.embedding.num_embeddings:
        raise ValueError(
            f'The schema has {schema.num_embeddings} embeddings, the model '
            f'{model.embedding.num_embeddings}: it was trained on another schema'
        )
    with _replaced(folder) as partial:
        _write_model(partial, model, schema)


def save_recommender(
    folder: str | os.PathLike[str], source: IEDRSource | VectorSource
) -> None:
    """Writes a model with its users, its items and what each user has seen."""
    with _replaced(folder) as partial:
        if isinstance(source, IEDRSource):
            _write_model(partial, source.model, source.dataset.schema)
            source.catalogue().save(partial / CATALOGUE)
            return
        columns = {name: [c.start, c.stop] for name, c in source.columns.items()}
        tables = {'user': source.users.vector, 'item': source.items.vector}
        _write(partial, 'vectors', {'factors': columns}, tables)
        seen = source.seen.to('cpu')
        ids = [list(source.known(side)[0]) for side in ('user', 'item')]
        catalogue = {'user': seen.user, 'item': seen.item, 'ids': json.dumps(ids)}
        torch.save(catalogue, partial / CATALOGUE)


def load_recommender(
    folder: str | os.PathLike[str], edges: Mapping[Side, Any] | None = None
) -> IEDRSource | VectorSource:
    """Reads what :func:`save_recommender` wrote, onto the CPU."""
    folder = Path(folder)
    if not (folder / CATALOGUE).is_file():
        raise FileNotFoundError(
            f'{folder} has no {CATALOGUE}: Recommender.save writes one. A model '
            f'alone takes load_model, and Recommender(model, dataset)'
        )
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f'{folder} is not a model folder: it has no {name}')
    config = _read_config(folder)
    if config['model'] == 'IEDR':
        model = load_model(folder).model
        dataset = InteractionDataset.load(folder / CATALOGUE)
        known = {**dataset.schema.edges, **(edges or {})}
        dataset.schema = replace(dataset.schema, edges=known)
        return IEDRSource(model, dataset)
    factors = _read(folder / CONFIG, lambda _: _factors(config))
    tables = _read(folder / WEIGHTS, _load)
    catalogue = _read(folder / CATALOGUE, _load)
    try:
        user_ids, item_ids = json.loads(catalogue['ids'])
        graph = BipartiteGraph(
            catalogue['user'],
            catalogue['item'],
            len(user_ids),
            len(item_ids),
            user_ids=user_ids,
            item_ids=item_ids,
        )
        return VectorSource(tables['user'], tables['item'], factors, graph)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{folder / CATALOGUE} is damaged or belongs to another model: {error}'
        ) from error


def _factors(config: dict[str, Any]) -> dict[str, slice]:
    columns = config['arguments']['factors']
    return {name: slice(*map(index, ends)) for name, ends in columns.items()}


def _load(path: Path) -> Any:
    return torch.load(path, map_location='cpu', weights_only=True)


def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except Exception as error:
        raise ValueError(f'{path} is damaged: {error}') from error


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
        if config['model'] not in ('IEDR', 'vectors'):
            raise ValueError(f"the model is '{config['model']}'")
        return config
    except Exception as error:
        raise ValueError(
            f'{folder / CONFIG} does not describe a model: {error}'
        ) from error


def load_model(folder: str | os.PathLike[str]) -> LoadedModel:
    """Reads a model folder, onto the CPU and in evaluation mode.

    Args:
        folder: What :func:`save_model` wrote.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or does not fit the others. Names the file.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CONFIG, SCHEMA):
        if not (folder / name).is_file():
            raise FileNotFoundError(f'{folder} is not a model folder: it has no {name}')
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
        if config['model'] != 'IEDR':
            raise ValueError(f"the model is '{config['model']}'")
        model = IEDR(**config['arguments'])
    except Exception as error:
        raise ValueError(
            f'{folder / CONFIG} does not describe an IEDR: {error}'
        ) from error
    try:
        model.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    except Exception as error:
        raise ValueError(
            f'{folder / WEIGHTS} is damaged or belongs to another model: {error}'
        ) from error
    try:
        schema = FeatureSchema.from_json((folder / SCHEMA).read_text())
        num_embeddings = schema.num_embeddings
    except Exception as error:
        raise ValueError(f'{folder / SCHEMA}: {error}') from error
    if num_embeddings != model.embedding.num_embeddings:
        raise ValueError(
            f'{folder / SCHEMA} has {num_embeddings} embeddings, the model '
            f'{model.embedding.num_embeddings}'
        )
    return LoadedModel(model.eval(), schema)

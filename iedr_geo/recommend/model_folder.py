"""A trained model on disk: weights, what makes the model, and its users and items."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
import torch

from iedr_geo.data import BipartiteGraph, FeatureSchema, InteractionDataset
from iedr_geo.data.columns import token
from iedr_geo.data.schema import Side
from iedr_geo.data.tables import as_own
from iedr_geo.nn.models.rebuild import describe, rebuild
from iedr_geo.scoring import Queries, scorer
from iedr_geo.scoring.agreement import agree, check_schema, num_embeddings
from iedr_geo.scoring.top_k import first_of

VERSION = 2  # Of the format.
WEIGHTS, CONFIG, SCHEMA = 'weights.pt', 'config.json', 'schema.json'
CATALOGUE = 'catalogue.pt'
FILES = {WEIGHTS, CONFIG, SCHEMA, CATALOGUE}
REMEMBERED = 4  # Users, and items of each, whose scores are kept to know the model by.
TOLERANCE = 1e-2  # Of the largest of these scores: another device rounds otherwise.

T = TypeVar('T')
Data = InteractionDataset | BipartiteGraph
_load = partial(torch.load, map_location='cpu', weights_only=True)


class LoadedModel(NamedTuple):
    """The content of a model folder.

    Args:
        model: The model, in evaluation mode.
        schema: The meaning of the rows of its embedding table, if that was saved.
    """

    model: torch.nn.Module
    schema: FeatureSchema | None


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
        new = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    except OSError as error:
        raise OSError(f'Cannot write the model to {folder}: {error}') from error
    old = new.with_name(f'{new.name}.old')
    try:
        yield new
        new.chmod(0o755)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        for path in (new, old):
            shutil.rmtree(path, ignore_errors=True)


def _write_model(
    folder: Path, model: torch.nn.Module, schema: FeatureSchema | None, **config: Any
) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ValueError(
            f'A {type(model).__name__} has no state to be saved: only modules have'
        )
    check_schema(num_embeddings(model), schema, 'The schema')
    cls = type(model)
    state = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    content = {
        'version': VERSION,
        'class': f'{cls.__module__}.{cls.__qualname__}',
        # Nothing for a model that the library does not know how to make.
        'model': describe(model),
        'trained_on': dict(getattr(model, 'trained_on', {})),
        **config,
    }
    torch.save(state, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(content, indent=1))
    if schema is not None:
        (folder / SCHEMA).write_text(schema.to_json())


def save_model(
    folder: str | os.PathLike[str],
    model: torch.nn.Module,
    schema: FeatureSchema | None = None,
) -> None:
    """Writes a model folder: a state dict and JSON files, nothing pickled.

    The folder is written under a temporary name beside its place and then renamed, so
    that it is never seen half written; an older one is replaced.

    Args:
        folder: Where to write.
        model: The model.
        schema: The meaning of the rows of its embedding table, if it has one.

    Raises:
        ValueError: If model and schema do not fit each other.
        OSError: If the folder cannot be written, or holds anything but a model.
    """
    with _replaced(folder) as new:
        _write_model(new, model, schema)


def save_recommender(
    folder: str | os.PathLike[str], model: torch.nn.Module, data: Data
) -> None:
    """Writes a model with its users, its items and what each user has seen."""
    remembered = _remembered(model, data).tolist()
    data = data.to('cpu')
    with _replaced(folder) as new:
        if isinstance(data, InteractionDataset):
            _write_model(new, model, data.schema, data='dataset', remembered=remembered)
            rows = data if data.y is None else data[data.y == 1]
            seen = rows[torch.unique(first_of(rows.user * rows.num_items + rows.item))]
            seen.y = seen.time = seen.catalogue = None
            seen.save(new / CATALOGUE)
        else:
            _write_model(new, model, None, data='graph', remembered=remembered)
            content = {
                'user': data.user,
                'item': data.item,
                'num_users': data.num_users,
                'num_items': data.num_items,
                'repeated': data.repeated,
                'exclude_seen': data.exclude_seen,
            }
            for name in ('user_ids', 'item_ids'):
                ids = pd.Index(getattr(data, name))
                texts = pd.Index(list(map(token, ids)))
                content[name] = list(texts), str(as_own(texts, ids).dtype), ids.name
            torch.save(content, new / CATALOGUE)


def _remembered(model: Any, data: Data) -> torch.Tensor:
    """Returns the scores of some pairs, by which a model is known again."""
    user = torch.arange(min(REMEMBERED, data.num_users))
    context = None if isinstance(data, BipartiteGraph) else torch.zeros_like(user)
    items = torch.arange(min(REMEMBERED, data.num_items))
    return scorer(model, data).scores(Queries(user, context), items).cpu()


def load_recommender(
    folder: str | os.PathLike[str],
    model: torch.nn.Module | None = None,
    edges: Mapping[Side, Any] | None = None,
) -> tuple[torch.nn.Module, Data]:
    """Reads what :func:`save_recommender` wrote, onto the CPU."""
    folder = Path(folder)
    if not (folder / CATALOGUE).is_file():
        raise FileNotFoundError(
            f'{folder} has no {CATALOGUE}: Recommender.save writes one. A model '
            f'alone takes load_model, and Recommender(model, data)'
        )
    model, schema = load_model(folder, model)
    config = _read_config(folder)
    data: Data
    if config.get('data') == 'graph':
        data = _read(folder / CATALOGUE, _load_graph)
    else:
        data = InteractionDataset.load(folder / CATALOGUE)
        if schema is None:
            raise FileNotFoundError(f'{folder} has no {SCHEMA}')
        if schema.to_json() != data.schema.to_json():
            raise ValueError(f'{folder / SCHEMA} is not the schema of its {CATALOGUE}')
        both = {**data.schema.edges, **(edges or {})}
        data.schema = replace(data.schema, edges=both)
    try:
        found = _remembered(model, data)
        wanted = torch.tensor(config['remembered'], dtype=found.dtype)
    except Exception as error:
        raise ValueError(
            f'{folder / CATALOGUE} or {CONFIG} is damaged or belongs to another model: '
            f'{error!r}'
        ) from error
    if found.shape != wanted.shape or not agree(found, wanted, TOLERANCE).all():
        raise ValueError(
            f'{folder}: the model does not score as the one that was saved, which was a '
            f'{config["class"]}: was it made with other arguments, or is a file damaged?'
        )
    return model, data


def _load_graph(path: Path) -> BipartiteGraph:
    content = _load(path)
    for side in ('user_ids', 'item_ids'):
        ids, dtype, name = content[side]
        content[side] = pd.Index(ids).astype(dtype).rename(name)
    return BipartiteGraph(**content)


def _load_schema(path: Path) -> FeatureSchema:
    schema = FeatureSchema.from_json(path.read_text())
    if schema.vocabulary is None:
        raise ValueError('it was not fitted')
    return schema


def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except Exception as error:
        raise ValueError(f'{path} is damaged: {error!r}') from error


def _read_config(folder: Path) -> dict[str, Any]:
    config = _read(folder / CONFIG, lambda path: json.loads(path.read_text()))
    version = config.get('version') if isinstance(config, dict) else None
    if version != VERSION:
        raise ValueError(
            f'{folder / CONFIG} describes a model folder of version {version}; this '
            f'version of iedr_geo reads and writes version {VERSION}'
        )
    return dict(config)


def load_model(
    folder: str | os.PathLike[str], model: torch.nn.Module | None = None
) -> LoadedModel:
    """Reads a model folder, onto the CPU and in evaluation mode.

    Args:
        folder: The folder that :func:`save_model` or :meth:`Recommender.save` wrote.
        model: A model like the one that was saved, whose state is replaced. Needed where
            the library does not know how to make it.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, does not fit the others or the model, or is of
            another version (names the file), or if a model is needed.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise FileNotFoundError(f'{folder} is not a model folder: it has no {name}')
    config, state = _read_config(folder), _read(folder / WEIGHTS, _load)
    try:
        if model is not None:
            model.load_state_dict(state)
            model.cpu()
        elif config['model'] is not None:
            model = rebuild(config['model'], state)
    except Exception as error:
        raise ValueError(
            f'{folder / WEIGHTS} or {CONFIG} is damaged or belongs to another model: '
            f'{error}'
        ) from error
    if model is None:
        raise ValueError(
            f'{folder} holds a {config["class"]}, which the library does not know how to '
            f'make: pass a model like it, as in load(folder, model=...)'
        )
    schema = None
    if (folder / SCHEMA).is_file():
        schema = _read(folder / SCHEMA, _load_schema)
        check_schema(num_embeddings(model), schema, str(folder / SCHEMA))
    model.trained_on = config['trained_on']
    return LoadedModel(model.eval(), schema)

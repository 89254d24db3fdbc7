"""A trained model on disk: weights, what makes the model, and its users and items."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from iedr_geo import __version__
from iedr_geo.data import BipartiteGraph, FeatureSchema, InteractionDataset
from iedr_geo.data.columns import token
from iedr_geo.data.schema import Side
from iedr_geo.nn.models.rebuild import describe, rebuild
from iedr_geo.scoring import Queries, scorer

WEIGHTS, CONFIG, SCHEMA = 'weights.pt', 'config.json', 'schema.json'
CATALOGUE = 'catalogue.pt'
FILES = {WEIGHTS, CONFIG, SCHEMA, CATALOGUE}
REMEMBERED = 4  # Users, and items of each, whose scores are kept to know the model by.
TOLERANCE = 1e-2  # Of the largest of these scores: another device rounds otherwise.
ROUNDINGS = 8  # Where rounding is coarser: as many times that of one number.

T = TypeVar('T')
Data = InteractionDataset | BipartiteGraph


class LoadedModel(NamedTuple):
    """What a model folder holds.

    Args:
        model: The model, in evaluation mode.
        schema: What the rows of its embedding table mean, if that was saved.
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


def _write_model(
    folder: Path, model: torch.nn.Module, schema: FeatureSchema | None, **config: Any
) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ValueError(
            f'A {type(model).__name__} has no state to be saved: only modules have'
        )
    _check_vocabulary(model, schema, 'The schema')
    cls = type(model)
    state = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    content = {
        'version': __version__,
        'class': f'{cls.__module__}.{cls.__qualname__}',
        # Nothing for a model that the library does not know how to make.
        'model': describe(model),
        **config,
    }
    torch.save(state, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(content, indent=1))
    if schema is not None:
        (folder / SCHEMA).write_text(schema.to_json())


def _check_vocabulary(model: Any, schema: FeatureSchema | None, name: str) -> None:
    config = getattr(model, 'config', None)
    size = config.get('num_embeddings') if isinstance(config, dict) else None
    if schema is not None and size not in (None, schema.num_embeddings):
        raise ValueError(
            f'{name} has {schema.num_embeddings} embeddings, the model {size}: it was '
            f'trained on another schema'
        )


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
        schema: What the rows of its embedding table mean, if it has one.

    Raises:
        ValueError: If model and schema do not fit each other.
        OSError: If the folder cannot be written, or holds anything but a model.
    """
    with _replaced(folder) as partial:
        _write_model(partial, model, schema)


def save_recommender(
    folder: str | os.PathLike[str], model: torch.nn.Module, data: Data
) -> None:
    """Writes a model with its users, its items and what each user has seen."""
    graph = isinstance(data, BipartiteGraph)
    with _replaced(folder) as partial:
        schema = None if isinstance(data, BipartiteGraph) else data.schema
        kind = 'graph' if graph else 'dataset'
        remembered = _remembered(model, data).tolist()
        _write_model(partial, model, schema, data=kind, remembered=remembered)
        if not isinstance(data, BipartiteGraph):
            data.save(partial / CATALOGUE)
            return
        seen = data.to('cpu')
        ids = [list(map(token, ids)) for ids in (seen.user_ids, seen.item_ids)]
        content = {'user': seen.user, 'item': seen.item, 'ids': json.dumps(ids)}
        torch.save(content, partial / CATALOGUE)


def _remembered(model: Any, data: Data) -> torch.Tensor:
    """Returns the scores of some pairs, by which a model is known again."""
    size = min(REMEMBERED, data.num_users), min(REMEMBERED, data.num_items)
    user = torch.arange(size[0])
    context = None if isinstance(data, BipartiteGraph) else torch.zeros_like(user)
    made = scorer(model, data)
    items = torch.arange(size[1], device=made.device)
    return made.scores(Queries(user, context), items).cpu()


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
        known = {**data.schema.edges, **(edges or {})}
        data.schema = replace(data.schema, edges=known)
    try:
        found = _remembered(model, data)
        wanted = torch.tensor(config['remembered'], dtype=found.dtype)
    except Exception as error:
        raise ValueError(
            f'{folder / CATALOGUE} or {CONFIG} is damaged or belongs to another model: '
            f'{error!r}'
        ) from error
    if not _alike(found, wanted):
        raise ValueError(
            f'{folder}: the model does not score as the one that was saved, which was a '
            f'{config["class"]}: was it made with other arguments, or is a file damaged?'
        )
    return model, data


def _alike(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    if found.shape != wanted.shape:
        return False
    finite = wanted[wanted.isfinite()].abs()
    share = max(TOLERANCE, ROUNDINGS * torch.finfo(wanted.dtype).eps)
    tolerance = share * (float(finite.max()) if finite.numel() else 0.0)
    return torch.allclose(
        found.double(), wanted.double(), rtol=0, atol=tolerance, equal_nan=True
    )


def _load_graph(path: Path) -> BipartiteGraph:
    content = torch.load(path, map_location='cpu', weights_only=True)
    user_ids, item_ids = json.loads(content['ids'])
    return BipartiteGraph(
        content['user'],
        content['item'],
        len(user_ids),
        len(item_ids),
        user_ids=user_ids,
        item_ids=item_ids,
    )


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
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
        config['class'], config['model']
        return config
    except Exception as error:
        raise ValueError(
            f'{folder / CONFIG} describes no model that this version knows: {error!r}'
        ) from error


def load_model(
    folder: str | os.PathLike[str], model: torch.nn.Module | None = None
) -> LoadedModel:
    """Reads a model folder, onto the CPU and in evaluation mode.

    Args:
        folder: What :func:`save_model` or :meth:`Recommender.save` wrote.
        model: A model like the one that was saved, whose state is replaced. Needed where
            the library does not know how to make it.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or does not fit the others or the model (names
            the file), or if a model is needed.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise FileNotFoundError(f'{folder} is not a model folder: it has no {name}')
    config = _read_config(folder)
    state = _read(
        folder / WEIGHTS,
        lambda path: torch.load(path, map_location='cpu', weights_only=True),
    )
    if model is None and config['model'] is None:
        raise ValueError(
            f'{folder} holds a {config["class"]}, which the library does not know how to '
            f'make: pass a model like it, as in load(folder, model=...)'
        )
    try:
        if model is None:
            model = rebuild(config['model'], state)
        else:
            model.load_state_dict(state)
            model.cpu()
    except Exception as error:
        raise ValueError(
            f'{folder / WEIGHTS} or {CONFIG} is damaged or belongs to another model: '
            f'{error}'
        ) from error
    schema = None
    if (folder / SCHEMA).is_file():
        schema = _read(folder / SCHEMA, _load_schema)
        _check_vocabulary(model, schema, str(folder / SCHEMA))
    return LoadedModel(model.eval(), schema)

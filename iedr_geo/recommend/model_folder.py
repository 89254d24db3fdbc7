"""A trained model on disk: weights, what makes the model, and its users and items.

The manifest of a folder names a folder within it, which has the files of one save. The
next save writes another one beside it and replaces the manifest, so that there is one
whole model at any moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar
from uuid import uuid4

import pandas as pd
import torch
from filelock import FileLock

from iedr_geo.data import BipartiteGraph, FeatureSchema, InteractionDataset
from iedr_geo.data.columns import token
from iedr_geo.data.files import load_tensors, replacing, save_tensors
from iedr_geo.data.schema import Side
from iedr_geo.data.tables import own_from_json, own_to_json
from iedr_geo.nn.models.rebuild import describe, rebuild
from iedr_geo.scoring import CatalogueScorer, Queries, scorer
from iedr_geo.scoring.agreement import agree, check_schema, num_embeddings
from iedr_geo.scoring.top_k import first_of

FORMAT, VERSION = 'iedr_geo model folder', 3
MANIFEST, LOCK = 'manifest.json', '.lock'
WEIGHTS, CONFIG, SCHEMA = 'weights.pt', 'config.json', 'schema.json'
CATALOGUE = 'catalogue.pt'
FILES = {WEIGHTS, CONFIG, SCHEMA, CATALOGUE}
SAVE = re.compile('save-[0-9a-f]{32}')  # The folder of one save.
OWN = re.compile(rf'{SAVE.pattern}|\{LOCK}|\.{MANIFEST}\..*\.partial')
REMEMBERED = 4  # Users, and items of each, whose scores are kept to know the model by.
TOLERANCE = 1e-2  # Of the largest of these scores: another device rounds otherwise.

T = TypeVar('T')
Data = InteractionDataset | BipartiteGraph
Files = Mapping[str, IO[bytes]]


class LoadedModel(NamedTuple):
    """The content of a model folder.

    Args:
        model: The model, in evaluation mode.
        schema: The meaning of the rows of its embedding table, if that was saved.
    """

    model: torch.nn.Module
    schema: FeatureSchema | None


def _digest(file: IO[bytes]) -> dict[str, Any]:
    """Returns the size of a file and its SHA-256, and goes back to its beginning."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    size = file.tell()
    file.seek(0)
    return {'size': size, 'sha256': digest.hexdigest()}


def _manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a folder that the library wrote, of any version."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f'{folder} is not a model folder: it has no {MANIFEST}')
    with open(path, 'rb') as file:
        content = _read_json(file)
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ValueError(f'{path} is damaged, or not of a model folder')
    return content


def _remove_strays(folder: Path) -> None:
    """Removes what was written to a folder and its manifest does not name, or not yet."""
    kept = _manifest(folder).get('folder') if (folder / MANIFEST).exists() else None
    for path in folder.iterdir():
        if OWN.fullmatch(path.name) and path.name not in (LOCK, kept):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextmanager
def _replaced(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a folder to write files to, which then are the model in another one.

    Those who write wait for each other; what a killed one has left is removed.
    """
    folder = Path(folder).resolve()
    if folder.is_dir() and not all(OWN.fullmatch(p.name) for p in folder.iterdir()):
        try:
            _manifest(folder)
        except (FileNotFoundError, ValueError) as error:
            raise FileExistsError(
                f'{folder} is not replaced, as it is not empty: {error}'
            ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK):
            _remove_strays(folder)
            try:
                new = folder / f'save-{uuid4().hex}'
                new.mkdir()
                yield new
                files = {}
                for path in new.iterdir():
                    with open(path, 'rb') as file:
                        files[path.name] = _digest(file)
                head = {'format': FORMAT, 'version': VERSION, 'folder': new.name}
                with replacing(folder / MANIFEST) as partial:
                    partial.write_text(json.dumps({**head, 'files': files}, indent=1))
            finally:
                _remove_strays(folder)
    except OSError as error:
        raise OSError(f'Cannot write the model to {folder}: {error}') from error


def _read_json(file: IO[bytes]) -> Any:
    return _read(file, lambda file: json.loads(file.read()))


def _paths(folder: Path) -> dict[Path, Any]:
    """Returns the files of the model in a folder, and what each is to be."""
    manifest = _manifest(folder)
    if manifest.get('version') != VERSION:
        raise ValueError(
            f'{folder / MANIFEST} describes a model folder of version '
            f'{manifest.get("version")}; this version of iedr_geo reads and writes '
            f'version {VERSION}'
        )
    save, files = manifest.get('folder'), manifest.get('files')
    if not (
        isinstance(save, str)
        and SAVE.fullmatch(save)
        and isinstance(files, dict)
        and {WEIGHTS, CONFIG} <= set(files) <= FILES
    ):
        raise ValueError(f'{folder / MANIFEST} is damaged: it does not name the files')
    return {folder / save / name: wanted for name, wanted in files.items()}


@contextmanager
def _opened(folder: str | os.PathLike[str], verify: bool) -> Iterator[Files]:
    """Yields the files of the model in a folder.

    They are open, so that no save takes them away any more. Nothing is written, no lock
    either.
    """
    folder = Path(folder)
    paths: dict[Path, Any] = {}
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        while not files:
            before, paths = paths, _paths(folder)
            try:
                files = {p.name: stack.enter_context(open(p, 'rb')) for p in paths}
            except FileNotFoundError as error:
                if paths == before:  # Or else there was a save in between.
                    raise FileNotFoundError(
                        f'{folder} has no {error.filename}, which its {MANIFEST} names'
                    ) from None
        if verify:
            for file, wanted in zip(files.values(), paths.values(), strict=True):
                if _digest(file) != wanted:
                    raise ValueError(
                        f'{file.name} is damaged: its size or SHA-256 is not that in '
                        f'the {MANIFEST}'
                    )
        yield files


def _content(model: torch.nn.Module, schema: FeatureSchema | None) -> dict[str, Any]:
    """Returns what is to be known of a model beside its weights."""
    if not isinstance(model, torch.nn.Module):
        advice = ''
        if isinstance(model, CatalogueScorer):
            advice = ': save a Recommender of its model, and make the scorer again'
        raise ValueError(
            f'A {type(model).__name__} has no state to be saved, which only modules '
            f'have{advice}'
        )
    check_schema(num_embeddings(model), schema, 'The schema')
    cls = type(model)
    return {
        'class': f'{cls.__module__}.{cls.__qualname__}',
        # Nothing for a model that the library does not know how to make.
        'model': describe(model),
        'trained_on': dict(getattr(model, 'trained_on', {})),
    }


def _write_model(
    folder: Path,
    model: torch.nn.Module,
    schema: FeatureSchema | None,
    content: Mapping[str, Any],
) -> None:
    state = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    save_tensors(state, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(content, indent=1))
    if schema is not None:
        (folder / SCHEMA).write_text(schema.to_json())


def save_model(
    folder: str | os.PathLike[str],
    model: torch.nn.Module,
    schema: FeatureSchema | None = None,
) -> None:
    """Writes a model folder: a state dict and JSON files, nothing pickled.

    Whoever reads it meanwhile gets the model that was there or the new one. Several
    processes that write it do so one after the other.

    Args:
        folder: Where to write. An older model is replaced.
        model: The model.
        schema: The meaning of the rows of its embedding table, if it has one.

    Raises:
        ValueError: If model and schema do not fit each other.
        OSError: If the folder cannot be written, or holds something and no model.
    """
    content = _content(model, schema)
    with _replaced(folder) as new:
        _write_model(new, model, schema, content)


def save_recommender(
    folder: str | os.PathLike[str], model: torch.nn.Module, data: Data
) -> None:
    """Writes a model with its users, its items and what each user has seen."""
    remembered = _remembered(model, data).tolist()
    data = data.to('cpu')
    schema = data.schema if isinstance(data, InteractionDataset) else None
    content = _content(model, schema)
    content['data'] = 'graph' if schema is None else 'dataset'
    content['remembered'] = remembered
    with _replaced(folder) as new:
        _write_model(new, model, schema, content)
        if isinstance(data, InteractionDataset):
            rows = data if data.y is None else data[data.y == 1]
            seen = rows[torch.unique(first_of(rows.user * rows.num_items + rows.item))]
            seen.y = seen.time = seen.catalogue = None
            seen.save(new / CATALOGUE)
        else:
            graph = {
                'user': data.user,
                'item': data.item,
                'repeated': data.repeated,
                'exclude_seen': data.exclude_seen,
            }
            for name in ('user_ids', 'item_ids'):
                ids = getattr(data, name)
                texts = pd.Index(list(map(token, ids)))
                graph[name] = list(texts), own_to_json(texts, ids), ids.name
            save_tensors(graph, new / CATALOGUE)


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
    verify: bool = True,
) -> tuple[torch.nn.Module, Data]:
    """Reads what :func:`save_recommender` wrote, onto the CPU."""
    with _opened(folder, verify) as files:
        if CATALOGUE not in files:
            raise FileNotFoundError(
                f'{folder} has no {CATALOGUE}: Recommender.save writes one. A model '
                f'alone takes load_model, and Recommender(model, data)'
            )
        config = _config(files)
        model, schema = _read_model(files, config, model, folder)
        file = files[CATALOGUE]
        data: Data
        if config.get('data') == 'graph':
            data = _read(file, _load_graph)
        else:
            data = InteractionDataset.load(file, verify=False)
            if schema is None:
                raise FileNotFoundError(f'{folder} has no {SCHEMA}')
            if schema.to_json() != data.schema.to_json():
                raise ValueError(
                    f'{files[SCHEMA].name} is not the schema of its {CATALOGUE}'
                )
            both = {**data.schema.edges, **(edges or {})}
            data.schema = replace(data.schema, edges=both)
    try:
        found = _remembered(model, data)
        wanted = torch.tensor(config['remembered'], dtype=found.dtype)
    except Exception as error:
        raise ValueError(
            f'{file.name} or {CONFIG} is damaged or belongs to another model: {error!r}'
        ) from error
    if found.shape != wanted.shape or not agree(found, wanted, TOLERANCE).all():
        raise ValueError(
            f'{folder}: the model does not score as the one that was saved, which was a '
            f'{config["class"]}: was it made with other arguments, or is a file damaged?'
        )
    return model, data


def _load_graph(file: IO[bytes]) -> BipartiteGraph:
    content = load_tensors(file, verify=False)
    for side in ('user', 'item'):
        ids, own, name = content[f'{side}_ids']
        content[f'{side}_ids'] = own_from_json(pd.Index(ids), own).rename(name)
        content[f'num_{side}s'] = len(ids)
    return BipartiteGraph(**content)


def _load_schema(file: IO[bytes]) -> FeatureSchema:
    schema = FeatureSchema.from_json(file.read().decode())
    if schema.vocabulary is None:
        raise ValueError('it was not fitted')
    return schema


def _read(file: IO[bytes], read: Callable[[IO[bytes]], T]) -> T:
    try:
        return read(file)
    except Exception as error:
        raise ValueError(f'{file.name} is damaged: {error!r}') from error


def _config(files: Files) -> dict[str, Any]:
    config = _read_json(files[CONFIG])
    if not (isinstance(config, dict) and {'class', 'model', 'trained_on'} <= set(config)):
        raise ValueError(f'{files[CONFIG].name} is damaged: it describes no model')
    return config


def load_model(
    folder: str | os.PathLike[str],
    model: torch.nn.Module | None = None,
    verify: bool = True,
) -> LoadedModel:
    """Reads a model folder, onto the CPU and in evaluation mode.

    Nothing is written: the folder may be one that can be read only.

    Args:
        folder: The folder that :func:`save_model` or :meth:`Recommender.save` wrote.
        model: A model like the one that was saved, whose state is replaced. Needed where
            the library does not know how to make it.
        verify: If :obj:`True`, sizes and checksums of all files are compared, which takes
            the time of reading them once more.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, does not fit the others or the model, or is of
            another version (names the file), or if a model is needed.
    """
    with _opened(folder, verify) as files:
        return _read_model(files, _config(files), model, folder)


def _read_model(
    files: Files,
    config: Mapping[str, Any],
    model: torch.nn.Module | None,
    folder: str | os.PathLike[str],
) -> LoadedModel:
    state = load_tensors(files[WEIGHTS], verify=False)
    trained_on: Any
    try:
        trained_on = dict(config['trained_on'])
        if model is not None:
            model.load_state_dict(state)
            model.cpu()
        elif config['model'] is not None:
            model = rebuild(config['model'], state)
    except Exception as error:
        raise ValueError(
            f'{files[WEIGHTS].name} or {CONFIG} is damaged or belongs to another model: '
            f'{error}'
        ) from error
    if model is None:
        raise ValueError(
            f'{folder} holds a {config["class"]}, which the library does not know how to '
            f'make: pass a model like it, as in load(folder, model=...)'
        )
    schema = None
    if SCHEMA in files:
        schema = _read(files[SCHEMA], _load_schema)
        check_schema(num_embeddings(model), schema, str(files[SCHEMA].name))
    model.trained_on = trained_on
    return LoadedModel(model.eval(), schema)

"""A trained model on disk: weights, constructor arguments and schema."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from iedr_geo import __version__
from iedr_geo.data import FeatureSchema
from iedr_geo.nn import IEDR

WEIGHTS, CONFIG, SCHEMA = 'weights.pt', 'config.json', 'schema.json'


class LoadedModel(NamedTuple):
    """What a model folder holds."""

    model: IEDR
    schema: FeatureSchema


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
        ValueError: If model and schema do not fit each other.
        OSError: If the folder cannot be written, or holds anything but a model.
    """
    if schema.num_embeddings != model.embedding.num_embeddings:
        raise ValueError(
            f'The schema has {schema.num_embeddings} embeddings, the model '
            f'{model.embedding.num_embeddings}: it was trained on another schema'
        )
    folder = Path(folder).resolve()
    if folder.exists():
        others = {path.name for path in folder.iterdir()} - {WEIGHTS, CONFIG, SCHEMA}
        if others:
            raise FileExistsError(
                f'{folder} is not replaced: it holds more than a model ({min(others)})'
            )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    except OSError as error:
        raise OSError(f'Cannot write the model to {folder}: {error}') from error
    config = {'model': 'IEDR', 'version': __version__, 'arguments': model.config}
    try:
        weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
        torch.save(weights, partial / WEIGHTS)
        (partial / CONFIG).write_text(json.dumps(config, indent=1))
        (partial / SCHEMA).write_text(schema.to_json())
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

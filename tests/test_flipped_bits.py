"""A bit that flipped anywhere in a file is an error that names the file, or nothing."""

from __future__ import annotations

import resource
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from raw_files import ARCHIVE, write
from shop import CONTEXTS, SALES, make_graph, make_model, make_shop
from training_runs import assert_same, clicks_module, run

from iedr_geo.data import InteractionDataset
from iedr_geo.data.files import load_tensors
from iedr_geo.datasets import MovieLens1M, MovieLens100K
from iedr_geo.nn import DICE, MF
from iedr_geo.recommend import Recommender

RATINGS = {'ratings.dat': '1::5::3::97\n2::5::4::98\n2::7::1::99\n'}


def recommender(kind: str, folder: Path) -> tuple[Path, Callable[[], Any]]:
    shop, graph = make_shop(), make_graph()
    made = (
        Recommender(make_model(shop.schema, dropout=0.5), shop)
        if kind == 'shop'
        else Recommender(DICE(MF(5, 12, 4), graph.popularity), graph)
    )
    made.save(folder / 'model')

    def read() -> Any:
        loaded = Recommender.load(folder / 'model')
        table = loaded.recommend(30, CONTEXTS[0] if kind == 'shop' else None)
        many = loaded.recommend_many(SALES[:3])
        return loaded.model.state_dict(), *(t.to_dict('list') for t in (table, many))

    return folder / 'model', read


def dataset(folder: Path) -> tuple[Path, Callable[[], Any]]:
    make_shop().save(folder / 'dataset.pt')

    def read() -> Any:
        InteractionDataset.load(folder / 'dataset.pt').save(folder / 'again.pt')
        return load_tensors(folder / 'again.pt')

    return folder / 'dataset.pt', read


def cache(cls: Any, files: dict, folder: Path) -> tuple[Path, Callable[[], Any]]:
    """A damaged one is made again."""
    root = write(folder, files)
    [path] = map(Path, cls(root).processed_paths)

    def read() -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', f'(?s:.*){path.name} is damaged')
            loaded = cls(root)
        if isinstance(loaded, InteractionDataset):
            loaded.save(folder / 'again.pt')
            return load_tensors(folder / 'again.pt')
        return loaded[0].to_dict()

    return path, read


def checkpoint(folder: Path) -> tuple[Path, Callable[[], Any]]:
    run(clicks_module('dice'), folder, max_epochs=1)
    return folder / 'last.ckpt', lambda: load_tensors(folder / 'last.ckpt')


MAKE: dict[str, Callable[[Path], tuple[Path, Callable[[], Any]]]] = {
    'recommender': lambda folder: recommender('shop', folder),
    'graph': lambda folder: recommender('graph', folder),
    'dataset': dataset,
    'log': lambda folder: cache(MovieLens100K, ARCHIVE, folder),
    'cache': lambda folder: cache(MovieLens1M, RATINGS, folder),
    'checkpoint': checkpoint,
}


def outcomes(place: Path, read: Callable[[], Any], bits: Iterable[int]) -> list[bool]:
    """Whether each bit, counted over all files in a place, was found out."""
    files = [path for path in sorted(place.rglob('*')) if path.is_file()] or [place]
    contents = {path: path.read_bytes() for path in files if path.name != '.lock'}
    wanted, found = read(), []
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for bit in bits:
        path = list(contents)[bit % len(contents)]
        content = bytearray(contents[path])
        place_of_byte, number = divmod(bit // len(contents) % (8 * len(content)), 8)
        content[place_of_byte] ^= 1 << number
        path.write_bytes(content)
        try:
            assert_same(read(), wanted)
            found.append(False)
        except (ValueError, FileNotFoundError) as error:
            assert str(place) in str(error), (path, place_of_byte, number)
            found.append(True)
        finally:
            path.write_bytes(contents[path])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < 1e5  # In kilobytes: nothing asked for what a damaged size says.
    return found


@pytest.mark.parametrize('kind', MAKE)
@pytest.mark.parametrize('flips', [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_flipped_bits(tmp_path, kind, flips):
    random = Random(kind)
    found = outcomes(
        *MAKE[kind](tmp_path), [random.getrandbits(62) for _ in range(flips)]
    )
    assert kind in ('cache', 'log') or any(found)


def test_directory_of_a_file(tmp_path):
    """What a file says of a part: torch leaves memory as it is for a marked folder."""
    path, _ = dataset(tmp_path)
    content = path.read_bytes()
    entry = content.rindex(b'PK\1\2', 0, content.rindex(b'/data/1'))
    bits = range(8 * entry, 8 * (entry + 46))
    assert any(outcomes(path, lambda: load_tensors(path), bits))

"""Imports go one way, and importing the library loads no optional package."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / 'iedr_geo'

# What each subpackage imports of those above it ...
ALLOWED = {
    '__init__': '',
    'transforms': '',
    'metrics': '',
    'data': 'transforms',
    'datasets': 'data',
    'loader': 'data',
    'nn': '',
    'scoring': 'data loader nn',
    'evaluation': 'metrics data loader scoring',
    'training': 'metrics data loader nn scoring evaluation',
    'recommend': 'data loader nn scoring',
    'testing': 'data loader nn scoring',
    'analysis': 'metrics data nn scoring evaluation recommend',
}
# ... and what besides under `if TYPE_CHECKING:`.
ALLOWED_TYPES = {'nn': 'data loader'}
# All of it, as (importing subpackage, imported one, whether for types alone).
GRANTED = {
    (room, target, typing_only)
    for typing_only, table in ((False, ALLOWED), (True, ALLOWED_TYPES))
    for room, targets in table.items()
    for target in targets.split()
}

OPTIONAL = {'lightning', 'pytorch_lightning', 'matplotlib', 'pytest', 'sklearn'}


def walk(node: ast.AST, typing_only: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    yield node, typing_only
    guard = isinstance(node, ast.If) and ast.unparse(node.test).endswith('TYPE_CHECKING')
    for child in ast.iter_child_nodes(node):
        yield from walk(child, typing_only or (guard and child in node.body))


def imports(source: str, path: str) -> Iterator[tuple[int, tuple[str, str, bool]]]:
    """Yields lines and imports of other subpackages, of a module by its path."""
    package = '.'.join(Path(path).parent.parts)
    room = Path(path).with_suffix('').parts[1]
    for node, typing_only in walk(ast.parse(source)):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        module = ''
        if isinstance(node, ast.ImportFrom):
            module = resolve_name('.' * node.level + (node.module or ''), package) + '.'
        for alias in node.names:
            top, target, *_ = f'{module}{alias.name}.'.split('.')
            is_module = (ROOT / target).is_dir() or (ROOT / f'{target}.py').is_file()
            if top == 'iedr_geo' and target not in ('', room) and is_module:
                yield node.lineno, (room, target, typing_only)


def violations(source: str, path: str) -> list[str]:
    """Lists what the module must not import."""
    room = Path(path).with_suffix('').parts[1]
    if room not in ALLOWED:
        return [f"{path}: '{room}' is not in the table of subpackages"]
    return [
        f"{path}:{line}: '{room}' must not import 'iedr_geo.{target}'"
        for line, (_, target, typing_only) in imports(source, path)
        if not {(room, target, False), (room, target, typing_only)} & GRANTED
    ]


def unused(sources: dict[str, str]) -> set[tuple[str, str, bool]]:
    """Returns what is granted that none of the modules imports."""
    used = (imports(source, path) for path, source in sources.items())
    return GRANTED - {found for each in used for _, found in each}


def test_imports_go_one_way():
    sources = {
        path.relative_to(ROOT.parent).as_posix(): path.read_text(encoding='utf-8')
        for path in sorted(ROOT.rglob('*.py'))
    }
    found = [
        line for path, source in sources.items() for line in violations(source, path)
    ]
    assert not found, '\n'.join(['', *found])
    assert not unused(sources)
    rooms = list(ALLOWED)
    assert all(rooms.index(target) < rooms.index(room) for room, target, _ in GRANTED)


@pytest.mark.parametrize(
    ('path', 'source', 'grant'),
    [
        ('iedr_geo/evaluation/compare.py', 'from iedr_geo.scoring import top_k',
         ('evaluation', 'scoring', False)),
        ('iedr_geo/nn/models/mf.py',
         'if TYPE_CHECKING:\n    from iedr_geo.loader import EdgeBatch',
         ('nn', 'loader', True)),
    ],
)  # fmt: skip
def test_finds_what_nobody_uses(path, source, grant):
    assert unused({}) == GRANTED
    assert unused({path: source}) == GRANTED - {grant}


@pytest.mark.parametrize(
    ('allowed', 'source'),
    [
        (False, 'import iedr_geo.datasets'),
        (False, 'import torch, iedr_geo.datasets.frappe as frappe'),
        (False, 'from iedr_geo import datasets'),
        (False, 'from iedr_geo.datasets.frappe import Frappe'),
        (False, 'from ... import datasets'),
        (False, 'from ...datasets import Frappe'),
        (False, 'def f():\n    from ...datasets.frappe import Frappe'),
        (False, 'if TYPE_CHECKING:\n    from iedr_geo.datasets import Frappe'),
        (False, 'from iedr_geo.data import FeatureSchema'),
        (
            False,
            'if TYPE_CHECKING:\n    pass\nelse:\n    from iedr_geo.data import schema',
        ),
        (True, 'import torch.nn'),
        (True, 'from iedr_geo import __version__'),
        (True, 'from . import sign_conv'),
        (True, 'from ..encoder.sign import SIGN'),
        (True, 'from iedr_geo.nn.encoder import SIGN'),
        (True, 'if TYPE_CHECKING:\n    from iedr_geo.data import FeatureSchema'),
        (True, 'if typing.TYPE_CHECKING:\n    from ...loader import InteractionBatch'),
    ],
)
def test_finds_what_is_not_allowed(allowed, source):
    path = 'iedr_geo/nn/conv/sign_conv.py'
    found = violations(source, path)
    line = source.count('\n') + 1
    assert len(found) == (0 if allowed else 1)
    assert all(it.startswith(f"{path}:{line}: 'nn' must not") for it in found)


@pytest.mark.parametrize('file', ['utils.py', 'utils/tensors.py'])
def test_unknown_subpackage(file):
    path = f'iedr_geo/{file}'
    assert violations('', path) == [f"{path}: 'utils' is not in the table of subpackages"]


def test_import_loads_no_optional_package():
    # Training is Lightning's.
    rooms = [f'iedr_geo.{n}' for n in ALLOWED if n not in ('__init__', 'training')]
    loaded = subprocess.run(
        [sys.executable, '-c', f'import sys, {", ".join(rooms)}; print(*sys.modules)'],
        cwd=ROOT.parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split()
    assert OPTIONAL.isdisjoint(loaded)

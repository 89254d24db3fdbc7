"""Imports go one way, and importing the library loads no optional package."""

import ast
import subprocess
import sys
from collections.abc import Iterator
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


def imports(source: str, room: str) -> Iterator[tuple[str, str, bool]]:
    """Yields what a module of a subpackage imports of others."""
    tree = ast.parse(source)
    typing_only = {
        node
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and 'TYPE_CHECKING' in ast.unparse(guard.test)
        for statement in guard.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'imports are absolute'
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            top, target, *_ = f'{name}.'.split('.')
            if top == 'iedr_geo' and target in ALLOWED.keys() - {room}:
                yield room, target, node in typing_only


def test_imports_go_one_way():
    found = set()
    for path in sorted(ROOT.rglob('*.py')):
        room = path.relative_to(ROOT).with_suffix('').parts[0]
        assert room in ALLOWED, path
        found |= set(imports(path.read_text(encoding='utf-8'), room))
    # What is granted at run time may be imported for types alone as well.
    types = {(room, target, True) for room, target, _ in GRANTED}
    assert not found - GRANTED - types
    assert not GRANTED - found, 'nobody uses it'
    rooms = list(ALLOWED)
    assert all(rooms.index(target) < rooms.index(room) for room, target, _ in GRANTED)


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('import torch, iedr_geo.data.schema as schema', [('data', False)]),
        ('from iedr_geo import data, nn, __version__', [('data', False)]),
        ('def f():\n    from iedr_geo.data import Schema', [('data', False)]),
        (
            'if typing.TYPE_CHECKING:\n    import iedr_geo.data\n'
            'else:\n    import iedr_geo.loader',
            [('data', True), ('loader', False)],
        ),
        ('import torch.nn\nfrom iedr_geo.nn.encoder import SIGN', []),
    ],
)
def test_finds_imports(source, expected):
    assert list(imports(source, 'nn')) == [('nn', *each) for each in expected]


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

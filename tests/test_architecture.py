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

OPTIONAL = {'lightning', 'pytorch_lightning', 'matplotlib', 'pytest', 'sklearn'}


def _walk(node: ast.AST, typing_only: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    yield node, typing_only
    guard = isinstance(node, ast.If) and ast.unparse(node.test).endswith('TYPE_CHECKING')
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, typing_only or (guard and field == 'body'))


def _is_module(name: str) -> bool:
    file = ROOT / f'{name}.py'
    return bool(name) and (name in ALLOWED or (ROOT / name).is_dir() or file.is_file())


def read_imports(source: str, package: str) -> Iterator[tuple[int, str, bool]]:
    """Yields line, subpackage and whether only for types, for imports of iedr_geo."""
    for node, typing_only in _walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name('.' * node.level + (node.module or ''), package)
            names = [f'{module}.{alias.name}' for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition('.')
            target = rest.partition('.')[0]
            if top == 'iedr_geo' and _is_module(target):
                yield node.lineno, target, typing_only


def _room(path: str) -> tuple[str, str]:
    """Returns the subpackage of a module, relative to the checkout, and its package."""
    _, *folders, file = Path(path).parts
    return folders[0] if folders else Path(file).stem, '.'.join(['iedr_geo', *folders])


def find_violations(source: str, path: str) -> list[str]:
    """Lists what the module at `path`, relative to the checkout, must not import."""
    name, package = _room(path)
    if name not in ALLOWED:
        return [f"{path}: '{name}' is not in the table of subpackages"]
    allowed = {name, *ALLOWED[name].split()}
    types = ALLOWED_TYPES.get(name, '').split()
    return [
        f"{path}:{line}: '{name}' must not import 'iedr_geo.{target}'"
        for line, target, typing_only in read_imports(source, package)
        if target not in allowed and not (typing_only and target in types)
    ]


def find_unused(sources: dict[str, str]) -> list[str]:
    """Lists what is granted that none of the modules imports; they go by their paths."""
    granted = {
        (name, target, typing_only)
        for table, typing_only in ((ALLOWED, False), (ALLOWED_TYPES, True))
        for name, targets in table.items()
        for target in targets.split()
    }
    for path, source in sources.items():
        name, package = _room(path)
        for _, target, typing_only in read_imports(source, package):
            granted.discard((name, target, typing_only))
    return [
        f"'{name}' imports no 'iedr_geo.{target}'{' for types' if typing_only else ''}"
        for name, target, typing_only in sorted(granted)
    ]


@pytest.fixture(scope='module')
def sources() -> dict[str, str]:
    return {
        path.relative_to(ROOT.parent).as_posix(): path.read_text(encoding='utf-8')
        for path in sorted(ROOT.rglob('*.py'))
    }


def test_imports_go_one_way(sources: dict[str, str]):
    found = [find_violations(source, path) for path, source in sources.items()]
    violations = [line for lines in found for line in lines]
    assert not violations, '\n'.join(['', *violations])
    rooms = list(ALLOWED)
    for name, targets in ALLOWED.items():
        assert set(targets.split()) <= set(rooms[: rooms.index(name)])


def test_no_import_is_granted_that_nobody_uses(sources: dict[str, str]):
    assert find_unused(sources) == []


@pytest.mark.parametrize(
    ('path', 'source', 'line'),
    [
        (
            'iedr_geo/evaluation/compare.py',
            'from iedr_geo.scoring import top_k',
            "'evaluation' imports no 'iedr_geo.scoring'",
        ),
        (
            'iedr_geo/nn/models/mf.py',
            'if TYPE_CHECKING:\n    from iedr_geo.loader import EdgeBatch',
            "'nn' imports no 'iedr_geo.loader' for types",
        ),
    ],
)
def test_finds_what_nobody_uses(path: str, source: str, line: str):
    assert line in find_unused({})
    assert set(find_unused({})) - set(find_unused({path: source})) == {line}


@pytest.mark.parametrize(
    'source',
    [
        'import iedr_geo.datasets',
        'import torch, iedr_geo.datasets.frappe as frappe',
        'from iedr_geo import datasets',
        'from iedr_geo.datasets.frappe import Frappe',
        'from ... import datasets',
        'from ...datasets import Frappe',
        'def f():\n    from ...datasets.frappe import Frappe',
        'if TYPE_CHECKING:\n    from iedr_geo.datasets import Frappe',
        'from iedr_geo.data import FeatureSchema',
        'if TYPE_CHECKING:\n    pass\nelse:\n    from iedr_geo.data import schema',
    ],
)
def test_finds_what_is_not_allowed(source: str):
    [violation] = find_violations(source, 'iedr_geo/nn/conv/sign_conv.py')
    line = source.count('\n') + 1
    assert violation.startswith(f"iedr_geo/nn/conv/sign_conv.py:{line}: 'nn' must not")


@pytest.mark.parametrize(
    'source',
    [
        'import torch.nn',
        'from iedr_geo import __version__',
        'from . import sign_conv',
        'from ..encoder.sign import SIGN',
        'from iedr_geo.nn.encoder import SIGN',
        'if TYPE_CHECKING:\n    from iedr_geo.data import FeatureSchema',
        'if typing.TYPE_CHECKING:\n    from ...loader import InteractionBatch',
    ],
)
def test_finds_nothing_in_what_is_allowed(source: str):
    assert find_violations(source, 'iedr_geo/nn/conv/sign_conv.py') == []


@pytest.mark.parametrize('path', ['iedr_geo/utils.py', 'iedr_geo/utils/tensors.py'])
def test_unknown_subpackage(path: str):
    assert find_violations('', path) == [
        f"{path}: 'utils' is not in the table of subpackages"
    ]


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

"""Imports go one way, and importing the library loads no optional package."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / 'iedr_geo'

# What each subpackage may import of the others ...
ALLOWED = {
    '__init__': '',
    'transforms': '',
    'data': 'transforms',
    'datasets': 'data transforms',
    'loader': 'data transforms',
    'nn': 'transforms',
    'metrics': '',
    'evaluation': 'data loader metrics',
    'recommend': 'data transforms loader metrics evaluation nn',
    'training': 'data transforms datasets loader metrics evaluation nn recommend',
    'testing': 'data loader nn',
    'analysis': (
        'data transforms datasets loader metrics evaluation nn recommend training testing'
    ),
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


def find_violations(source: str, path: str) -> list[str]:
    """Lists what the module at `path`, relative to the checkout, must not import."""
    _, *folders, file = Path(path).parts
    name = folders[0] if folders else Path(file).stem
    if name not in ALLOWED:
        return [f"{path}: '{name}' is not in the table of subpackages"]
    allowed = {name, *ALLOWED[name].split()}
    types = ALLOWED_TYPES.get(name, '').split()
    return [
        f"{path}:{line}: '{name}' must not import 'iedr_geo.{target}'"
        for line, target, typing_only in read_imports(
            source, '.'.join(['iedr_geo', *folders])
        )
        if target not in allowed and not (typing_only and target in types)
    ]


def test_imports_go_one_way():
    violations = []
    for path in sorted(ROOT.rglob('*.py')):
        relative = path.relative_to(ROOT.parent).as_posix()
        violations += find_violations(path.read_text(encoding='utf-8'), relative)
    assert not violations, '\n'.join(['', *violations])


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


@pytest.mark.parametrize(
    'names', ['', 'data nn', 'transforms datasets loader', 'recommend analysis testing']
)
def test_import_loads_no_optional_package(names: str):
    present = [name for name in names.split() if (ROOT / name).is_dir()]
    modules = ', '.join(['iedr_geo', *(f'iedr_geo.{name}' for name in present)])
    loaded = subprocess.run(
        [sys.executable, '-c', f'import sys, {modules}; print(*sys.modules)'],
        cwd=ROOT.parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split()
    assert OPTIONAL.isdisjoint(loaded)

"""How many small faults in the library do its tests catch?

`draw` draws faults from a tree: a comparison turned round, a sum made a difference, a
number one larger, a condition negated, an argument left out. `run` puts each of them
into a copy of a tree, runs the tests of its room and records which fail. A fault names
its file and the statement it is in, so that it can be carried over to another version of
the code: `file`, `before` and `after` are then written anew, and `gone` says why a fault
has no place any more.

    python benchmarks/mutations.py draw --seed 0 --number 60 faults.json
    python benchmarks/mutations.py run faults.json --tree . --json caught.json
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SWAPPED = {
    ast.Lt: '<=',
    ast.LtE: '<',
    ast.Gt: '>=',
    ast.GtE: '>',
    ast.Eq: '!=',
    ast.NotEq: '==',
    ast.Is: 'is not',
    ast.IsNot: 'is',
    ast.In: 'not in',
    ast.NotIn: 'in',
    ast.Add: '-',
    ast.Sub: '+',
    ast.Mult: '/',
    ast.Div: '*',
    ast.FloorDiv: '*',
    ast.And: 'or',
    ast.Or: 'and',
    ast.BitAnd: '|',
    ast.BitOr: '&',
}


def faulty(node: ast.AST) -> Iterator[ast.AST]:
    """The forms of one node that are wrong, each as an expression to parse again."""
    text = ast.unparse(node)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        yield ast.parse(f'({left}) {SWAPPED[type(node.ops[0])]} ({right})').body[0].value
    elif isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
        left, right = ast.unparse(node.left), ast.unparse(node.right)
        if not any('"' in side or "'" in side for side in (left, right)):  # No texts.
            yield ast.parse(f'({left}) {SWAPPED[type(node.op)]} ({right})').body[0].value
    elif isinstance(node, ast.BoolOp):
        word = SWAPPED[type(node.op)]
        sides = f' {word} '.join(f'({ast.unparse(value)})' for value in node.values)
        yield ast.parse(sides).body[0].value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Call):
        for i, _ in enumerate(node.keywords):
            kept = node.keywords[:i] + node.keywords[i + 1 :]
            yield ast.Call(node.func, node.args, kept)
        for one, other in (
            ('min', 'max'),
            ('max', 'min'),
            ('any', 'all'),
            ('all', 'any'),
        ):
            if text.startswith(f'{one}('):
                yield ast.Call(ast.Name(other), node.args, node.keywords)


def statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements in functions that do something, without annotations."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for function in ast.walk(tree):
        if isinstance(function, functions):
            for node in ast.walk(function):
                nested = isinstance(node, (*functions, ast.ClassDef, ast.Raise))
                if isinstance(node, ast.stmt) and not nested:
                    yield node


def expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """The expressions of a statement itself, not of those in its body or annotation."""
    for field, value in ast.iter_fields(statement):
        if field in ('body', 'orelse', 'finalbody', 'handlers', 'annotation', 'cases'):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from (n for n in ast.walk(child) if isinstance(n, ast.expr))


def sites(folder: Path) -> Iterator[dict[str, str]]:
    """All faults that can be drawn."""
    for path in sorted(folder.rglob('*.py')):
        if path.name == '__init__.py':
            continue
        source = path.read_text()
        lines = source.encode().splitlines(keepends=True)
        seen = set()
        for statement in statements(ast.parse(source)):
            for node in expressions(statement):
                where = node.lineno, node.col_offset, node.end_lineno, node.end_col_offset
                first, start, last, end = where
                for new in faulty(node):
                    text = f'({ast.unparse(new)})'
                    if (*where, text) in seen:
                        continue
                    seen.add((*where, text))
                    # As much of the code before and behind as makes the place unique.
                    for more in range(12):
                        top, bottom = max(0, first - 1 - more), last + more
                        before = b''.join(lines[top:bottom])
                        if source.encode().count(before) == 1:
                            break
                    head = b''.join(lines[top : first - 1]) + lines[first - 1][:start]
                    tail = lines[last - 1][end:] + b''.join(lines[last:bottom])
                    yield {
                        'file': path.relative_to(folder).as_posix(),
                        'line': str(first),
                        'before': before.decode(),
                        'after': (head + text.encode() + tail).decode(),
                    }


def tests_of(tree: Path, file: str) -> list[str]:
    """The tests of the room that a file is in."""
    room = tree / 'tests' / Path(file).parent
    while not room.is_dir():
        room = room.parent
    return [str(room)]


def limit() -> None:
    """A minute of processor time; what else runs on the machine does not count."""
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


def caught(tree: Path, fault: dict[str, str]) -> str:
    """Runs the tests of a fault's room; returns the first that fails, or nothing."""
    path = tree / 'iedr_geo' / fault['file']
    source = path.read_text()
    assert source.count(fault['before']) == 1, f'{fault["file"]}: {fault["before"]}'
    path.write_text(source.replace(fault['before'], fault['after']))
    command = [sys.executable, '-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(tree)}
    try:
        done = subprocess.run(
            [*command, *tests_of(tree, fault['file'])],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            preexec_fn=limit,
        )
    finally:
        path.write_text(source)
    failed = [
        line for line in done.stdout.splitlines() if line.startswith(('FAILED', 'ERROR'))
    ]
    if done.returncode in (1, 2, 4):
        return failed[0].split(' - ')[0] if failed else 'error'
    return '' if done.returncode == 0 else f'stopped after a minute ({done.returncode})'


def draw(args: argparse.Namespace) -> None:
    found = list(sites(args.tree / 'iedr_geo'))
    faults = random.Random(args.seed).sample(found, args.number)
    faults.sort(key=lambda fault: (fault['file'], int(fault['line'])))
    args.faults.write_text(json.dumps(faults, indent=1) + '\n')
    print(f'{args.number} of {len(found)} faults')


def run(args: argparse.Namespace) -> None:
    faults = json.loads(args.faults.read_text())
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / 'tree'
        shutil.copytree(
            args.tree, tree, ignore=shutil.ignore_patterns('.venv', '.git', 'runs')
        )
        for i, fault in enumerate(faults):
            if 'gone' in fault:
                fault['caught_by'] = 'gone'
            else:
                fault['caught_by'] = caught(tree, fault)
            print(i, fault['file'], fault['line'], fault['caught_by'] or 'SURVIVED')
            sys.stdout.flush()
            args.json.write_text(json.dumps(faults, indent=1) + '\n')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=['draw', 'run'])
    parser.add_argument('faults', type=Path)
    parser.add_argument('--tree', type=Path, default=ROOT, help='a checkout')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--number', type=int, default=60)
    parser.add_argument('--json', type=Path, default=Path('caught.json'))
    arguments = parser.parse_args()
    draw(arguments) if arguments.what == 'draw' else run(arguments)

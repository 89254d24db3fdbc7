"""Lines of code by room, of the library and of its tests.

A line counts where a token of code starts or ends on it: blank lines,
comments and docstrings do not count. The lines inside a string that is not
a docstring do.

    python benchmarks/count_lines.py
    python benchmarks/count_lines.py --json counts.json
"""

import argparse
import ast
import io
import json
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def text_lines(source: str) -> set[int]:
    """The lines of docstrings, and of other texts that stand alone."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def code_lines(source: str) -> int:
    """The number of lines of :obj:`source` that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - text_lines(source))


def by_room(folder: Path) -> Counter[str]:
    """The lines of code of each room: a folder in :obj:`folder`, or
    ``'.'`` for the files that lie in it directly."""
    counts: Counter[str] = Counter()
    for path in sorted(folder.rglob('*.py')):
        inside = path.relative_to(folder).parts
        room = inside[0] if len(inside) > 1 else '.'
        counts[room] += code_lines(path.read_text())
    return counts


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--json', type=Path, help='write the counts here')
    args = parser.parse_args()
    library, tests = by_room(ROOT / 'iedr_geo'), by_room(ROOT / 'tests')
    for room in sorted(library | tests):
        print(f'{room:12s} {library[room]:7,d} {tests[room]:7,d}')
    print(
        f'{"all":12s} {library.total():7,d} {tests.total():7,d}   '
        f'{tests.total() / library.total():.2f} lines of test a line'
    )
    if args.json:
        args.json.write_text(
            json.dumps({'library': library, 'tests': tests}, indent=2) + '\n'
        )

"""Whatever names a file of the repository names one that there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ['.ci', 'benchmarks', 'docs', 'examples', 'iedr_geo', 'tests']
NAMED = re.compile(rf'(?<![\w/.-])(?:{"|".join(map(re.escape, FOLDERS))})/[\w./-]*\w')
MADE = 'docs/_build'  # By `make docs`.


def missing(text: str, folder: Path) -> list[str]:
    """Lists what a text names that is neither in the root nor in a folder."""
    places = (ROOT, ROOT / 'examples', folder)
    return [
        name
        for name in NAMED.findall(text)
        if not name.startswith(MADE) and not any((it / name).exists() for it in places)
    ]


def test_named_files_exist():
    paths = [ROOT / name for name in ('README.md', 'Makefile', 'pyproject.toml')]
    for folder in FOLDERS:
        paths += (ROOT / folder).rglob('*')
    for path in paths:
        if path.suffix in ('', '.py', '.md', '.toml') and path.is_file():
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(MADE):
                assert missing(path.read_text('utf-8'), path.parent) == [], name


@pytest.mark.parametrize('name', ['gone.py', 'gone/README.md', 'gone'])
def test_finds_what_is_missing(name):
    path = f'docs/{name}'
    assert missing(f'See `{path}`, docs/_build and iedr_geo/data.', ROOT) == [path]

"""Snippets run as they stand, tables agree with the runs, and the site builds."""

import contextlib
import importlib
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from iedr_geo.nn import IEDR

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
PACKAGES = sorted(path.parent.name for path in (ROOT / 'iedr_geo').glob('*/__init__.py'))
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / 'README.md', *sorted(DOCS.rglob('*.md')))
    if DOCS / '_build' not in path.parents
}
FENCE = re.compile(r'^```([^\n`]*)\n(.*?)^```$', re.DOTALL | re.MULTILINE)
FENCES = {name: FENCE.findall(text) for name, text in PAGES.items()}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', [name for name in PAGES if '```python' in PAGES[name]])
def test_snippets(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Nearly all of the time goes into these, and nothing that is shown depends on them.
    monkeypatch.setitem(IEDR.__init__.__kwdefaults__, 'num_negatives', 2)
    namespace: dict = {'__name__': '__main__'}  # So says an error of a reader's class.
    printed = None
    for language, code in FENCES[name]:
        if language == '':  # A fence without a language is what the snippet prints.
            assert printed == code
        printed = None
        if language == 'python':
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, name, 'exec'), namespace)
            printed = out.getvalue()


def test_fences_are_known():
    # A snippet under another name of its language would not be run.
    known = {'', 'python', 'bash', 'text'}
    languages = {language for fences in FENCES.values() for language, _ in fences}
    assert {name for name in languages if not name.startswith('{')} <= known
    assert sum(language == 'python' for language, _ in FENCES['README.md']) >= 4


@pytest.mark.parametrize('name', [*PAGES, 'Makefile', '.ci/run'])
def test_paths_exist(name):
    text = PAGES.get(name) or (ROOT / name).read_text()
    paths = re.findall(r'(?<![\w/.])(?:benchmarks|docs|examples|tests)/[\w./-]*\w', text)
    there = (path for path in paths if not path.startswith('docs/_build'))
    assert [path for path in there if not (ROOT / path).exists()] == []


def test_first_page_shows_output_of_others():
    others = PAGES['README.md'] + PAGES['docs/tutorials/recommend_and_explain.md']
    shown = [text for kind, text in FENCES['docs/index.md'] if kind == 'text']
    assert len(shown) == 3
    assert all(text in others for text in shown)


@pytest.mark.parametrize(
    'name',
    [
        *('results', 'paper', 'bipartite', 'auto_encoders', 'sdrl'),
        *('disentanglement', 'speed'),
    ],
)
def test_page_is_generated(name, monkeypatch):
    tables = ROOT / 'benchmarks' / 'tables'
    monkeypatch.syspath_prepend(tables)
    page = runpy.run_path(str(tables / f'{name}.py'))['page']
    assert PAGES[f'docs/{name}.md'] == page()


def test_figure_is_drawn(tmp_path):
    drawn = DOCS / 'figures' / 'data_way.svg'
    runpy.run_path(str(drawn.with_suffix('.py')))['draw'](tmp_path / 'drawn.svg')
    texts = [
        re.findall('<!-- (.*) -->', path.read_text())  # What glyphs stand for.
        for path in (tmp_path / 'drawn.svg', drawn)
    ]
    assert texts[0] == texts[1]
    assert {'feature graphs', 'MLPGenerator', 'Brazil'} <= set(texts[0])


@pytest.mark.parametrize('name', PACKAGES)
def test_package_has_a_page(name):
    page = PAGES[f'docs/modules/{name}.md']
    assert page.startswith(f'# iedr_geo.{name}\n')
    listed = re.findall(r'\{% set names = exports\("(.*)"\) %\}', page)
    exported = importlib.import_module(f'iedr_geo.{name}').__all__
    assert sorted(exported) == sorted(
        name
        for module in listed
        for name in importlib.import_module(module).__all__
        if name in exported
    )
    assert f'\n{name}\n' in PAGES['docs/modules/index.md']


@pytest.mark.slow
def test_site(tmp_path):
    for module in ('sphinx', 'furo', 'myst_parser'):
        pytest.importorskip(module, reason='needs Sphinx: pip install "iedr_geo[docs]"')
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-b', 'html']
    built = subprocess.run(
        [*command, DOCS, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    for package in PACKAGES:
        page = (tmp_path / 'modules' / f'{package}.html').read_text()
        for name in importlib.import_module(f'iedr_geo.{package}').__all__:
            assert f'id="iedr_geo.{package}.{name}"' in page

"""Snippets run as they stand, tables agree with the runs, and the site builds."""

import contextlib
import importlib
import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
PACKAGES = sorted(path.parent.name for path in (ROOT / 'iedr_geo').glob('*/__init__.py'))
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / 'README.md', *sorted(DOCS.rglob('*.md')))
    if DOCS / '_build' not in path.parents
}
FENCE = re.compile(r'^```([^\n`]*)\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', [name for name in PAGES if '```python' in PAGES[name]])
def test_snippets(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {'__name__': '__main__'}  # So says an error of a reader's class.
    printed = None
    for language, code in FENCE.findall(PAGES[name]):
        if language == '':  # A fence without a language is what the snippet prints.
            assert printed == code
        printed = None
        if language == 'python':
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, name, 'exec'), namespace)
            printed = out.getvalue()


@pytest.mark.parametrize('name', PAGES)
def test_fences_are_known(name):
    # A snippet under another name of its language would not be run.
    languages = {language for language, _ in FENCE.findall(PAGES[name])}
    assert {x for x in languages if not x.startswith('{')} <= {
        '',
        'python',
        'bash',
        'text',
    }


def test_readme_has_snippets():
    assert PAGES['README.md'].count('```python') >= 4


def test_first_page_shows_output_of_others():
    others = PAGES['README.md'] + PAGES['docs/tutorials/recommend_and_explain.md']
    shown = [x for kind, x in FENCE.findall(PAGES['docs/index.md']) if kind == 'text']
    assert len(shown) == 3
    assert all(x in others for x in shown)


@pytest.mark.parametrize('name', ['results', 'bipartite', 'disentanglement', 'speed'])
def test_page_is_generated(name, monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    module = load(DOCS / f'{name}.py')
    assert PAGES[f'docs/{name}.md'] == module.page()


def test_figure_is_drawn(tmp_path):
    load(DOCS / 'figures' / 'data_way.py').draw(tmp_path / 'drawn.svg')
    texts = [
        re.findall('<!-- (.*) -->', path.read_text())  # What glyphs stand for.
        for path in (tmp_path / 'drawn.svg', DOCS / 'figures' / 'data_way.svg')
    ]
    assert texts[0] == texts[1]
    assert {'feature graphs', 'MLPGenerator', 'Brazil'} <= set(texts[0])


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    pytest.importorskip('sphinx', reason='needs Sphinx: pip install "iedr_geo[docs]"')
    pytest.importorskip('furo', reason='needs Furo: pip install "iedr_geo[docs]"')
    pytest.importorskip('myst_parser', reason='needs MyST: pip install "iedr_geo[docs]"')
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-b', 'html']
    built = subprocess.run(
        [*command, DOCS, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    for package in PACKAGES:
        page = (tmp_path / 'modules' / f'{package}.html').read_text()
        for name in importlib.import_module(f'iedr_geo.{package}').__all__:
            assert f'id="iedr_geo.{package}.{name}"' in page

"""The README's snippets run as they stand, and the tables agree with the runs."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@pytest.mark.filterwarnings('ignore')
def test_readme_snippets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = FENCE.findall((ROOT / 'README.md').read_text())
    namespace: dict = {}
    ran = 0
    for (language, code), (following, expected) in zip(
        blocks, [*blocks[1:], ('text', '')], strict=True
    ):
        if language != 'python':
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, 'README.md', 'exec'), namespace)
        if following == '':  # A fence without a language is what the snippet prints.
            assert out.getvalue() == expected
        ran += 1
    assert ran >= 4


@pytest.mark.parametrize('name', ['results', 'bipartite', 'disentanglement', 'speed'])
def test_page_is_generated(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'docs')
    spec = importlib.util.spec_from_file_location(name, ROOT / 'docs' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / 'docs' / f'{name}.md').read_text() == module.page()

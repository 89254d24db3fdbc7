"""A page holds all that it shows, and is never half written."""

from __future__ import annotations

import base64
import io
import os
import re
from html import unescape
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from iedr_geo.analysis import DisentanglementReport, write_page
from iedr_geo.analysis.report.report import as_table
from iedr_geo.analysis.report.study import Row

matplotlib.use('Agg')
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
CAPTIONS = ['What is <b>red</b> & "round"', "The item's factors"]
IMAGE = '<img width="([0-9]+)" alt="([^"]*)" src="data:image/png;base64,([^"]*)">'


@pytest.fixture
def report() -> DisentanglementReport:
    probe = 'probe', 'which user', 'user'
    rows = [
        Row(*probe, 'a < b', 0.98765, 0.1, 0.2, np.nan, 'high'),
        Row(*probe, 'c&d', 0.125, 0.1, 0.2, np.nan, 'low'),
    ]
    notes = ("No probe predicts '<script>alert(1)</script>'",)
    return DisentanglementReport(as_table(rows), notes)


def colored(color, size=(3.0, 2.0)):
    ax = Figure(figsize=size).add_subplot()
    ax.set_facecolor(color)
    return ax


class Page:
    """The text of each tag, and the pictures."""

    def __init__(self, path: Path) -> None:
        self.html = path.read_text(encoding='utf-8')
        self.images = [*re.finditer(IMAGE, self.html)]
        pngs = [base64.b64decode(image[3], validate=True) for image in self.images]
        self.pictures = [plt.imread(io.BytesIO(png))[..., :3] for png in pngs]

    def texts(self, tag: str) -> list[str]:
        found = re.findall(rf'<{tag}(?: class="\w+")?>([^<]*)</{tag}>', self.html)
        return list(map(unescape, found))


def share(picture: np.ndarray, color) -> float:
    return float((np.abs(picture - color) < 0.02).all(axis=2).mean())


def test_pictures(tmp_path, report):
    """Of each the whole figure: colour bars and panels are Axes too."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.set_facecolor(RED)
    right.set_facecolor(BLUE)
    axes = dict(zip(CAPTIONS, [colored(RED), colored(BLUE, (6.0, 2.0))], strict=True))
    axes |= {'both': left, 'inset': left.inset_axes((0.2, 0.2, 0.5, 0.5))}
    write_page(tmp_path / 'page.html', report, axes)
    page = Page(tmp_path / 'page.html')
    assert page.texts('figcaption') == ['All measures', *axes]
    assert [unescape(image[2]) for image in page.images] == ['All measures', *axes]
    plot, red, blue, *both = page.pictures
    for color, picture in ((RED, red), (BLUE, blue)):
        assert share(picture, color) > 0.5
        assert share(plot, color) < 0.01
        assert all(share(whole, color) > 0.1 for whole in both)
    assert share(red, BLUE) == share(blue, RED) == 0
    assert blue.shape[1] > 1.5 * red.shape[1]
    for image, picture in zip(page.images, page.pictures, strict=True):
        assert int(image[1]) == picture.shape[1] * 96 // 150


def test_text_and_tables(tmp_path, report, monkeypatch):
    ax = colored(RED)
    monkeypatch.setattr(DisentanglementReport, 'plot', lambda self: ax)
    columns = {
        'name <i>': ['Ann <b> &amp; Bob', None, 'x' * 200],
        'count': [1, 20, 300],
        'value': [0.12345, np.nan, -2.0],
    }
    table = pd.DataFrame(columns)
    long = pd.DataFrame({f'column {i}': range(150) for i in range(30)})
    tables = {'A <table>': table, 'Named': table.set_index('name <i>'), 'Long': long}
    path = tmp_path / 'page.html'
    with pd.option_context('display.max_rows', 4, 'display.precision', 1):
        write_page(path, report, tables=tables, title='My <report>')
    page = Page(path)
    assert page.texts('title') == page.texts('h1') == ['My <report>']
    assert page.texts('h2') == [*tables]
    assert share(page.pictures[0], RED) > 0.5  # The plot of the report.
    [text] = page.texts('pre')
    assert 'Disentanglement report\n\n' + text == str(report)
    assert "'<script>alert(1)</script>'" in text and 'a < b' in text
    assert page.texts('th') == [*report.table, *table, *table, *long]
    cells = page.texts('td')
    first = 'probe|which user|user|a < b|0.988|0.100|0.200||high'
    assert cells[:9] == first.split('|')
    rows = f'Ann <b> &amp; Bob|1|0.123||20||{"x" * 200}|300|-2.000'
    assert cells[18:36] == 2 * rows.split('|')
    assert cells[36:] == [str(i) for i in range(150) for _ in range(30)]
    kinds = re.findall('<td class="([a-z]+)">', page.html)
    assert kinds[18:21] == ['text', 'number', 'number'] and kinds[-1] == 'number'
    # It refers to nothing else.
    content = re.sub(IMAGE, '', page.html)
    for wrong in ('http', '//', 'url(', '@import', '<script', '<link'):
        assert wrong not in content, wrong
    [style] = page.texts('style')
    assert 'color-scheme: light dark' in style and 'Canvas' in style


@pytest.mark.parametrize('step', ['picture', 'write', 'replace'])
def test_failure_half_way(tmp_path, report, monkeypatch, step):
    """The old page stays, and nothing beside it."""
    path = tmp_path / 'a' / 'b' / 'page.html'
    write_page(str(path), report, title='old')
    before, figures = path.read_bytes(), plt.get_fignums()
    assert Page(path).texts('h1') == ['old']

    def fail(*args, **kwargs):
        raise OSError('No space left on device')

    def write_half(self, text, **kwargs):
        self.write_bytes(text[:100].encode())
        fail()

    owner, name, fault = {
        'picture': (Figure, 'savefig', fail),
        'write': (Path, 'write_text', write_half),
        'replace': (os, 'replace', fail),
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fault)
        with pytest.raises(OSError, match='No space left on device'):
            write_page(path, report, title='new')
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    assert plt.get_fignums() == figures


def test_cannot_write(tmp_path, report):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder').mkdir()
    for path in ('file/page.html', 'file/deep/page.html', 'folder'):
        with pytest.raises(OSError, match=f'Cannot write the page to .*{path}'):
            write_page(tmp_path / path, report)
    with pytest.raises(
        ValueError, match=r'path comes first.*DisentanglementReport and str'
    ):
        write_page(report, str(tmp_path / 'page.html'))
    ax = colored(RED)
    ax.remove()
    with pytest.raises(ValueError, match="The picture 'red' is in no figure"):
        write_page(tmp_path / 'page.html', report, {'red': ax})
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder']

"""A page holds all that it shows, and is never half written."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from iedr_geo.analysis import DisentanglementReport, write_page

matplotlib.use('Agg')
import matplotlib.pyplot as plt

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
CAPTIONS = ['What is <b>red</b> & "round"', "The item's factors"]
VOID = {'meta', 'img', 'br', 'link'}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


@pytest.fixture
def report() -> DisentanglementReport:
    rows = [
        {
            'group': 'probe',
            'measure': 'which user',
            'side': 'user',
            'factor': factor,
            'value': value,
            'baseline': 0.1,
            'limit': 0.2,
            'error': None,
            'wanted': wanted,
        }
        for factor, value, wanted in (('a < b', 0.98765, 'high'), ('c&d', 0.125, 'low'))
    ]
    notes = ["No probe predicts '<script>alert(1)</script>'"]
    return DisentanglementReport.from_json(json.dumps({'table': rows, 'notes': notes}))


def colored(color, size=(3.0, 2.0)):
    ax = Figure(figsize=size).add_subplot()
    ax.set_facecolor(color)
    return ax


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == [] and self.elements[0][0] == 'html'

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in self.open:
            self.texts[tag][-1] += data

    @property
    def pictures(self) -> list[np.ndarray]:
        pictures = []
        for tag, attributes in self.elements:
            if tag == 'img':
                start = 'data:image/png;base64,'
                assert attributes['src'].startswith(start)
                data = base64.b64decode(attributes['src'][len(start) :], validate=True)
                pictures.append(plt.imread(io.BytesIO(data)))
        return pictures


def read(path: Path) -> Page:
    return Page(path.read_text(encoding='utf-8'))


def share(picture: np.ndarray, color) -> float:
    return float((np.abs(picture[..., :3] - color) < 0.02).all(axis=2).mean())


def test_pictures(tmp_path, report):
    axes = dict(zip(CAPTIONS, [colored(RED), colored(BLUE, (6.0, 2.0))], strict=True))
    figures = plt.get_fignums()
    write_page(tmp_path / 'page.html', report, axes)
    assert plt.get_fignums() == figures  # That of the report is closed.
    page = read(tmp_path / 'page.html')
    captions = [caption.strip() for caption in page.texts['figcaption']]
    assert captions == ['All measures', *CAPTIONS]
    images = [attributes for tag, attributes in page.elements if tag == 'img']
    assert [image['alt'] for image in images] == captions
    plot, red, blue = page.pictures
    for color, picture in ((RED, red), (BLUE, blue)):
        assert share(picture, color) > 0.5
        assert share(plot, color) < 0.01
    assert share(red, BLUE) == share(blue, RED) == 0
    assert blue.shape[1] > 1.5 * red.shape[1]
    for image, picture in zip(images, page.pictures, strict=True):
        assert int(image['width']) == picture.shape[1] * 96 // 150


def test_the_plot_of_the_report(tmp_path, report, monkeypatch):
    axes = colored(RED)
    monkeypatch.setattr(DisentanglementReport, 'plot', lambda self: axes)
    write_page(tmp_path / 'page.html', report)
    [picture] = read(tmp_path / 'page.html').pictures
    assert share(picture, RED) > 0.5


def test_the_whole_figure_is_shown(tmp_path, report):
    """Colour bars and panels are Axes too."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.set_facecolor(RED)
    right.set_facecolor(BLUE)
    inset = left.inset_axes((0.2, 0.2, 0.5, 0.5))
    write_page(tmp_path / 'page.html', report, {'both': left, 'inset': inset})
    for picture in read(tmp_path / 'page.html').pictures[1:]:
        assert share(picture, RED) > 0.1 and share(picture, BLUE) > 0.1


def test_text_and_tables(tmp_path, report):
    table = pd.DataFrame(
        {
            'name <i>': ['Ann <b> &amp; Bob', None, 'x' * 200],
            'count': [1, 20, 300],
            'value': [0.12345, np.nan, -2.0],
        }
    )
    named = table.set_index('name <i>')
    long = pd.DataFrame({f'column {i}': range(150) for i in range(30)})
    with pd.option_context('display.max_rows', 4, 'display.precision', 1):
        write_page(
            tmp_path / 'page.html',
            report,
            tables={'A <table>': table, 'Named': named, 'Long': long},
            title='My <report>',
        )
    page = read(tmp_path / 'page.html')
    assert page.texts['title'] == page.texts['h1'] == ['My <report>']
    [text] = page.texts['pre']
    assert 'Disentanglement report\n\n' + text == str(report)
    assert "'<script>alert(1)</script>'" in text and 'a < b' in text
    assert [heading.strip() for heading in page.texts['h2']] == [
        'A <table>',
        'Named',
        'Long',
    ]
    heads, cells = page.texts['th'], page.texts['td']
    first = list(report.table)
    assert heads[: len(first)] == first
    assert cells[: len(first)] == [
        *('probe', 'which user', 'user', 'a < b', '0.988', '0.100', '0.200', '', 'high')
    ]
    del cells[: 2 * len(first)], heads[: len(first)]
    expected = [
        'Ann <b> &amp; Bob',
        '1',
        '0.123',
        '',
        '20',
        '',
        'x' * 200,
        '300',
        '-2.000',
    ]
    assert heads[:6] == [*table, *table]
    assert cells[:9] == cells[9:18] == expected
    assert heads[6:] == list(long)
    assert cells[18:] == [str(i) for i in range(150) for _ in range(30)]
    kinds = [a['class'] for tag, a in page.elements if tag == 'td'][-30 * 150 - 18 :]
    assert kinds[:3] == ['text', 'number', 'number'] and kinds[-1] == 'number'


def test_refers_to_nothing_else(tmp_path, report):
    write_page(tmp_path / 'page.html', report, {'red': colored(RED)})
    content = (tmp_path / 'page.html').read_text()
    content = re.sub('base64,[A-Za-z0-9+/=]+"', '"', content)
    for wrong in ('http', '//', 'url(', '@import', '<script', '<link'):
        assert wrong not in content, wrong
    page = read(tmp_path / 'page.html')
    assert {tag for tag, _ in page.elements} <= {
        *('html', 'head', 'meta', 'title', 'style', 'body', 'h1', 'h2', 'pre', 'div'),
        *('details', 'summary', 'table', 'thead', 'tbody', 'tr', 'th', 'td'),
        *('figure', 'img', 'figcaption'),
    }
    for _, attributes in page.elements:
        assert attributes.keys() <= {
            *('lang', 'charset', 'name', 'content', 'class', 'width', 'alt', 'src')
        }
    [style] = page.texts['style']
    assert 'color-scheme: light dark' in style and 'Canvas' in style


def test_makes_parents_and_replaces(tmp_path, report):
    path = tmp_path / 'a' / 'b' / 'page.html'
    write_page(str(path), report, title='one')
    write_page(path, report, title='two')
    assert read(path).texts['h1'] == ['two']
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('step', ['picture', 'write', 'replace'])
def test_failure_half_way(tmp_path, report, monkeypatch, step):
    """The old page stays, and nothing beside it."""
    path = tmp_path / 'page.html'
    write_page(path, report, title='old')
    before, figures = path.read_bytes(), plt.get_fignums()

    def fail(*args, **kwargs):
        raise OSError('No space left on device')

    def write_half(self, text, **kwargs):
        self.write_bytes(text[:100].encode())
        fail()

    with monkeypatch.context() as patch:
        if step == 'picture':
            patch.setattr(Figure, 'savefig', fail)
        elif step == 'write':
            patch.setattr(Path, 'write_text', write_half)
        else:
            patch.setattr('os.replace', fail)
        with pytest.raises(OSError, match='No space left on device'):
            write_page(path, report, title='new')
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert plt.get_fignums() == figures


def test_cannot_write(tmp_path, report):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder').mkdir()
    for place in ('file/page.html', 'file/deep/page.html', 'folder'):
        with pytest.raises(OSError, match=f'Cannot write the page to .*{place}'):
            write_page(tmp_path / place, report)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder']


def test_picture_of_no_figure(tmp_path, report):
    ax = colored(RED)
    ax.remove()
    with pytest.raises(ValueError, match="The picture 'red' is in no figure"):
        write_page(tmp_path / 'page.html', report, {'red': ax})
    assert list(tmp_path.iterdir()) == []

"""A report with its pictures, as one file that a browser shows."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.api.types import is_numeric_dtype, is_scalar

from iedr_geo.analysis.report.report import TITLE, DisentanglementReport
from iedr_geo.data.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150

# Colours of the system, which are dark where it is; pictures are white in either case.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; background: Canvas; color: CanvasText; }}
pre, .table {{ overflow-x: auto; font-size: 0.85rem; }}
pre {{ line-height: 1.35; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.15rem 0.7rem; text-align: left; white-space: nowrap;
  border-bottom: 1px solid color-mix(in srgb, CanvasText 20%, Canvas); }}
.number {{ text-align: right; }}
figure {{ margin: 2rem 0; }}
img {{ max-width: 100%; height: auto; background: white; border-radius: 4px; }}
figcaption {{ margin-top: 0.3rem; }}
summary {{ cursor: pointer; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_page(
    path: str | os.PathLike[str],
    report: DisentanglementReport,
    axes: Mapping[str, Axes] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    title: str = TITLE,
) -> None:
    """Writes a report, its table and plot, pictures and tables as one HTML file.

    The file holds all that it shows, pictures too, and refers to no other. It is written
    under a temporary name and renamed, so that it is never seen half written; an older
    one is replaced.

    Args:
        path: Where to write.
        report: The report.
        axes: Pictures by caption, *e.g.*, what the functions of this module return. Of
            each, the whole figure is shown.
        tables: Further tables by caption.
        title: The title.

    Raises:
        ValueError: If path and report are swapped.
        OSError: If the file cannot be written.

    Example:
        >>> axes = {'Factors of items': plot_factors(model, dataset)}
        >>> write_page('report.html', report, axes)
    """
    import matplotlib.pyplot as plt

    if not isinstance(report, DisentanglementReport):
        raise ValueError(
            f'The path comes first, then the report: write_page(path, report) (got '
            f'{type(path).__name__} and {type(report).__name__})'
        )
    text = str(report).removeprefix(TITLE).strip('\n')
    all_numbers = '<summary>All numbers as a table</summary>' + _table(report.table)
    parts = [f'<pre>{escape(text)}</pre>', f'<details>{all_numbers}</details>']
    ax = report.plot()
    try:
        parts.append(_picture('All measures', ax))
    finally:
        plt.close(ax.get_figure(root=True))
    parts += [_picture(caption, ax) for caption, ax in (axes or {}).items()]
    for caption, table in (tables or {}).items():
        parts.append(f'<h2>{escape(caption)}</h2>\n{_table(table)}')
    _write(Path(path), PAGE.format(title=escape(title), body='\n'.join(parts)))


def _picture(caption: str, ax: Axes) -> str:
    """Returns the figure that an Axes is in, drawn in place."""
    buffer = io.BytesIO()
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError(f'The picture {caption!r} is in no figure any more')
    figure.savefig(buffer, format='png', dpi=DPI, bbox_inches='tight')
    png = buffer.getvalue()
    width = int.from_bytes(png[16:20], 'big') * 96 // DPI  # At its size in print.
    data = base64.b64encode(png).decode('ascii')
    text, source = escape(caption), f'data:image/png;base64,{data}'
    image = f'<img width="{width}" alt="{text}" src="{source}">'
    return f'<figure>\n{image}\n<figcaption>{text}</figcaption>\n</figure>'


def _table(table: pd.DataFrame) -> str:
    """Returns a table with all its rows, numbers to the right with three decimals."""
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index()
    kinds = ['number' if is_numeric_dtype(dtype) else 'text' for dtype in table.dtypes]

    def line(tag: str, values: Iterable[Any]) -> str:
        cells = [
            f'<{tag} class="{kind}">{escape(_text(value))}</{tag}>'
            for kind, value in zip(kinds, values, strict=True)
        ]
        return f'<tr>{"".join(cells)}</tr>'

    rows = '\n'.join(line('td', row) for row in table.itertuples(index=False, name=None))
    head = f'<thead>{line("th", table.columns)}</thead>'
    return f'<div class="table"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'


def _text(value: Any) -> str:
    if is_scalar(value) and pd.isna(value):
        return ''
    return f'{value:.3f}' if isinstance(value, float) else str(value)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(text, encoding='utf-8')
    except OSError as error:
        raise OSError(f'Cannot write the page to {path}: {error}') from error

"""Progress of long scoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from iedr_geo.scoring.catalogue_scorer import CatalogueScorer

T = TypeVar('T')
SOON = 3.0  # Seconds after which a bar is shown.


def progress_bar(
    chunks: Sequence[T],
    title: str,
    shown: bool,
    scorer: CatalogueScorer,
    num_queries: int,
    num_items: int | None = None,
) -> Iterator[T]:
    """Goes through chunks of queries with a progress bar, if it takes more than seconds.

    A scorer that calls the model on pairs says beforehand about how long it will take.

    Args:
        chunks: The chunks.
        title: The name of what is done.
        shown: If :obj:`False`, no bar is shown at all.
        scorer: The scorer that is asked.
        num_queries: The number of queries.
        num_items: The number of items of each (default: the catalogue).
    """
    delay = SOON
    seconds = scorer.seconds(num_queries, num_items) if shown else None
    if seconds is not None and seconds > SOON:
        title, delay = f'{title} (about {_text(seconds)})', 0.0
    yield from tqdm(chunks, desc=title, disable=not shown, delay=delay)


def _text(seconds: float) -> str:
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = seconds / 60
    return f'{minutes:.0f} min' if minutes < 90 else f'{minutes / 60:.1f} h'

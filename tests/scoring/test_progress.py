"""Progress bars and the time that scoring is said to take."""

from __future__ import annotations

import time

import pytest
import torch
from shop import make_graph, make_shop

from iedr_geo.scoring import CatalogueScorer, progress_bar, scorer


class Timed(CatalogueScorer):
    """Takes as long as it is told to say."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__(3, 4, torch.device('cpu'))
        self.said, self.asked = seconds, []

    def scores(self, queries, items=None):
        raise NotImplementedError

    def seconds(self, num_queries, num_items=None):
        self.asked.append((num_queries, num_items))
        return self.said


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (None, ''),
        (2.9, ''),
        (4.2, 'about 4 s'),
        (89, 'about 89 s'),
        (100, 'about 2 min'),
        (3 * 3600, 'about 3.0 h'),
    ],
)
def test_long_scoring_says_so(seconds, text, capsys):
    timed = Timed(seconds)
    assert list(progress_bar('abc', 'Ranking', True, timed, 7, 2)) == ['a', 'b', 'c']
    shown = capsys.readouterr().err
    assert f'Ranking ({text}): 100%' in shown if text else shown == ''
    assert timed.asked == [(7, 2)]
    assert list(progress_bar('abc', 'Ranking', False, timed, 7)) == ['a', 'b', 'c']
    assert capsys.readouterr().err == '' and len(timed.asked) == 1


def test_the_time_is_that_of_pairs():
    """However they are distributed over queries and items."""

    def slow(batch):
        time.sleep(len(batch) * 1e-4)
        return batch.item_id

    made = scorer(slow, make_shop())
    for size in ((10**6, 1), (1000, 1000), (2, 500_000)):
        assert 100 <= made.seconds(*size) < 300
    assert made.seconds(0) is made.seconds(5, 0) is made.seconds(1, 100) is None


def test_short_work_shows_nothing(capsys):
    class Model:
        def __call__(self, batch):
            return batch.item_id

        def score(self, user, item):
            return user + item

    for data in (make_shop(), make_graph()):
        made = scorer(Model(), data)
        assert list(progress_bar('abc', 'Ranking', True, made, 5)) == ['a', 'b', 'c']
    assert capsys.readouterr().err == ''

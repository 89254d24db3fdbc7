"""Progress bars and the time that scoring is said to take."""

import time
from unittest.mock import Mock

import pytest
from shop import make_shop

from iedr_geo.scoring import progress_bar, scorer


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
    timed = Mock(**{'seconds.return_value': seconds})
    assert list(progress_bar('abc', 'Ranking', True, timed, 7, 2)) == ['a', 'b', 'c']
    shown = capsys.readouterr().err
    assert f'Ranking ({text}): 100%' in shown if text else shown == ''
    assert list(progress_bar('abc', 'Ranking', False, timed, 7)) == ['a', 'b', 'c']
    assert capsys.readouterr().err == ''
    timed.seconds.assert_called_once_with(7, 2)


def test_the_time_is_that_of_pairs():
    """However they are distributed over queries and items."""

    def slow(batch):
        time.sleep(len(batch) * 1e-4)
        return batch.item_id

    made = scorer(slow, make_shop())
    for size in ((10**6, 1), (1000, 1000), (2, 500_000)):
        assert 100 <= made.seconds(*size) < 300
    assert made.seconds(0) is made.seconds(5, 0) is made.seconds(1, 100) is None

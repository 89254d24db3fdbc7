"""Verdicts, texts, files and pictures of reports that are written by hand."""

import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
from handmade import verdicts
from matplotlib import pyplot as plt

from iedr_geo.analysis import DisentanglementReport
from iedr_geo.analysis.report import GROUPS
from iedr_geo.analysis.report.report import as_table
from iedr_geo.analysis.report.study import Row
from iedr_geo.analysis.report.verdicts import RULE

matplotlib.use('Agg')
ROWS = [
    ('invariance', 'auc', 'user', 'intrinsic', 1.0, 0.5, 0.6, 0.01, 'high'),
    ('invariance', 'auc', 'user', 'extrinsic', -0.0001, 0.5, 0.6, 0.01, 'low'),
    ('invariance', 'auc', 'item', 'intrinsic', 0.8, 0.5, 0.6, 0.01, 'high'),
    ('invariance', 'auc', 'item', 'extrinsic', 0.7, 0.5, 0.6, np.nan, 'low'),
    ('dependence', 'dcor', 'user', 'intrinsic & extrinsic', 0.1, 0, 0.05, np.nan, 'low'),
    ('dependence', 'dcor', 'user', 'intrinsic', 1.0, 0.0, 0.05, np.nan, 'high'),
    ('truth', 'variance', 'score', 'all', 0.25, 0.0, np.nan, np.nan, ''),
]


@pytest.fixture
def report() -> DisentanglementReport:
    return DisentanglementReport(as_table(ROWS), ('a',))


def hand_written(*rows: tuple) -> dict[tuple[str, str, str], str]:
    """Verdicts of rows of a group, a measure, a value, a limit, an error, a wish."""
    table = as_table(
        Row(group, measure, 'user', f'factor {i}', value, 0.0, *numbers)
        for i, (group, measure, value, *numbers) in enumerate(rows)
    )
    return verdicts(DisentanglementReport(table))


@pytest.mark.parametrize(
    ('high', 'low', 'wanted', 'expected'),
    [
        ((0.9, 0.2), (0.1, 0.2), 'low', 'yes'),
        ((0.9, 0.02), (0.08, 0.02), 'low', 'yes'),  # It shows, but is next to nothing.
        ((0.9, 0.02), (0.1, 0.02), 'low', 'partly'),
        ((0.9, 0.02), (0.29, 0.02), 'low', 'partly'),
        ((0.9, 0.02), (0.31, 0.02), 'low', 'no'),
        ((0.9, 0.2), (0.19, 0.2), 'low', 'yes'),  # It does not show.
        ((0.3, 0.2), (0.19, 0.2), 'low', 'no'),  # Too little to tell the two apart.
        ((0.15, 0.2), (0.0, 0.2), 'low', 'no'),  # The high one is low.
        ((0.1, 0.2), (0.9, 0.2), 'low', 'no'),  # The other way round.
        ((np.nan, 0.2), (np.nan, 0.2), 'low', 'no'),
        ((0.9, 0.02), (-0.8, 0.02), 'low', 'yes'),
        ((0.9, 0.02), (-0.2, 0.02), 'zero', 'partly'),
        ((0.9, 0.02), (-0.8, 0.02), 'zero', 'no'),
    ],
)
def test_verdict_on_two_factors(high, low, wanted, expected):
    error = 0.01  # Makes no difference.
    rows = ('probe', 'm', *high, error, 'high'), ('probe', 'm', *low, error, wanted)
    assert hand_written(*rows) == {('probe', 'm', 'user'): expected}
    other = ('probe', 'm', 5.0, 0.0, 9.0, '')
    assert hand_written(other, *rows) == {('probe', 'm', 'user'): expected}


@pytest.mark.parametrize(
    ('value', 'wanted', 'expected'),
    [(0.06, 'high', 'yes'), (0.01, 'high', 'no'), (0.01, 'low', None), (0.9, '', None)],
)
def test_verdict_on_one_value(value, wanted, expected):
    """As of the gain, or of an old report that lacks the other."""
    found = hand_written(('ranking', 'm', value, 0.02, 0.01, wanted))
    assert found == ({} if expected is None else {('ranking', 'm', 'user'): expected})


def test_shares_are_of_what_is_beyond_chance(report):
    table = report.separation
    assert table['side'].tolist() == ['user', 'item', 'user']
    assert table['separates'].tolist() == ['yes', 'no', 'partly']
    assert table['own'].tolist() == pytest.approx([0.5, 0.3, 1.0])
    assert table['other'].tolist() == pytest.approx([-0.5001, 0.2, 0.1])


def test_json_round_trip(report):
    again = DisentanglementReport.from_json(report.to_json())
    pd.testing.assert_frame_equal(again.table, report.table, check_exact=True)
    assert again.notes == ('a',)
    rows = json.loads(report.to_json())['table']
    assert len(rows) == len(ROWS) and rows[3]['error'] is None
    empty = DisentanglementReport(report.table.iloc[:0])
    again = DisentanglementReport.from_json(empty.to_json())
    assert len(again.table) == len(again.separation) == 0


def test_text_says_how_to_read_it(report):
    lines = str(report).splitlines()
    assert ' '.join(lines[2:]).startswith(RULE)
    for name, (title, how) in GROUPS.items():
        assert (title in lines) == (name in ('invariance', 'dependence', 'truth'))
        assert 'Disentangled: ' in how
        if title in lines:
            assert ' '.join(lines[lines.index(title) + 1 :]).startswith(how)
    [user] = [line for line in lines if line.startswith('user: auc')]
    assert user.split() == ['user:', 'auc', '1.000', '0.000', '0.500', '0.600', 'yes']
    heads = [line.split() for line in lines if line.endswith('separates')]
    assert heads[0] == ['intrinsic', 'extrinsic', 'chance', 'limit', 'separates']
    [whole] = [line for line in lines if line.startswith('score: variance')]
    assert whole.split() == ['score:', 'variance', '0.250', '0.000']
    assert max(map(len, lines)) < 110 and lines[-1] == 'Note: a'
    assert '-0.000' not in str(report) and 'nan' not in str(report).lower()
    assert not any(line.endswith(' ') for line in lines)


def test_plot(report):
    ax = report.plot()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [
        *('invariance, user: auc', 'invariance, item: auc'),
        *('dependence, user: dcor', 'truth, score: variance'),
    ]
    assert ax.get_yticks().tolist() == [0, 1, 3, 5]  # A gap between groups.
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[:4] == ['baseline', 'limit', 'intrinsic', 'extrinsic']
    assert ax.yaxis_inverted()  # In the order of the table.
    points = {line.get_label(): line.get_xydata().tolist() for line in ax.get_lines()}
    assert points['extrinsic'] == [[-0.0001, 0], [0.7, 1]]
    assert points['baseline'][0] == [0.5, 0] and points['limit'][4] == [0.05, 3]
    _, mine = plt.subplots()
    assert report.plot(mine) is mine
    plt.close('all')

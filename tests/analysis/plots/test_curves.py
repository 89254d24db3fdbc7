"""Pictures of training runs, and of how far rankings follow popularity."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
import torch

from iedr_geo.analysis import plot_history, plot_popularity_overlap, popularity_overlap
from iedr_geo.analysis.plots.curves import NO_TERMS
from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import MF

REST = {'auc': 0.5, 'learning_rate': 1.0, 'seconds': 3.0, 'training_seconds': 2.0}
HISTORY = [
    {'epoch': 0.0, 'loss': 0.9, 'estimator': 0.0, 'ndcg@5': 0.3, 'ndcg@10': 0.1} | REST,
    {'epoch': 1.0, 'loss': 0.8, 'estimator': -0.1, 'ndcg@5': 0.2, 'ndcg@10': 0.4} | REST,
    {'epoch': 2.0, 'loss': 0.7, 'estimator': 0.2, 'ndcg@5': 0.1, 'ndcg@10': 0.4} | REST,
]


def best_epoch(ax) -> float:
    """The one that all panels mark, once each."""
    marks = [[line for line in p.lines if line.get_label()[:4] == 'best'] for p in ax]
    [epoch] = {float(x) for [line] in marks for x in line.get_xdata()}
    return epoch


def test_history(tmp_path):
    table = pd.DataFrame(HISTORY)
    table.to_csv(tmp_path / 'metrics.csv', index=False)
    for history in (
        tmp_path,
        str(tmp_path / 'metrics.csv'),
        HISTORY,
        table.set_index(pd.Index([7, 7, 7])),
    ):
        ax = plot_history(history)
        panels = ax.child_axes
        drawn = {
            line.get_label(): line.get_ydata().tolist()
            for panel in panels
            for line in panel.lines[1:]
        }
        assert drawn == table.drop(columns=[*NO_TERMS]).to_dict('list')
        # Epoch 2 is as good as epoch 1: the earlier one counts, as in training.
        assert best_epoch(panels) == 1
    assert [len(panel.lines) for panel in panels] == [4, 2, 2]
    for line in panels[0].lines[1:]:
        assert line.get_xdata().tolist() == [0, 1, 2]
        assert (line.get_linewidth() > 2) == (line.get_label() == 'ndcg@10')
    assert len({line.get_color() for line in panels[0].lines}) == 4
    names = [[text.get_text() for text in panel.texts] for panel in panels]
    assert names == [[], ['loss'], ['estimator']]
    legend = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert legend == ['best epoch', 'ndcg@5', 'ndcg@10', 'auc']
    title = ax.get_title(loc='left')
    assert 'epoch 1 has the best ndcg@10, 0.4000' in title
    assert '(validation metrics, terms of the training loss)' in title


def test_panels_share_the_epochs():
    ax = plot_history(HISTORY)
    boxes = [panel.get_position() for panel in ax.child_axes]
    assert len({panel.get_xlim() for panel in ax.child_axes}) == 1
    assert len({(box.x0, box.x1) for box in boxes}) == 1
    for above, below in itertools.pairwise(boxes):
        assert above.y0 > below.y1
    assert boxes[0].height > boxes[1].height
    whole = ax.get_position()
    assert (boxes[-1].y0, boxes[0].y1) == pytest.approx((whole.y0, whole.y1))


def test_history_of_another_monitor():
    assert best_epoch(plot_history(HISTORY, 'ndcg@5').child_axes) == 0
    ax = plot_history([{'epoch': 3, 'loss': 1.0}, {'epoch': 4, 'loss': 2.0}])
    assert best_epoch(ax.child_axes) == 4
    assert ax.get_title(loc='left').endswith('as the best\n(terms of the training loss)')
    history = [
        {'epoch': i, 'loss': 1.0, 'recall@20': one, 'recall@50': two}
        for i, (one, two) in enumerate([(0.5, 0.2), (0.1, 0.3)])
    ]
    assert best_epoch(plot_history(history).child_axes) == 1
    [panel] = plot_history([{'epoch': 0, 'hit_ratio@3': 0.5}]).child_axes
    assert best_epoch([panel]) == 0
    assert [tick for tick in panel.get_xticks() if abs(tick) < 0.5] == [0]


def test_no_history(tmp_path):
    with pytest.raises(FileNotFoundError, match=f'no history of a run at {tmp_path}/m'):
        plot_history(tmp_path)
    with pytest.raises(FileNotFoundError, match='no history of a run at none'):
        plot_history('none')
    for arguments, message in (
        (([],), 'The history has no epochs'),
        (([{'loss': 1.0}],), 'got loss'),
        (([{'epoch': 0, 'seconds': 1.0}],), 'got epoch, seconds'),
        ((HISTORY, 'loss'), r"no metric 'loss' \(it has: ndcg@5, ndcg@10, auc\)"),
    ):
        with pytest.raises(ValueError, match=message):
            plot_history(*arguments)


def test_popularity_overlap(dice, graph):
    ax = plot_popularity_overlap(dice, graph, ks=(5, 1, 3))
    *lines, chance = ax.lines
    assert [line.get_label() for line in lines] == ['all factors', *dice.factor_columns]
    assert len({line.get_color() for line in ax.lines}) == 4
    for line, factor in zip(lines, (None, *dice.factor_columns), strict=True):
        assert line.get_xdata().tolist() == [1, 3, 5]
        expected = [popularity_overlap(dice, graph, k, factor) for k in (1, 3, 5)]
        assert line.get_ydata().tolist() == expected
    assert ax.get_ylim()[0] == 0
    # Over all rankings that a user can get.
    for k, value in zip((1, 3, 5), chance.get_ydata(), strict=True):
        total = 0.0
        for user in range(graph.num_users):
            left = set(range(10)) - set(graph.positives(user).tolist())
            popular = set(sorted(left)[:k])
            tops = list(itertools.combinations(sorted(left), min(k, len(left))))
            shares = [len(popular & {*top}) / len(popular | {*top}) for top in tops]
            total += sum(shares) / len(shares)
        assert value == pytest.approx(total / graph.num_users)


@pytest.mark.parametrize(('num_items', 'default'), [(3, [3]), (45, [10, 20, 30, 40])])
def test_numbers_of_items(num_items, default):
    """A user who has had everything agrees with nothing, as in popularity_overlap."""
    graph = BipartiteGraph(*torch.tensor([[0, 0, 0, 1], [0, 1, 2, 0]]), 2, num_items)
    ax = plot_popularity_overlap(MF(2, num_items, 4), graph)
    assert [line.get_label() for line in ax.lines] == ['the model', 'at random']
    assert ax.lines[0].get_xdata().tolist() == default
    if num_items == 3:
        assert [line.get_ydata().tolist() for line in ax.lines] == [[0.5], [0.5]]


def test_wrong_numbers(dice, graph):
    for ks, message in (
        ((), 'There are no numbers of items'),
        ((5, 11), r'from 1 to 10 \(got 11\)'),
        ((0,), r'from 1 to 10 \(got 0\)'),
    ):
        with pytest.raises(ValueError, match=message):
            plot_popularity_overlap(dice, graph, ks)

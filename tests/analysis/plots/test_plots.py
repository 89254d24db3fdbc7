"""What is drawn, against values that are computed here."""

from __future__ import annotations

import copy
import itertools
import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import same_color, to_rgba
from torch_geometric.data import Batch
from vector_model import Tables

from iedr_geo.analysis import (
    plot_explanation,
    plot_factors,
    plot_generator,
    plot_history,
    plot_popularity_overlap,
    plot_scores,
    popularity_overlap,
)
from iedr_geo.analysis.plots.factors import POPULARITY_GROUPS
from iedr_geo.analysis.plots.history import NO_TERMS
from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import DICE, IEDR, MF, FactorGenerator, Factors, MLPGenerator
from iedr_geo.nn.generator import GENERATORS
from iedr_geo.recommend import Explanation, Recommender

matplotlib.use('Agg')
import matplotlib.pyplot as plt

FIELDS = ['daytime=noon', 'weekday=sat', 'place=home', 'company=a very long value']
DIFFERENCES = [0.5, -2.0, 0.0, 1.0]
# 0 with 0, 0 with 1, ..., 3 with 3.
PAIRS = [0.1, 0.2, -0.3, 4.0, -0.5, 0.6, 0.0, 0.8, -0.9, 1.0]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


@pytest.fixture(scope='module')
def dataset() -> PlantedFactors:
    return PlantedFactors(num_users=10, num_items=8, num_interactions=90)


@pytest.fixture
def model(dataset) -> IEDR:
    return IEDR(dataset.schema.num_embeddings, 4, 8)


@pytest.fixture
def graph() -> BipartiteGraph:
    """Item 0 is the most popular, item 9 the least: it has no edge, item 8 the most."""
    pairs = [(user, item) for item in range(9) for user in range(item + 1)]
    popularity = torch.arange(10).flip(0) + 5
    return BipartiteGraph(*torch.tensor(pairs).t(), 11, 10, popularity=popularity)


@pytest.fixture
def dice(graph) -> DICE:
    return DICE(MF(graph.num_users, graph.num_items, 8), graph.popularity)


@pytest.fixture
def first_two_columns(monkeypatch) -> list:
    """Instead of t-SNE, which no loop reproduces; holds its arguments."""
    calls = []

    class Columns:
        def __init__(self, num_components, **kwargs):
            assert num_components == 2
            calls.append(kwargs)

        def fit_transform(self, rows):
            calls[-1]['rows'] = len(rows)
            return rows[:, :2]

    monkeypatch.setattr('sklearn.manifold.TSNE', Columns)
    return calls


def explanation(pairs=PAIRS, side='context') -> Explanation:
    features = pd.DataFrame({'side': side, 'feature': FIELDS, 'difference': DIFFERENCES})
    two = itertools.combinations_with_replacement(FIELDS, 2)
    table = pd.DataFrame(two, columns=['feature_a', 'feature_b'])
    table.insert(0, 'side', side)
    table['difference'] = pairs
    return Explanation(1.25, {'intrinsic': 1.0, 'extrinsic': 0.25}, features, table)


def same_points(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two sets of rows are the same but for order and rounding."""
    away = np.abs(one[:, None] - two).max(axis=2)
    return len(one) == len(two) and away.min(1).max() < 1e-5 and away.min(0).max() < 1e-5


def offsets(ax) -> list[np.ndarray]:
    return [np.asarray(points.get_offsets()) for points in ax.collections]


HISTORY = [
    {'epoch': 0.0, 'loss': 0.9, 'estimator': 0.0, 'ndcg@5': 0.3, 'ndcg@10': 0.1},
    {'epoch': 1.0, 'loss': 0.8, 'estimator': -0.1, 'ndcg@5': 0.2, 'ndcg@10': 0.4},
    {'epoch': 2.0, 'loss': 0.7, 'estimator': 0.2, 'ndcg@5': 0.1, 'ndcg@10': 0.4},
]
REST = {'auc': 0.5, 'learning_rate': 1.0, 'seconds': 3.0, 'training_seconds': 2.0}
HISTORY = [epoch | REST for epoch in HISTORY]


@pytest.fixture
def draw(dataset, model, dice, graph):
    """Each of the functions, with arguments that suit it."""
    contexts = dataset.context_frame.to_dict('records')
    recommender = Recommender(model, dataset)
    return {
        'factors': lambda **kw: plot_factors(model, dataset, num_samples=9, **kw),
        'popularity': lambda **kw: plot_factors(dice, graph, **kw),
        'scores': lambda **kw: plot_scores(recommender, 'u3', *contexts[:2], **kw),
        'generator': lambda **kw: plot_generator(model, **kw),
        'history': lambda **kw: plot_history(HISTORY, **kw),
        'overlap': lambda **kw: plot_popularity_overlap(dice, graph, (1, 5), **kw),
        'explanation': lambda **kw: plot_explanation(explanation(), **kw),
    }


NAMES = [
    *('factors', 'popularity', 'scores', 'generator', 'history'),
    *('overlap', 'explanation'),
]


@pytest.mark.parametrize('name', NAMES)
def test_draws_where_it_is_told(name, draw):
    """And nowhere else: neither state nor other figures change."""
    figure, axes = plt.subplots(1, 2)
    other = plt.figure().add_subplot()
    before = dict(matplotlib.rcParams), plt.get_fignums()
    random = torch.get_rng_state(), np.random.get_state()[1].copy()
    left = axes[0].get_children()
    assert draw[name](ax=axes[1]) is axes[1]
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == before
    assert plt.gcf() is other.figure and plt.gca() is other
    assert not other.has_data() and not axes[0].has_data()
    assert axes[0].get_children() == left
    assert torch.equal(torch.get_rng_state(), random[0])
    assert np.array_equal(np.random.get_state()[1], random[1])
    colour_bars = int(name in ('generator', 'explanation'))
    assert len(figure.axes) == 2 + colour_bars
    assert axes[1].get_title(loc='left')
    figure.canvas.draw()


@pytest.mark.parametrize('name', NAMES)
def test_makes_a_figure(name, draw):
    ax = draw[name]()
    assert plt.get_fignums() == [ax.figure.number]
    assert ax in ax.figure.axes
    ax.figure.canvas.draw()
    # Nothing reaches beyond the figure.
    box, (width, height) = ax.figure.get_tightbbox(), ax.figure.get_size_inches()
    assert min(box.x0, box.y0) > -0.02
    assert box.x1 < width + 0.02 and box.y1 < height + 0.02


# Factors.


@pytest.mark.parametrize('side', ['user', 'item'])
def test_factors_of_rows(side, dataset, first_two_columns):
    """As the plain form of the batch has them, without dropout."""
    model = IEDR(dataset.schema.num_embeddings, 4, 8, dropout=0.5).train()
    ax = plot_factors(model, dataset, side, num_samples=1000, seed=5)
    assert all(module.training for module in model.modules())
    samples = [dataset[i] for i in range(len(dataset))]
    follow = ['x_user', 'x_item', 'x_context']
    with torch.no_grad():
        batch = Batch.from_data_list(samples, follow_batch=follow)
        factors = getattr(model.eval().encode(batch).factors, side)
    expected = torch.cat([factor[:, :2] for factor in factors], dim=1).numpy()
    intrinsic, extrinsic = offsets(ax)
    assert same_points(np.concatenate([intrinsic, extrinsic], axis=1), expected)
    [arguments] = first_two_columns
    assert arguments['random_state'] == 5 and arguments['init'] == 'pca'
    assert arguments['perplexity'] == 30
    # A part of the rows.
    one, two = (plot_factors(model, dataset, side, 7, seed) for seed in (1, 2))
    assert offsets(one)[0].shape == (7, 2)
    assert not same_points(offsets(one)[0], offsets(two)[0])
    away = np.abs(offsets(one)[0][:, None] - expected[:, :2]).max(axis=2)
    assert away.min(axis=1).max() < 1e-5


def test_legend_of_factors(dataset, model):
    ax = plot_factors(model, dataset, num_samples=5)
    dots, crosses = ax.collections
    assert not same_color(dots.get_facecolor()[0], crosses.get_facecolor()[0])
    assert len(dots.get_paths()[0].vertices) > 20  # Round ...
    assert len(crosses.get_paths()[0].vertices) == 4  # ... and two strokes.
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ['intrinsic', 'extrinsic']


def test_popularity_groups(dice, graph, first_two_columns):
    """Nine items have an edge: three are popular, three normal, three unpopular."""
    ax = plot_factors(dice, graph, num_samples=50)
    vectors = dice.embeddings()[1].detach().numpy()
    interest, conformity = offsets(ax)
    order = [np.abs(vectors[:, :2] - place).max(1).argmin() for place in interest]
    assert sorted(order) == list(range(9))  # Item 9 has no edge.
    assert np.allclose(interest, vectors[order, :2])
    assert np.allclose(conformity, vectors[order, 4:6])
    colors = list(POPULARITY_GROUPS.values())
    expected = [to_rgba(colors[item // 3], alpha=0.7) for item in order]
    for points in ax.collections:
        assert np.allclose(points.get_facecolor(), expected)
    crosses, dots = (len(points.get_paths()[0].vertices) for points in ax.collections)
    assert crosses == 4 and dots > 20
    handles = ax.get_legend().legend_handles
    shown = {handle.get_label(): handle.get_color() for handle in handles}
    for name, color in POPULARITY_GROUPS.items():
        assert shown[f'{name} item'] == color
    assert shown['interest'] == shown['conformity']


def test_users_of_a_graph(dice, graph, first_two_columns):
    ax = plot_factors(dice, graph, 'user')
    vectors = dice.embeddings()[0].detach().numpy()[:9]  # The last two have no edge.
    places = np.concatenate(offsets(ax), axis=1)
    assert same_points(places, vectors[:, [0, 1, 4, 5]])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ['interest', 'conformity']


def test_same_seed_same_picture(dataset, model):
    one, two, three = (
        np.concatenate(offsets(plot_factors(model, dataset, num_samples=6, seed=seed)))
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, two) and not np.allclose(one, three)


@pytest.mark.parametrize('rows', [2, 3, 5])
def test_few_rows(rows, dataset, model, dice, graph):
    for ax in (
        plot_factors(model, dataset[:rows], num_samples=100),
        plot_factors(dice, graph, 'user', num_samples=rows),
    ):
        assert all(place.shape == (rows, 2) for place in offsets(ax))
        assert np.isfinite(offsets(ax)).all()


@pytest.mark.parametrize(('channels', 'middle'), [(2, 1), (5, 2), (5, 3)])
def test_factors_of_few_columns(channels, middle, graph):
    """And of different sizes, in markers of their own."""
    size = graph.num_users, graph.num_items
    user, item = (torch.randn(n, channels) for n in size)
    ax = plot_factors(Tables(user, item, middle, 'one', 'two'), graph)
    assert np.isfinite(offsets(ax)).all()
    shapes = [len(points.get_paths()[0].vertices) for points in ax.collections]
    assert shapes[0] != shapes[1]


def test_wrong_factors(dataset, model, dice, graph):
    with pytest.raises(ValueError, match=r"`side` is 'user' or 'item' \(got 'context'"):
        plot_factors(model, dataset, 'context')
    for other, data, message in (
        (model, graph, 'with `score.* which IEDR does not have'),
        (dice, dataset, 'whose `forward` takes a batch; that of DICE'),
        (dice.backbone, graph, 'no factors .got MF and BipartiteGraph'),
        (lambda batch: model(batch), dataset, 'no factors .got function and Planted'),
    ):
        with pytest.raises(ValueError, match=message):
            plot_factors(other, data)
    for rows in (0, 1):
        message = rf'At least 2 rows are needed \(got {rows}\)'
        with pytest.raises(ValueError, match=message):
            plot_factors(model, dataset[:rows])
        with pytest.raises(ValueError, match=message):
            plot_factors(dice, graph, num_samples=rows)
    size = dataset.schema.num_embeddings
    with pytest.raises(ValueError, match=f'{size} embeddings, the model {size + 1}'):
        plot_factors(IEDR(size + 1, 4, 8), dataset)
    other = BipartiteGraph(torch.arange(3), torch.arange(3), 3, 4)
    with pytest.raises(ValueError, match='11 users and 10 items, the graph 3 and 4'):
        plot_factors(dice, other)
    torch.nn.init.constant_(dice.backbone.item.weight, 1.0)
    with pytest.raises(ValueError, match='are equal: there is nothing to plot'):
        plot_factors(dice, graph)
    torch.nn.init.constant_(dice.backbone.item.weight, math.nan)
    with pytest.raises(ValueError, match='not finite'):
        plot_factors(dice, graph)
    assert plt.get_fignums() == []  # None is left by what fails.


# Scores.


@pytest.mark.parametrize('exclude_seen', [False, True])
def test_scores(dataset, model, exclude_seen):
    dataset = copy.copy(dataset)
    dataset.exclude_seen = exclude_seen
    user, k = 3, 5
    seen = set(dataset.item[dataset.user == user].tolist()) if exclude_seen else set()
    if exclude_seen:
        assert 0 < len(seen) < dataset.num_items - 1
    items = torch.arange(dataset.num_items)
    same = (dataset.context_frame == dataset.context_frame.iloc[0]).sum(axis=1)
    other = int(np.flatnonzero(same == 2)[0])  # Half of it is the same.
    scores, parts = [], []
    for context in (0, other):
        ids = torch.full_like(items, user), items, torch.full_like(items, context)
        with torch.no_grad():
            out = model.eval().encode(InteractionBatch.from_ids(dataset, *ids))
        scores.append(out.logits.tolist())
        factors = zip(*out.factors, strict=True)
        parts.append([(u * v).sum(1).tolist() for u, v in factors])
    top = sorted(set(range(len(items))) - seen, key=lambda item: -scores[0][item])[:k]
    a, b = dataset.context_frame.iloc[0], dataset.context_frame.iloc[other].to_dict()
    ax = plot_scores(Recommender(model, dataset), dataset.user_ids[user], a, b, k)
    for part, points in enumerate(offsets(ax)):
        expected = [(parts[0][part][item], parts[1][part][item]) for item in top]
        assert np.allclose(points, expected, atol=1e-5)  # In their order.
        change = np.mean([abs(x - y) for x, y in expected])
        name = ('intrinsic', 'extrinsic')[part]
        label = ax.collections[part].get_label()
        assert label == f'{name}\n(mean change {change:.2f})'
    [diagonal] = ax.lines
    assert diagonal.get_slope() == 1 and np.ptp(diagonal.get_xy1()) == 0
    ax.figure.canvas.draw()
    zero, one = ax.transData.transform([(0, 0), (1, 1)])
    assert np.ptp(one - zero) == pytest.approx(
        0, abs=1e-6
    )  # Either axis has the same scale.
    for points in offsets(ax):
        assert all(ax.viewLim.contains(*point) for point in points)
    assert f'{len(top)} items' in ax.get_title(loc='left')
    for context, label in ((a, ax.get_xlabel()), (b, ax.get_ylabel())):
        for name in a.index:
            assert (str(context[name]) in label) == (a[name] != b[name])


def test_scores_of_a_new_user_in_one_context(dataset, model):
    context = dataset.context_frame.iloc[0]
    user = {'age_group': '18-24', 'household': 'single'}
    ax = plot_scores(Recommender(model, dataset), user, context, context, 3)
    for points in offsets(ax):
        assert np.allclose(points[:, 0], points[:, 1])
    assert 'for a new user' in ax.get_title(loc='left')
    assert all(str(value) in ax.get_xlabel() for value in context)


def test_wrong_scores(dataset, model, dice, graph):
    with pytest.raises(ValueError, match=r'\(they have: interest, conformity\)'):
        plot_scores(Recommender(dice, graph), 0, {}, {})
    context = dataset.context_frame.iloc[0]
    with pytest.raises(ValueError, match='`k` must be at least 1'):
        plot_scores(Recommender(model, dataset), 'u1', context, context, 0)
    dataset = copy.copy(dataset)
    dataset.exclude_seen = True
    dataset.user, dataset.item, dataset.context = (
        torch.zeros(8).long(),
        torch.arange(8),
        torch.zeros(8).long(),
    )
    with pytest.raises(ValueError, match="No items are left to recommend to user 'u0'"):
        plot_scores(Recommender(model, dataset), 'u0', context, context)
    assert plt.get_fignums() == []


# Generators.


def paths(mlp) -> np.ndarray:
    first, last = (lin.weight.detach().double().abs() for lin in mlp.lins)
    out = torch.zeros(len(last), first.size(1)).double()
    for hidden in range(len(first)):
        out += last[:, hidden : hidden + 1] * first[hidden]
    return out.numpy()


@pytest.mark.parametrize('side', ['user', 'item'])
@pytest.mark.parametrize('kind', GENERATORS)
def test_generator(kind, side, dataset):
    model = IEDR(dataset.schema.num_embeddings, 3, 5, generator=kind)
    generator = model.generators[side]
    ax = plot_generator(model, side)
    [image] = ax.images
    drawn = image.get_array()
    both = f'{side} \N{MULTIPLICATION SIGN} context'
    if kind == 'split':
        expected = np.zeros((6, 6))
        expected[:3, :3] = paths(generator.intrinsic_mlp)
        expected[3:, 3:] = paths(generator.extrinsic_mlp)
        names = [side, both]
    elif kind == 'mlp':
        expected, names = paths(generator.mlp), [both]
    elif kind == 'residual':
        expected = paths(generator.mlp)
        for i in range(3):  # Channel i of the user reaches channel i of the factor.
            expected[i, 3 + i] += 1
            expected[3 + i, 6 + i] += 1
        names = [both, f'{side} (sum)', 'context (sum)']
    else:
        expected = np.abs(generator.linear.weight.detach().numpy())
        names = [side, 'context']
    assert np.allclose(drawn, expected)
    assert [text.get_text() for text in ax.get_xticklabels()] == names
    assert np.allclose(ax.get_xticks(), [1 + 3 * i for i in range(len(names))])
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        'intrinsic',
        'extrinsic',
    ]
    blocks = itertools.product(range(2), range(len(names)))
    for text, (row, column) in zip(ax.texts, blocks, strict=True):
        block = expected[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        mean = f'mean {block.mean():.3f}' if block.any() else 'no path'
        assert text.get_text() == mean
        # At the lower left corner of its block.
        assert text.xy == (3 * column - 0.5, 3 * row + 2.5)
    name = type(generator).__name__
    assert f'the {side} generator ({name})' in ax.get_title(loc='left')
    assert image.norm.vmin == 0 and image.norm.vmax == pytest.approx(expected.max())
    assert 'paths' in ax.figure.axes[-1].get_ylabel()


def test_generator_of_sums(dataset):
    model = IEDR(dataset.schema.num_embeddings, 3, 5, combine='sum')
    ax = plot_generator(model)
    assert [text.get_text() for text in ax.get_xticklabels()] == ['item + context']
    with pytest.raises(ValueError, match=r"`side` is 'user' or 'item' \(got 'context'"):
        plot_generator(model, 'context')


class Own(FactorGenerator):
    """Has no layers that are known."""


class Halved(MLPGenerator):
    """Its factors are not what its weights say."""

    def forward(self, entity: torch.Tensor, context: torch.Tensor) -> Factors:
        return Factors(*(factor / 2 for factor in super().forward(entity, context)))


def test_generator_of_ones_own(dataset):
    hooked = MLPGenerator(3, 5)
    hooked.register_forward_hook(lambda *_: None)
    for generator in (Own(3), Halved(3, 5), hooked):
        model = IEDR(dataset.schema.num_embeddings, 3, 5, generator=generator)
        name = type(generator).__name__
        with pytest.raises(ValueError, match=f'user generator is a {name}, whose weight'):
            plot_generator(model, 'user')
    assert plt.get_fignums() == []


# Histories.


def curves(ax) -> dict[str, list[float]]:
    lines = [line for panel in ax.child_axes for line in panel.lines]
    return {
        line.get_label(): line.get_ydata().tolist()
        for line in lines
        if line.get_label() != 'best epoch'
    }


def best_epochs(ax) -> set[float]:
    found = [
        [line.get_xdata() for line in panel.lines if line.get_label() == 'best epoch']
        for panel in ax.child_axes
    ]
    assert all(len(lines) == 1 for lines in found)
    return {float(x) for [line] in found for x in line}


@pytest.mark.parametrize('kind', ['folder', 'file', 'text', 'list', 'table'])
def test_history(kind, tmp_path):
    table = pd.DataFrame(HISTORY)
    table.to_csv(tmp_path / 'metrics.csv', index=False)
    ax = plot_history(
        {
            'folder': tmp_path,
            'file': tmp_path / 'metrics.csv',
            'text': str(tmp_path),
            'list': HISTORY,
            'table': table.set_index(pd.Index([7, 7, 7])),
        }[kind]
    )
    expected = table.drop(columns=[*NO_TERMS])
    assert curves(ax) == expected.to_dict('list')
    metrics, *terms = ax.child_axes
    epochs = [0, 1, 2]
    assert all(line.get_xdata().tolist() == epochs for line in metrics.lines[1:])
    assert [len(panel.lines) for panel in (metrics, *terms)] == [4, 2, 2]
    names = [[text.get_text() for text in panel.texts] for panel in ax.child_axes]
    assert names == [[], ['loss'], ['estimator']]
    legend = [text.get_text() for text in metrics.get_legend().get_texts()]
    assert legend == ['best epoch', 'ndcg@5', 'ndcg@10', 'auc']
    # Epoch 2 is as good as epoch 1: the earlier one counts, as in training.
    assert best_epochs(ax) == {1.0}
    assert 'epoch 1 has the best ndcg@10, 0.4000' in ax.get_title(loc='left')
    assert len(HISTORY[0]) == 9  # It has not been changed.


def test_panels_share_the_epochs():
    ax = plot_history(HISTORY)
    ax.figure.canvas.draw()
    boxes = [panel.get_window_extent() for panel in ax.child_axes]
    assert len({panel.get_xlim() for panel in ax.child_axes}) == 1
    assert len({(box.x0, box.x1) for box in boxes}) == 1
    for above, below in itertools.pairwise(boxes):
        assert above.y0 > below.y1
    assert boxes[0].height > boxes[1].height
    assert boxes[-1].y0 == pytest.approx(ax.get_window_extent().y0)


def test_history_of_another_monitor():
    assert best_epochs(plot_history(HISTORY, 'ndcg@5')) == {0.0}
    others = [{'epoch': 3, 'loss': 1.0}, {'epoch': 4, 'loss': 2.0}]
    ax = plot_history(others)
    assert best_epochs(ax) == {4.0} and 'the last epoch' in ax.get_title(loc='left')
    tops = [(0.5, 0.2), (0.1, 0.3)]
    history = [
        {'epoch': i, 'loss': 1.0, 'recall@20': one, 'recall@50': two}
        for i, (one, two) in enumerate(tops)
    ]
    assert best_epochs(plot_history(history)) == {1.0}
    one = plot_history([{'epoch': 0, 'hit_ratio@3': 0.5}])
    assert best_epochs(one) == {0.0} and len(one.child_axes) == 1
    assert [tick for tick in one.child_axes[0].get_xticks() if abs(tick) < 0.5] == [0]
    wrong = r"no metric 'loss' \(it has: ndcg@5, ndcg@10, auc\)"
    with pytest.raises(ValueError, match=wrong):
        plot_history(HISTORY, 'loss')


def test_no_history(tmp_path):
    with pytest.raises(FileNotFoundError, match=f'no history of a run at {tmp_path}/m'):
        plot_history(tmp_path)
    with pytest.raises(FileNotFoundError, match='no history of a run at none'):
        plot_history('none')
    with pytest.raises(ValueError, match='The history has no epochs'):
        plot_history([])
    for wrong in ([{'loss': 1.0}], [{'epoch': 0, 'seconds': 1.0}]):
        with pytest.raises(ValueError, match=f'got {", ".join(wrong[0])}'):
            plot_history(wrong)


# Popularity.


def test_popularity_overlap(dice, graph):
    ax = plot_popularity_overlap(dice, graph, ks=(5, 1, 3))
    *lines, chance = ax.lines
    assert [line.get_label() for line in lines] == ['all factors', *dice.factors]
    for line, factor in zip(lines, (None, *dice.factors), strict=True):
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


def test_numbers_of_items(dice, graph):
    assert plot_popularity_overlap(dice, graph).lines[0].get_xdata().tolist() == [10]
    few = BipartiteGraph(torch.arange(4), torch.arange(4), 5, 7)
    ax = plot_popularity_overlap(MF(5, 7, 4), few)
    assert [line.get_label() for line in ax.lines] == ['the model', 'at random']
    assert ax.lines[0].get_xdata().tolist() == [7]
    many = BipartiteGraph(torch.arange(4), torch.arange(4), 5, 45)
    ax = plot_popularity_overlap(MF(5, 45, 4), many)
    assert ax.lines[0].get_xdata().tolist() == [10, 20, 30, 40]
    with pytest.raises(ValueError, match='There are no numbers of items'):
        plot_popularity_overlap(dice, graph, ())
    with pytest.raises(ValueError, match=r'from 1 to 10 \(got 11\)'):
        plot_popularity_overlap(dice, graph, (5, 11))
    with pytest.raises(ValueError, match=r'from 1 to 10 \(got 0\)'):
        plot_popularity_overlap(dice, graph, (0,))


def test_all_items_seen():
    """A user who has had everything agrees with nothing, as in popularity_overlap."""
    graph = BipartiteGraph(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 0]), 2, 3)
    ax = plot_popularity_overlap(MF(2, 3, 4), graph, (3,))
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.5], [0.5]]


# Explanations.


def test_explanation():
    ax = plot_explanation(explanation())
    rings, lines, discs = ax.collections
    bar = ax.figure.axes[-1]
    colors = matplotlib.colormaps['PuOr_r']

    def color(difference):  # One scale for all, as far as the largest of all.
        return colors((difference + 4.0) / 8.0)

    assert bar.get_ylim() == (-4.0, 4.0) and 'difference' in bar.get_ylabel()
    places = np.asarray(discs.get_offsets())
    assert np.allclose(discs.get_facecolor(), [color(d) for d in DIFFERENCES])
    sizes = discs.get_sizes()
    assert sizes[1] > sizes[3] > sizes[0] > sizes[2] > 0  # By size, not by sign.
    # Rings around them: each feature with itself.
    assert np.allclose(rings.get_offsets(), places)
    assert len(rings.get_facecolor()) == 0 and (rings.get_sizes() > sizes).all()
    assert np.allclose(rings.get_edgecolor(), [color(PAIRS[i]) for i in (0, 4, 7, 9)])
    # The lines: pairs of two.
    pairs = list(itertools.combinations_with_replacement(range(4), 2))
    two = {pair: d for pair, d in zip(pairs, PAIRS, strict=True) if len({*pair}) == 2}
    assert len(lines.get_segments()) == len(two)
    drawn = {}
    for segment, shade, width in zip(
        lines.get_segments(), lines.get_colors(), lines.get_linewidths(), strict=True
    ):
        ends = [int(np.abs(places - end).sum(1).argmin()) for end in segment]
        assert np.allclose(places[ends], segment)
        drawn[tuple(sorted(ends))] = shade, width
    assert drawn.keys() == two.keys()
    for pair, difference in two.items():
        assert np.allclose(drawn[pair][0], color(difference)), pair
    widths = [drawn[pair][1] for pair in sorted(two, key=lambda pair: abs(two[pair]))]
    assert widths == sorted(widths) and len(set(widths)) == len(widths)
    title = ax.get_title(loc='left')
    assert '1.25' in title and 'context' in title and 'at most 4.000' in title


def test_labels_of_an_explanation():
    """Each is beside its own disc, and what is long has two lines; none overlap."""
    ax = plot_explanation(explanation())
    ax.figure.canvas.draw()
    places = np.asarray(ax.collections[-1].get_offsets())
    assert [text.get_text().replace('\n', '') for text in ax.texts] == FIELDS
    assert ax.texts[-1].get_text() == 'company=\na very long value'
    assert np.allclose([text.xy for text in ax.texts], places)
    boxes = [text.get_window_extent() for text in ax.texts]
    for one, two in itertools.combinations(boxes, 2):
        assert not one.overlaps(two)
    for box in boxes:
        for place in ax.transData.transform(places):
            assert not box.contains(*place)


def test_explanation_without_pairs():
    one = explanation()
    ax = plot_explanation(
        Explanation(one.score, one.parts, one.features, one.pairs.iloc[:0])
    )
    [discs] = ax.collections
    assert len(discs.get_offsets()) == 4
    assert ax.figure.axes[-1].get_ylim() == (-2.0, 2.0)
    assert 'line' not in ax.get_title(loc='left')
    zero = explanation([0.0] * 10)
    zero.features['difference'] = 0.0
    plot_explanation(zero).figure.canvas.draw()  # Nothing makes a difference.


def test_features_of_the_same_name():
    """Two tags that the model has not seen have one name, and two places."""
    pairs = list(itertools.combinations_with_replacement(['a', 'b', 'b'], 2))
    one = Explanation(
        0.0,
        {},
        pd.DataFrame({'side': 'item', 'feature': list('abb'), 'difference': [1, 2, 3]}),
        pd.DataFrame(pairs, columns=['feature_a', 'feature_b']).assign(
            side='item', difference=range(6)
        ),
    )
    ax = plot_explanation(one, 'item')
    assert len(ax.collections[1].get_segments()) == 3
    assert len(set(ax.collections[-1].get_sizes())) == 3


@pytest.mark.parametrize('side', ['user', 'item', 'context'])
def test_explanation_of_a_recommender(side, dataset, model):
    found = Recommender(model, dataset).explain('u2', 'i3', dataset.context_frame.iloc[0])
    features = found.features[found.features['side'] == side]
    ax = plot_explanation(found, side)
    assert [text.get_text().replace('\n', '') for text in ax.texts] == [
        *features['feature']
    ]
    most = max(
        table.loc[table['side'] == side, 'difference'].abs().max()
        for table in (found.features, found.pairs)
    )
    assert ax.figure.axes[-1].get_ylim() == pytest.approx((-most, most))


def test_wrong_explanation(dice, graph):
    found = Recommender(dice, graph).explain(1, 2)
    with pytest.raises(ValueError, match="has 0 features of side 'context'"):
        plot_explanation(found)
    one = explanation()
    with pytest.raises(ValueError, match="has 1 features of side 'context'"):
        plot_explanation(Explanation(1.0, {}, one.features.iloc[:1], one.pairs))
    for pairs in (one.pairs.iloc[:-1], one.pairs.iloc[::-1]):
        with pytest.raises(ValueError, match="pairs of side 'context' are not those"):
            plot_explanation(Explanation(1.0, {}, one.features, pairs))
    assert plt.get_fignums() == []

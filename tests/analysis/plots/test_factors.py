"""Pictures of factors and of weights, against values that are computed here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import same_color, to_rgba
from torch_geometric.data import Batch
from vector_model import Tables

from iedr_geo.analysis import plot_factors, plot_generator
from iedr_geo.analysis.plots.factors import POPULARITY_GROUPS
from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import IEDR, FactorGenerator, Factors, MLPGenerator
from iedr_geo.nn.generator import GENERATORS


@pytest.fixture
def first_two_columns(monkeypatch) -> list:
    """Instead of t-SNE, which no loop reproduces; holds its arguments."""
    calls = []

    class Columns:
        def __init__(self, num_components, **kwargs):
            assert num_components == 2
            calls.append(kwargs)

        def fit_transform(self, rows):
            return rows[:, :2]

    monkeypatch.setattr('sklearn.manifold.TSNE', Columns)
    return calls


def same_points(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two sets of rows are the same but for order and rounding."""
    away = np.abs(one[:, None] - two).max(axis=2)
    return len(one) == len(two) and away.min(1).max() < 1e-5 and away.min(0).max() < 1e-5


def offsets(ax) -> list[np.ndarray]:
    return [np.asarray(points.get_offsets()) for points in ax.collections]


def shapes(ax) -> list[int]:
    """How many points there are in the outline of each marker: of a cross four."""
    return [len(points.get_paths()[0].vertices) for points in ax.collections]


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


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
    assert same_points(np.concatenate(offsets(ax), axis=1), expected)
    assert first_two_columns == [{'random_state': 5, 'init': 'pca', 'perplexity': 30}]
    assert legend(ax) == ['intrinsic', 'extrinsic'] and shapes(ax)[0] > 20
    assert shapes(ax)[1] == 4
    dots, crosses = ax.collections
    assert not same_color(dots.get_facecolor()[0], crosses.get_facecolor()[0])
    # A part of the rows.
    one, two, again = (
        offsets(plot_factors(model, dataset, side, 7, seed))[0] for seed in (1, 2, 1)
    )
    assert one.shape == (7, 2) and not same_points(one, two)
    assert np.array_equal(one, again)
    assert np.abs(one[:, None] - expected[:, :2]).max(axis=2).min(axis=1).max() < 1e-5


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
    assert shapes(ax)[0] == 4 and shapes(ax)[1] > 20
    users = plot_factors(dice, graph, 'user')
    vectors = dice.embeddings()[0].detach().numpy()[:9]  # The last two have no edge.
    places = np.concatenate(offsets(users), axis=1)
    assert same_points(places, vectors[:, [0, 1, 4, 5]])
    assert legend(users) == ['interest', 'conformity']
    shown = {key.get_label(): key.get_color() for key in ax.get_legend().legend_handles}
    grey = shown.pop('interest')
    assert shown.pop('conformity') == grey not in colors
    assert shown == {f'{name} item': c for name, c in POPULARITY_GROUPS.items()}


def test_few_rows_and_columns(dataset, model, dice, graph):
    """And factors of different sizes, in markers of their own."""
    for rows in (2, 5):
        for ax in (
            plot_factors(model, dataset[:rows], num_samples=100),
            plot_factors(dice, graph, 'user', num_samples=rows),
        ):
            assert all(place.shape == (rows, 2) for place in offsets(ax))
            assert np.isfinite(offsets(ax)).all()
    for channels, middle in ((2, 1), (5, 2), (5, 3)):
        user, item = torch.randn(11, channels), torch.randn(10, channels)
        ax = plot_factors(Tables(user, item, middle, 'one', 'two'), graph)
        assert np.isfinite(offsets(ax)).all() and shapes(ax)[0] != shapes(ax)[1]


def test_wrong_factors(dataset, model, dice, graph):
    size = dataset.schema.num_embeddings
    other = BipartiteGraph(torch.arange(3), torch.arange(3), 3, 4)
    for arguments, message in (
        ((model, dataset, 'context'), r"`side` is 'user' or 'item' \(got 'context'"),
        ((model, graph), 'with `score.* which IEDR does not have'),
        ((dice, dataset), 'whose `forward` takes a batch; that of DICE'),
        ((dice.backbone, graph), 'no factors .got MF and BipartiteGraph'),
        ((lambda batch: model(batch), dataset), 'no factors .got function and Planted'),
        ((model, dataset[:0]), r'At least 2 rows are needed \(got 0\)'),
        ((model, dataset[:1]), r'At least 2 rows are needed \(got 1\)'),
        ((dice, graph, 'item', 1), r'At least 2 rows are needed \(got 1\)'),
        ((IEDR(size + 1, 4, 8), dataset), f'{size} embeddings, the model {size + 1}'),
        ((dice, other), '11 users and 10 items, the graph 3 and 4'),
    ):
        with pytest.raises(ValueError, match=message):
            plot_factors(*arguments)
    for value, message in ((1.0, 'are equal: there is nothing to'), (math.nan, 'fin')):
        torch.nn.init.constant_(dice.backbone.item.weight, value)
        with pytest.raises(ValueError, match=message):
            plot_factors(dice, graph)
    assert plt.get_fignums() == []  # None is left by what fails.


def paths(mlp) -> np.ndarray:
    first, last = (lin.weight.detach().double().abs().numpy() for lin in mlp.lins)
    return sum(np.outer(last[:, h], first[h]) for h in range(len(first)))


@pytest.mark.parametrize('kind', GENERATORS)
def test_generator(kind, dataset):
    side = 'item' if kind == 'mlp' else 'user'
    model = IEDR(dataset.schema.num_embeddings, 3, 5, generator=kind)
    generator = model.generators[side]
    ax = plot_generator(model, side)
    both = f'{side} \N{MULTIPLICATION SIGN} context'
    if kind == 'split':
        expected, names = np.zeros((6, 6)), [side, both]
        expected[:3, :3] = paths(generator.intrinsic_mlp)
        expected[3:, 3:] = paths(generator.extrinsic_mlp)
    elif kind == 'mlp':
        expected, names = paths(generator.mlp), [both]
    elif kind == 'separate':
        expected = np.zeros((6, 12))
        expected[:3, 3:6] = paths(generator.intrinsic_mlp) + np.eye(3)
        of_extrinsic = paths(generator.extrinsic_mlp)
        expected[3:, :3], expected[3:, 6:] = of_extrinsic[:, :3], of_extrinsic[:, 3:]
        expected[3:, 9:] += np.eye(3)
        names = [both, f'{side} (sum)', f'{side} (other sum)', 'context (sum)']
    elif kind == 'residual':
        expected = paths(generator.mlp)
        for i in range(3):  # Channel i of the user reaches channel i of the factor.
            expected[i, 3 + i] += 1
            expected[3 + i, 6 + i] += 1
        names = [both, f'{side} (sum)', 'context (sum)']
    else:
        expected = np.abs(generator.linear.weight.detach().numpy())
        names = [side, 'context']
    [image] = ax.images
    assert np.allclose(image.get_array(), expected)
    assert image.norm.vmin == 0 and image.norm.vmax == pytest.approx(expected.max())
    assert [text.get_text() for text in ax.get_xticklabels()] == names
    assert ax.get_xticks().tolist() == [1, 4, 7, 10][: len(names)]
    factors = [text.get_text() for text in ax.get_yticklabels()]
    assert factors == ['intrinsic', 'extrinsic'] and ax.get_yticks().tolist() == [1, 4]
    blocks = np.ndindex(2, len(names))
    for text, (row, column) in zip(ax.texts, blocks, strict=True):
        block = expected[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        mean = f'mean {block.mean():.3f}' if block.any() else 'no path'
        assert text.get_text() == mean
        # At the lower left corner of its block.
        assert text.xy == (3 * column - 0.5, 3 * row + 2.5)
    across, *down = [line.get_xydata().T for line in ax.lines]
    assert across[1].tolist() == [2.5, 2.5]
    assert [x[0] for x, _ in down] == [3 * i - 0.5 for i in range(1, len(names))]
    assert f'the {side} generator ({type(generator).__name__})' in ax.get_title('left')
    assert ax.get_xlabel() == 'from: 3 channels each'


class Own(FactorGenerator):
    """Has no layers that are known."""


class Halved(MLPGenerator):
    """Its factors are not what its weights say."""

    def forward(self, entity: torch.Tensor, context: torch.Tensor) -> Factors:
        return Factors(*(factor / 2 for factor in super().forward(entity, context)))


def test_other_generators(dataset):
    size = dataset.schema.num_embeddings
    model = IEDR(size, 3, 5, combine='sum')
    with pytest.raises(ValueError, match=r"`side` is 'user' or 'item' \(got 'context'"):
        plot_generator(model, 'context')
    hooked = MLPGenerator(3, 5)
    hooked.register_forward_hook(lambda *_: None)
    for own, name in (
        (Own(3), 'Own'),
        (Halved(3, 5), 'Halved'),
        (hooked, 'MLPGenerator'),
    ):
        with pytest.raises(ValueError, match=f'user generator is a {name}, whose weight'):
            plot_generator(IEDR(size, 3, 5, generator=own), 'user')
    assert plt.get_fignums() == []
    [label] = plot_generator(model).get_xticklabels()
    assert label.get_text() == 'item + context'

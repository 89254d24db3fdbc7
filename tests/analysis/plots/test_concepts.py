"""Pictures of concepts, against vectors and assignments that are computed here."""

import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from iedr_geo.analysis import plot_concepts
from iedr_geo.analysis.plots.style import COLORS, GREY
from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import UserBatch
from iedr_geo.nn import MacridVAE, MultVAE


@pytest.fixture
def first_two_columns(monkeypatch) -> None:
    """Instead of t-SNE, which no loop reproduces."""

    class Columns:
        def __init__(self, *args, **kwargs):
            pass

        def fit_transform(self, rows):
            return rows[:, :2]

    monkeypatch.setattr('sklearn.manifold.TSNE', Columns)


@pytest.fixture
def macrid(graph) -> MacridVAE:
    torch.manual_seed(0)
    return MacridVAE(graph.num_items, num_concepts=3, channels=4).train()


def rounded(place) -> tuple[int, int]:
    x, y = (round(1000 * float(value)) for value in place)
    return x, y


def points(ax, marker_size: int) -> set[tuple[int, int, str]]:
    """Places, rounded, and colours of the points of a size."""
    found = set()
    for some in ax.collections:
        if some.get_sizes()[0] == marker_size:
            color = to_hex(some.get_facecolor()[0])
            found |= {(*rounded(place), color) for place in some.get_offsets().data}
    return found


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_items_and_users(macrid, graph, first_two_columns):
    """Item 9 has no edge, and is not drawn; nor are users without one."""
    [ax] = plot_concepts(macrid, graph)
    assert macrid.training
    macrid.eval()
    with torch.no_grad():
        item = F.normalize(macrid.item.weight, dim=1)[:9, :2].numpy()
        share = macrid.assignment()
        users = graph.user_degree.nonzero().view(-1)
        user = F.normalize(macrid.encode(UserBatch.from_graph(graph, users)), dim=2)
    concept = share.argmax(1)[:9]
    expected = {
        (*rounded(place), COLORS[k].lower())
        for place, k in zip(item, concept.tolist(), strict=True)
    }
    assert points(ax, 12) == expected and len(expected) == 9
    expected = set()
    for row, u in enumerate(users.tolist()):
        best = share[graph.item[graph.user == u]].sum(0).topk(2).indices
        for k in best.tolist():
            place = user[row, k, :2].numpy()
            expected.add((*rounded(place), COLORS[k].lower()))
    assert points(ax, 30) == expected
    names = [f'concept {k}' for k in sorted(set(concept.tolist()))]
    assert set(names) <= set(legend(ax)) and legend(ax)[-1] == 'a user, of a concept'
    assert '9 items by concept' in ax.get_title(loc='left')


def test_categories_have_the_colours_of_concepts(macrid, graph, first_two_columns):
    concept = macrid.eval().assignment().argmax(1).tolist()
    categories = [f'genre {k}' for k in concept]
    categories[0] = None
    left, right = plot_concepts(macrid, graph, categories)
    by_concept = {place[:2]: place[2] for place in points(left, 12)}
    for *place, color in points(right, 12):
        assert by_concept[tuple(place)] == color
    assert len(points(right, 12)) == 8
    [(*_, color)] = points(right, 6)
    assert color == GREY and legend(right)[-1] == 'not known'
    assert len(legend(right)) == len({*concept[1:]}) + 1


def test_more_categories_than_concepts(macrid, graph, first_two_columns):
    _, right = plot_concepts(macrid, graph, list('abcdefghij'), num_users=2, num_items=8)
    assert len(legend(right)) == 10 and len(points(right, 12)) == 8
    # Colours come again, with another marker.
    shapes = {
        (to_hex(some.get_facecolor()[0]), len(some.get_paths()[0].vertices))
        for some in right.collections
        if len(some.get_offsets())
    }
    assert len(shapes) == 8


def test_own_axes_and_bad_input(macrid, graph):
    axes = plt.figure().subplots(1, 2)
    assert plot_concepts(macrid, graph, [0] * 10, axes=axes) == list(axes)
    with pytest.raises(ValueError, match=r'`axes` must be 1 \(got 2\)'):
        plot_concepts(macrid, graph, axes=axes)
    with pytest.raises(ValueError, match='MultVAE has no concepts'):
        plot_concepts(MultVAE(graph.num_items, 4, 4), graph)
    with pytest.raises(ValueError, match='one for each of the 10 items'):
        plot_concepts(macrid, graph, [1, 2])
    alone = BipartiteGraph(torch.tensor([0]), torch.tensor([0]), 1, 10)
    assert plot_concepts(macrid, alone)

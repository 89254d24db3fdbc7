"""MovieLens-1M against its raw arrays and files written by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from raw_files import arrays, lines, write

from iedr_geo.datasets import MovieLens1M


def read(folder: Path, text: str) -> MovieLens1M:
    return MovieLens1M(write(folder, {'ratings.dat': text}))


def test_is_the_raw_file(data_root):
    data = MovieLens1M(data_root / 'ml-1m')
    graph, dice = data[0], data.graph()  # The latter are the data of DICE.
    assert (dice.num_users, dice.num_items, dice.num_edges) == (4627, 1865, 212_247)
    rates = graph['user', 'rates', 'movie']
    assert rates.edge_index.shape == (2, 1_000_209)
    assert (graph['user'].num_nodes, graph['movie'].num_nodes) == (6040, 3706)
    assert 'time' not in rates
    with np.load(data_root / 'ml-1m' / 'ratings.npz') as raw:
        for ids, row, name in (
            (graph['user'].ids, rates.edge_index[0], 'user'),
            (graph['movie'].ids, rates.edge_index[1], 'item'),
        ):
            assert np.array_equal(np.array(ids, dtype=int)[row.numpy()], raw[name])
        assert np.array_equal(rates.rating.numpy(), raw['rating'])
    assert graph.validate()


def test_text(tmp_path):
    """Rows in their order, nodes in the order of their ids as numbers."""
    graph = read(tmp_path, '7::10::5::300\n7::9::4::200\n12::10::1::100\n')[0]
    rates = graph['user', 'rates', 'movie']
    assert graph['user'].ids == ['7', '12'] and graph['movie'].ids == ['9', '10']
    assert rates.edge_index.tolist() == [[0, 0, 1], [1, 0, 1]]
    assert rates.rating.tolist() == [5, 4, 1]
    assert rates.time.tolist() == [300, 200, 100]
    assert {rates[name].dtype for name in ('rating', 'time')} == {torch.long}


def test_ratings_and_records(tmp_path):
    rows = [(1, 1, 5, 0), (1, 2, 4, 0), (1, 3, 4, 0), (2, 1, 4, 0), (2, 2, 3, 0)]
    data = read(tmp_path, lines('::', rows))
    for arguments, users, items, edges in (
        ((1, 1), ['1', '2'], ['1', '2', '3'], 5),
        ((4, 1), ['1', '2'], ['1', '2', '3'], 4),
        ((4.5, 1), ['1'], ['1'], 1),
        ((1, 2), ['1', '2'], ['1', '2'], 4),
    ):
        graph = data.graph(*arguments)
        assert list(graph.user_ids) == users and list(graph.item_ids) == items
        assert graph.num_edges == edges
    # Of two movies that two rated highly, one is left: too few for either user.
    for arguments in ((4, 2), ()):
        with pytest.raises(ValueError, match='No edge is left'):
            data.graph(*arguments)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is damaged or of another format: No columns'),
        ('1::2::5::7\n1::3::6::7\n', "rating in row 2 is '6', not .* from 1 to 5$"),
        ('1::2::0::7\n', "rating in row 1 is '0', not a whole number from 1 to 5$"),
        ('1::2::4.5::7\n', r"rating in row 1 is '4\.5', "),
        ('1::2::5::7\n1::x3::5::7\n', "item in row 2 is 'x3', not a whole number$"),
        ('1::2::5::7\n-1::3::5::7\n', "user in row 2 is '-1', not a whole number$"),
        ('1::2::5::7\n1::3::5', 'is damaged or of another format: row 2 has no time$'),
        ('1:2:5:7\n', 'is damaged or of another format'),
        ('user,item\n1,2\n', 'is damaged or of another format'),
    ],
)
def test_bad_text(tmp_path, text, message):
    with pytest.raises(ValueError, match=f'{tmp_path}/ratings.dat.*{message}'):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'rating': None}, 'damaged or of another format: .*rating'),
        ({'user': [1]}, 'damaged or of another format: .*same length'),
        ({'user': [[1, 2]]}, 'damaged or of another format: .*1-dimensional'),
        ({'rating': [5, 7]}, ": the rating in row 2 is '7', not"),
        ({'item': [1.5, 2]}, r": the item in row 1 is '1\.5', not"),
        ({'user': ['1', 'bob']}, ": the user in row 2 is 'bob', not"),
        *((slice(end), 'is damaged') for end in (0, 100, -30)),
    ],
)
def test_bad_arrays(tmp_path, changes, message):
    content = {'user': [1, 2], 'item': [1, 2], 'rating': [5, 4]}
    if isinstance(changes, slice):
        file = arrays(**content)[changes]
    else:
        file = arrays(**content | changes)
    write(tmp_path, {'ratings.npz': file})
    with pytest.raises(ValueError, match=f'{tmp_path}/ratings.npz.*{message}'):
        MovieLens1M(tmp_path)

"""Embeddings of the nodes of a network by factorisation, as the SDRL paper compares."""

import numpy as np
import scipy.sparse as sp
import torch
from scipy.linalg import svd
from scipy.sparse.linalg import svds
from scipy.special import iv

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn.models.bipartite import BipartiteModel


class FixedVectors(BipartiteModel):
    """Scores by vectors of users and items that are not trained."""

    def __init__(self, vectors, num_users: int):
        super().__init__()
        vectors = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
        self.num_users, self.num_items = num_users, len(vectors) - num_users
        self.channels = vectors.size(1)
        self.vectors = torch.nn.Parameter(vectors, requires_grad=False)

    def forward(self, user, item):
        """Returns the vectors of users and items."""
        return self.vectors[user], self.vectors[self.num_users + item]


def _adjacency(graph: BipartiteGraph):
    """Returns the edges in both directions, items after users, each as one."""
    size = graph.num_users, graph.num_items
    edges = np.ones(graph.num_edges), (graph.user.numpy(), graph.item.numpy())
    ratings = sp.csr_array(edges, size)
    return sp.csr_array(sp.bmat([[None, ratings], [ratings.T, None]]))


def _per_row(matrix):
    """Returns a matrix whose rows sum to one, but for those of zeros."""
    degree = np.asarray(matrix.sum(axis=1)).ravel()
    return sp.diags(1 / np.maximum(degree, 1e-12)) @ matrix


def _first(matrix, channels: int):
    """Returns the left singular vectors, scaled by the roots of the singular values."""
    start = np.random.default_rng(0).random(matrix.shape[0])
    left, values, _ = svds(matrix, channels, v0=start)
    return left * np.sqrt(values)


def netmf(
    graph: BipartiteGraph,
    channels: int = 128,
    window: int = 10,
    num_negatives: int = 1,
) -> FixedVectors:
    r"""Embeds by `"Network Embedding as Matrix Factorization"
    <https://arxiv.org/abs/1710.02971>`_, in the exact form for small windows,

    .. math::
        \ln \max \left( \frac{\text{vol}(G)}{b T} \sum_{r=1}^T (\mathbf{D}^{-1}
        \mathbf{A})^r \mathbf{D}^{-1}, 1 \right).
    """
    adjacency = _adjacency(graph)
    degree = np.maximum(adjacency.sum(axis=1), 1)
    step = _per_row(adjacency).astype(np.float32)
    power = step.toarray()
    total = power.copy()
    for _ in range(window - 1):
        power = step @ power
        total += power
    total *= (adjacency.sum() / (num_negatives * window) / degree).astype(np.float32)
    np.log(np.maximum(total, 1, out=total), out=total)
    return FixedVectors(_first(total, channels), graph.num_users)


def prone(
    graph: BipartiteGraph,
    channels: int = 128,
    order: int = 10,
    mu: float = 0.2,
    theta: float = 0.5,
) -> FixedVectors:
    """Embeds by `"ProNE: Fast and Scalable Network Representation Learning"
    <https://doi.org/10.24963/ijcai.2019/594>`_, with the settings of its authors.

    A sparse matrix is factorised; then a band-pass filter of the graph's spectrum, the
    expansion of a Gaussian in Chebyshev polynomials, propagates the vectors.
    """
    adjacency = _adjacency(graph)
    share = sp.coo_array(_per_row(adjacency))
    negative = share.sum(axis=0) ** 0.75
    negative /= negative.sum()
    data = np.log(share.data) - np.log(negative[share.col])
    matrix = sp.csr_array((data, (share.row, share.col)), adjacency.shape)
    vectors = _of_length_one(_first(matrix, channels))

    unit = sp.eye(len(vectors), format='csr')
    with_loops = unit + adjacency
    shifted = (1 - mu) * unit - _per_row(with_loops)

    def twice(x):
        return shifted @ (shifted @ x)

    before, now = vectors, 0.5 * twice(vectors) - vectors
    filtered = iv(0, theta) * before - 2 * iv(1, theta) * now
    for number in range(2, order):
        before, now = now, twice(now) - 2 * now - before
        filtered += (-1) ** number * 2 * iv(number, theta) * now
    left, values, _ = svd(with_loops @ (vectors - filtered), full_matrices=False)
    return FixedVectors(_of_length_one(left * np.sqrt(values)), graph.num_users)


def _of_length_one(vectors):
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)

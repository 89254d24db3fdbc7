"""SIGN and its variant without a network, against loops over graphs, nodes and edges."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn import SIGN, BiInteractionEncoder

IN, HIDDEN, OUT = 3, 6, 4
VOCABULARY = 5


@dataclass
class Graphs:
    """Graphs as lists, to loop over, and collated, to encode."""

    nodes: list[list[int]]
    edges: list[list[tuple[int, int]]]
    weights: list[list[float]] | None = None

    def __post_init__(self) -> None:
        offset, edges = 0, []
        for nodes, pairs in zip(self.nodes, self.edges, strict=True):
            edges += [(offset + i, offset + j) for i, j in pairs]
            offset += len(nodes)
        self.node_id = torch.tensor(list(chain(*self.nodes)))
        self.edge_index = torch.tensor(edges, dtype=torch.long).view(-1, 2).t()
        self.ptr = torch.tensor([0, *map(len, self.nodes)]).cumsum(0)
        self.edge_weight = None
        if self.weights is not None:
            weights = [*chain(*self.weights)]
            self.edge_weight = torch.tensor(weights, dtype=torch.double)

    def take(self, rows: Sequence[int]) -> Graphs:
        """The graphs of rows, each row with a graph of its own."""
        return Graphs(
            [self.nodes[row] for row in rows],
            [self.edges[row] for row in rows],
            self.weights and [self.weights[row] for row in rows],
        )


def draw_graphs(kind: str, weighted: bool, seed: int = 0) -> Graphs:
    """Draws graphs of 1 to 4 nodes; the last repeats the first, features recur."""
    draw = random.Random(seed)
    nodes, edges = [], []
    for size in (3, 1, 4, 2, 1):
        nodes.append([draw.randrange(VOCABULARY) for _ in range(size)])
        pairs = [(source, target) for target in range(size) for source in range(size)]
        if kind == 'arbitrary':  # Among them edges twice and nodes without any.
            pairs = draw.choices(pairs, k=draw.randrange(1, size + 2))
        edges.append(pairs)
    nodes[2][3] = nodes[2][1]  # The same feature twice in a graph.
    nodes, edges = [*nodes, nodes[0]], [*edges, edges[0]]
    weights = [[draw.uniform(-1, 2) for _ in pairs] for pairs in edges]
    return Graphs(nodes, edges, weights if weighted else None)


@dataclass
class Case:
    """An encoder, the features and what the encoder does to a product of two."""

    encoder: SIGN
    table: Tensor
    h: Callable[[Tensor], Tensor]

    @property
    def tensors(self) -> list[Tensor]:
        return [self.table, *self.encoder.parameters()]

    def encode(
        self,
        graphs: Graphs,
        pairs: bool,
        rows: Sequence[int] | None = None,
        single: bool = False,
    ) -> Tensor:
        device = self.table.device
        node_id, edge_index = graphs.node_id.to(device), graphs.edge_index.to(device)
        weight = graphs.edge_weight
        return self.encoder(
            self.table[node_id],
            edge_index,
            None if single else graphs.ptr.to(device),
            edge_weight=None if weight is None else weight.to(device),
            node_id=10**8 * node_id if pairs else None,  # Numbers may be far apart.
            rows=None if rows is None else torch.tensor(rows, device=device),
        )

    def expected(self, graphs: Graphs, masks: Tensor | None = None) -> Tensor:
        """Means over nodes i of means over their edges of e_ij m_ij h(z_i * z_j)."""
        out, mask, table = [], iter(() if masks is None else masks), self.table
        for g, (nodes, edges) in enumerate(zip(graphs.nodes, graphs.edges, strict=True)):
            of_target: list[list[Tensor]] = [[] for _ in nodes]
            for k, (j, i) in enumerate(edges):
                message = self.h(table[nodes[i]] * table[nodes[j]])
                if masks is not None:
                    message = next(mask) * message
                if graphs.weights is not None:
                    message = graphs.weights[g][k] * message
                of_target[i].append(message)
            # A node without edges counts as a node whose features are zero.
            total = sum(sum(some) / len(some) for some in of_target if some)
            out.append(total / len(nodes))
        return torch.stack(out)


@pytest.fixture(params=['sign', 'bi'])
def make_case(request, device, perceptron) -> Callable[..., Case]:
    def make(dropout: float = 0.0) -> Case:
        table = torch.randn(VOCABULARY, IN, dtype=torch.double)
        table = table.to(device).requires_grad_()
        if request.param == 'bi':
            return Case(BiInteractionEncoder(dropout), table, lambda z: z)
        encoder = SIGN(IN, HIDDEN, OUT, dropout).double().to(device)
        return Case(encoder, table, lambda z: perceptron(encoder.conv.nn, z))

    return make


every_batch = pytest.mark.parametrize(
    ('kind', 'weighted'), [*product(['complete', 'arbitrary'], [False, True])]
)
both_paths = pytest.mark.parametrize('pairs', [False, True], ids=['edges', 'pairs'])


@pytest.mark.aggregation
@both_paths
@every_batch
def test_equals_loops(kind, weighted, pairs, make_case, aggregation, assert_same):
    """Whether or not edges are sorted by graph; rows take the readout of theirs."""
    case = make_case()
    for seed in range(4):
        graphs = draw_graphs(kind, weighted, seed)
        if seed % 2:
            order = torch.randperm(graphs.edge_index.size(1))
            graphs.edge_index = graphs.edge_index[:, order]
            graphs.edge_weight = graphs.edge_weight[order] if weighted else None
        rows = [4, 0, 2, 2, 5, 2] if seed > 1 else None  # Two graphs are in no row.
        expected = case.expected(graphs if rows is None else graphs.take(rows))
        assert_same(case.encode(graphs, pairs, rows), expected, case.tensors)


@both_paths
def test_single_graph_needs_no_pointer(pairs, make_case, assert_same):
    case, graphs = make_case(), draw_graphs('arbitrary', True)
    for g in range(len(graphs.nodes)):
        graph = graphs.take([g])
        assert_same(case.encode(graph, pairs, single=True), case.expected(graph))


def test_a_pair_is_evaluated_once(make_case):
    case, graphs = make_case(), draw_graphs('complete', False)
    evaluated: list[int] = []
    case.encoder.conv.nn.register_forward_pre_hook(
        lambda _, inputs: evaluated.append(len(inputs[0]))
    )
    case.encode(graphs, pairs=True, rows=[0, 0, 1, 2])
    pairs = {frozenset(pair) for nodes in graphs.nodes for pair in product(nodes, nodes)}
    assert evaluated == [len(pairs)]


@both_paths
def test_weights_of_edges_can_be_learned(pairs, make_case, assert_same):
    case, graphs = make_case(), draw_graphs('arbitrary', True)
    weight = graphs.edge_weight.to(case.table.device).requires_grad_()
    graphs.edge_weight = weight
    parts = iter(weight)
    graphs.weights = [[next(parts) for _ in edges] for edges in graphs.edges]
    actual = case.encode(graphs, pairs, rows=[0, 1, 2, 3, 4, 5])
    assert_same(actual, case.expected(graphs), [weight, *case.tensors])


@every_batch
@pytest.mark.parametrize('form', ['edges', 'pairs', 'pairs of rows'])
def test_dropout_is_a_mask_on_each_message(form, kind, weighted, make_case, assert_same):
    case, graphs = make_case(dropout=0.4), draw_graphs(kind, weighted)
    rows = [2, 0, 2, 5, 1] if form == 'pairs of rows' else range(len(graphs.nodes))
    expanded = graphs.take(rows)  # With a message of its own for each row.
    channels = case.h(case.table[0]).numel()
    torch.manual_seed(1)
    ones = case.table.new_ones(expanded.edge_index.size(1), channels)
    masks = F.dropout(ones.detach(), 0.4)
    torch.manual_seed(1)
    actual = case.encode(
        graphs, form != 'edges', rows if form == 'pairs of rows' else None
    )
    assert_same(actual, case.expected(expanded, masks), case.tensors)
    torch.manual_seed(1)
    plain = case.encode(expanded, pairs=False)
    assert_same(actual, plain, case.tensors, tol=1e-12)
    case.encoder.eval()
    assert_same(case.encode(expanded, form != 'edges'), case.expected(expanded))


@pytest.mark.parametrize('learned', [False, True])
def test_rows_cannot_share_dropout(learned, make_case):
    case, graphs = make_case(dropout=0.4), draw_graphs('complete', learned)
    if learned:
        graphs.edge_weight = graphs.edge_weight.to(case.table.device).requires_grad_()
    with pytest.raises(ValueError, match='give every row a graph of its own'):
        case.encode(graphs, pairs=learned, rows=[0, 0])
    case.encoder.eval()
    out = case.encode(graphs, pairs=learned, rows=[0, 0])
    torch.testing.assert_close(out[0], out[1])


def test_defaults():
    # Table 10: a hidden layer of 128, readouts of the size of the embeddings.
    shapes = [tuple(p.shape) for p in SIGN(32).parameters()]
    assert shapes == [(128, 32), (128,), (32, 128), (32,)]
    assert SIGN(32).conv.dropout == 0
    assert not list(BiInteractionEncoder().parameters())

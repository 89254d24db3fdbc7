"""All that IEDR makes of a batch, to compare two ways to it, and its nodes by hand."""

from cinema import values_of
from torch import Tensor, cat, manual_seed, stack, testing
from torch.nn import Module
from torch_geometric.data import Batch

from iedr_geo.data import InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import IEDR, BCEObjective

Run = dict[str, Tensor | None]


def gradients(model: Module, loss: Tensor, prefix: str = '') -> Run:
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {f'{prefix}{name}': p.grad for name, p in model.named_parameters()}


def run(model: IEDR, batch: InteractionBatch | Batch) -> Run:
    """Readouts, factors, logits, losses, and the gradients of both steps."""
    manual_seed(1)
    encoded = model.encode(batch)
    losses = [BCEObjective()(encoded.logits, batch.y)]
    losses += model.extra_losses(batch, encoded).values()
    out = gradients(model, sum(losses), 'total ')
    if model.disentangling:
        losses.append(model.estimator_loss(encoded))
        out |= gradients(model, losses[-1], 'estimator ')
    return out | {
        'readouts': cat(encoded[:3], dim=1),
        'factors': cat([*encoded.factors.user, *encoded.factors.item], dim=1),
        'logits': encoded.logits,
        'losses': stack(losses),
    }


def assert_same_run(actual: Run, expected: Run, tol: float) -> None:
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        got = actual[name]
        assert (got is None) == (wanted is None), name
        if wanted is not None and got is not None:
            message = f'{name}: {{}}'.format
            testing.assert_close(got.cpu(), wanted.cpu(), rtol=tol, atol=tol, msg=message)


def features_by_hand(
    table: Tensor, dataset: InteractionDataset, side: str, row: int
) -> list[tuple[str, Tensor]]:
    """Field and features of each node of a graph of the cinema, read off its tables."""
    nodes = []
    for field, value, factor in values_of(side, row):
        first = dataset.schema.offsets(side)[field]
        if value == '<vector>':  # Its entries times as many rows.
            rows = table[first + 2 : first + 2 + len(factor)]
            z = sum(float(v) * e for v, e in zip(factor, rows, strict=True))
        elif value is None:
            z = table[first + 1]
        else:
            index = dataset.schema.vocabulary[side][field].index(value)
            z = float(factor) * table[first + 2 + index]
        nodes.append((field, z))
    return nodes

"""Models of interactions whose factors are given, and what a report says of them."""

import torch
from torch import Tensor

from iedr_geo.analysis import DisentanglementReport
from iedr_geo.data import InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import Encoded, Factors, IEDRFactors


class Handmade:
    """Factors that are given for each user or item, and each field of a context.

    Args:
        data: What has the contexts.
        kind: `'disentangled'`: the intrinsic factor is of the user or item alone, the
            extrinsic one of the context alone. `'entangled'`: both are of both, each in
            directions of its own. `'constant'`: no factor ever changes, but for rounding.
    """

    def __init__(self, data: InteractionDataset, kind: str, channels: int = 8) -> None:
        generator = torch.Generator().manual_seed(3)

        def table(rows: int) -> Tensor:
            return torch.randn(rows, channels, generator=generator)

        self.kind = kind
        self.entities = {'user': table(data.num_users), 'item': table(data.num_items)}
        fields = table(data.schema.num_embeddings)[data.contexts.x.view(-1, 4)]
        self.contexts = fields.sum(1) / 2
        self.turns = [torch.linalg.qr(table(channels))[0] for _ in range(2)]

    def factors(self, side: str, batch: InteractionBatch) -> Factors:
        entity = getattr(batch, f'{side}_id')
        who, where = self.entities[side][entity], self.contexts[batch.context_id]
        if self.kind == 'disentangled':
            return Factors(who, where)
        if self.kind == 'entangled':
            return Factors(*((who + where) @ turn for turn in self.turns))
        rounding = 1e-6 * (who + where)
        return Factors(3 + rounding, 3 + rounding)

    def encode(self, batch: InteractionBatch) -> Encoded:
        assert not torch.is_grad_enabled()
        user, item = self.factors('user', batch), self.factors('item', batch)
        logits = (sum(user) * sum(item)).sum(-1)
        return Encoded(user[0], item[0], item[1], IEDRFactors(user, item), logits)

    def __call__(self, batch: InteractionBatch) -> Tensor:
        return self.encode(batch).logits


def value(found: DisentanglementReport, measure: str, factor: str, *key: str) -> float:
    """The one value of a measure and a factor, and a side or group where others are."""
    table = found.table.query('measure == @measure and factor == @factor')
    kept = table[['side', 'group']].isin(key).sum(axis=1) == len(key)
    [number] = table['value'][kept]
    return number


def verdicts(found: DisentanglementReport) -> dict[tuple[str, str, str], str]:
    return found.separation.set_index(['group', 'measure', 'side'])['separates'].to_dict()

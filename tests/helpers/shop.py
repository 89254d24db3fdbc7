"""The toy shop, and models of it whose scores are exact."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, FeatureSchema, InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import IEDR
from iedr_geo.testing import toy_tables

SALES, CUSTOMERS, ARTICLES, _ = toy_tables()
BOUGHT = list(zip(SALES['customer'], SALES['article'], strict=True))
IDS = ARTICLES['article'].tolist()
CONTEXTS = [
    {'day': day, 'gift': gift} for day in ('mon', 'sat') for gift in (True, False)
]


def bought(customer: Any) -> set[int]:
    return {article for one, article in BOUGHT if one == customer}


def make_shop(sales: pd.DataFrame = SALES, **kwargs: Any) -> InteractionDataset:
    tables = toy_tables()._replace(interactions=sales)
    return InteractionDataset.from_pandas(
        *tables, user='customer', item='article', **{'exclude_seen': True} | kwargs
    )


def make_model(schema: FeatureSchema, exact: bool = False, **kwargs: Any) -> IEDR:
    """A random model, of small integers if its scores shall be exact."""
    model = IEDR(schema.num_embeddings, 4, 8, **kwargs).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if exact:
            parameter.copy_(torch.randint(-1, 2, parameter.shape))
    return model


def every_triple(dataset: InteractionDataset) -> InteractionBatch:
    """All users with all items in all contexts, the last index that of contexts."""
    sizes = dataset.num_users, dataset.num_items, dataset.num_contexts
    places = torch.cartesian_prod(*map(torch.arange, sizes)).to(dataset.user.device)
    return InteractionBatch.from_ids(dataset, *places.unbind(1))


def row_of(customer: Any) -> dict[str, Any]:
    """The features of a customer by id; those of a stranger are missing."""
    known = CUSTOMERS[CUSTOMERS['customer'] == customer].to_dict('records')
    return known[0] if known else {'customer': customer}


def batch_of(
    schema: FeatureSchema, customer: Mapping[str, Any], context: Mapping[str, Any]
) -> InteractionBatch:
    """A customer with all articles in a context, from tables with a key of their own."""
    row = dict.fromkeys(CUSTOMERS) | dict(customer) | {'key': 0}
    dataset = InteractionDataset.from_pandas(
        pd.DataFrame([dict(context) | {'key': 0, 'article': 40}], dtype=object),
        pd.DataFrame([row], dtype=object),
        ARTICLES,
        schema,
        user='key',
        item='article',
    )
    return every_triple(dataset)


def parts_of(model: IEDR, batch: InteractionBatch) -> dict[str, Tensor]:
    """The parts of the scores of a batch by their definition."""
    (user_in, user_ex), (item_in, item_ex) = model.encode(batch).factors
    parts = {
        'intrinsic': (user_in * item_in).sum(1),
        'extrinsic': (user_ex * item_ex).sum(1),
        'cross': (user_in * item_ex).sum(1) + (user_ex * item_in).sum(1),
    }
    if model.pointwise is not None:  # What the factors do not account for.
        parts['pointwise'] = model(batch) - sum(parts.values())
    return parts


def make_graph() -> BipartiteGraph:
    tables = SALES, 'customer', 'article', CUSTOMERS, ARTICLES
    return BipartiteGraph.from_pandas(*tables, exclude_seen=True)


class Pairs(torch.nn.Module):
    """Has a score for each pair of numbers, and notes which items it is asked about."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        size = len(CUSTOMERS), len(ARTICLES)
        self.table = torch.nn.Parameter(torch.randint(-3, 4, size).double())
        self.power, self.asked = power, set[int]()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        self.asked |= set(item.flatten().tolist())
        return self.table[user, item] ** self.power


def assert_similar(
    table: pd.DataFrame, name: str, expected: Mapping[str, float], k: int
) -> None:
    """Checks ids and cosines, in any order where the cosines hardly differ."""
    assert list(table) == [name, 'similarity'] and table[name].is_unique
    similarity = torch.tensor(table['similarity'].tolist())
    best = torch.tensor(sorted(expected.values(), reverse=True)[:k])
    torch.testing.assert_close(similarity, best, rtol=0, atol=1e-6)
    of_ids = torch.tensor([expected[i] for i in table[name]])
    torch.testing.assert_close(similarity, of_ids, rtol=0, atol=1e-6)

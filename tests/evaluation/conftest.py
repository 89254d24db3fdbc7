import pytest
import torch
from shop import make_shop

from iedr_geo.data import InteractionDataset


@pytest.fixture
def log() -> InteractionDataset:
    """Eighty random rows of the shop, some of them twice."""
    rows = make_shop()[torch.zeros(80, dtype=torch.long)]
    rows.user = torch.randint(rows.num_users, (80,))
    rows.item = torch.randint(rows.num_items, (80,))
    rows.context = torch.randint(rows.num_contexts, (80,))
    return rows

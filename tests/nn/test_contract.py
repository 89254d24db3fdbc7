from __future__ import annotations

import pytest
import torch

from iedr_geo.nn import IEDR
from iedr_geo.nn.contract import has_hooks, stands_for


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.part = torch.nn.Linear(2, 1)

    def encode(self, batch):
        return self.part(batch)

    def forward(self, batch):
        return self.encode(batch)


class OtherForward(Base):
    def forward(self, batch):
        return 2 * super().forward(batch)


class OtherEncode(Base):
    def encode(self, batch):
        return 2 * super().encode(batch)


class Both(OtherForward):
    def encode(self, batch):
        return super().encode(batch)

    def forward(self, batch):
        return super().forward(batch)


class EncodeBelow(OtherForward):
    def encode(self, batch):
        return 3 * super().encode(batch)


class Unchanged(OtherForward):
    pass


@pytest.mark.parametrize(
    ('cls', 'expected'),
    [
        (Base, True),
        (OtherForward, False),
        (Unchanged, False),
        (OtherEncode, True),
        (Both, True),
        (EncodeBelow, True),
        (torch.nn.Linear, False),
    ],
)
def test_stands_for(cls, expected):
    model = cls(2, 1) if cls is torch.nn.Linear else cls()
    assert stands_for(model, 'encode', 'forward') == expected


def test_methods_of_an_instance():
    model = Base()
    model.forward = lambda batch: batch
    assert not stands_for(model, 'encode', 'forward')
    model.encode = lambda batch: batch
    assert stands_for(model, 'encode', 'forward')
    assert stands_for(Base(), 'encode', 'forward', 'missing')


def test_all_others_count():
    class Mine(IEDR):
        def encode(self, batch):
            return super().encode(batch)

    model = Mine(9, 4, 8)
    assert stands_for(model, 'encode', 'forward')
    assert stands_for(model, 'score_items', 'forward')
    assert not stands_for(model, 'score_items', 'forward', 'encode')


@pytest.mark.parametrize('kind', ['register_forward_hook', 'register_forward_pre_hook'])
def test_hooks(kind):
    model = Base()
    for place, own in ((model, True), (model.part, False)):
        hook = getattr(place, kind)(lambda *_: None)
        assert has_hooks(model) and has_hooks(model, parts=False) == own
        hook.remove()
        assert not has_hooks(model)

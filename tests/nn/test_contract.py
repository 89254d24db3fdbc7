import pytest
import torch
from changed import changed, of_result

from iedr_geo.nn.contract import has_hooks, stands_for


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.part = torch.nn.Linear(2, 1)

    def encode(self, batch):
        return self.part(batch)

    def forward(self, batch):
        return self.encode(batch)


TWICE = of_result(lambda out: 2 * out)
OtherForward = changed(Base, 'forward', TWICE)
OtherEncode = changed(Base, 'encode', TWICE)


@pytest.mark.parametrize(
    ('cls', 'expected'),
    [
        (Base, True),
        (OtherForward, False),
        (type('Unchanged', (OtherForward,), {}), False),
        (OtherEncode, True),
        (changed(OtherForward, 'encode', TWICE), True),
        (changed(OtherEncode, 'forward', TWICE), False),
        (torch.nn.Flatten, False),
    ],
)
def test_stands_for(cls, expected):
    assert stands_for(cls(), 'encode', 'forward') == expected


def test_methods_of_an_instance_and_several():
    model = Base()
    model.forward = lambda batch: batch
    assert not stands_for(model, 'encode', 'forward')
    model.encode = lambda batch: batch
    assert stands_for(model, 'encode', 'forward')
    assert stands_for(Base(), 'encode', 'forward', 'missing')
    assert not stands_for(OtherEncode(), 'forward', 'encode')
    assert not stands_for(OtherEncode(), 'forward', 'missing', 'encode')


@pytest.mark.parametrize('kind', ['register_forward_hook', 'register_forward_pre_hook'])
def test_hooks(kind):
    model = Base()
    for part, own in ((model, True), (model.part, False)):
        hook = getattr(part, kind)(lambda *_: None)
        assert has_hooks(model) and has_hooks(model, parts=False) == own
        hook.remove()
        assert not has_hooks(model)

"""Pictures of the weights of generators, against loops over paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from iedr_geo.analysis import plot_generator
from iedr_geo.nn import IEDR, FactorGenerator, Factors, MLPGenerator
from iedr_geo.nn.generator import GENERATORS


def paths(mlp) -> np.ndarray:
    first, last = (lin.weight.detach().double().abs() for lin in mlp.lins)
    out = torch.zeros(len(last), first.size(1)).double()
    for hidden in range(len(first)):
        out += last[:, hidden : hidden + 1] * first[hidden]
    return out.numpy()


@pytest.mark.parametrize('side', ['user', 'item'])
@pytest.mark.parametrize('kind', GENERATORS)
def test_generator(kind, side, dataset):
    model = IEDR(dataset.schema.num_embeddings, 3, 5, generator=kind)
    generator = model.generators[side]
    ax = plot_generator(model, side)
    both = f'{side} \N{MULTIPLICATION SIGN} context'
    if kind == 'split':
        expected, names = np.zeros((6, 6)), [side, both]
        expected[:3, :3] = paths(generator.intrinsic_mlp)
        expected[3:, 3:] = paths(generator.extrinsic_mlp)
    elif kind == 'mlp':
        expected, names = paths(generator.mlp), [both]
    elif kind == 'residual':
        expected = paths(generator.mlp)
        for i in range(3):  # Channel i of the user reaches channel i of the factor.
            expected[i, 3 + i] += 1
            expected[3 + i, 6 + i] += 1
        names = [both, f'{side} (sum)', 'context (sum)']
    else:
        expected = np.abs(generator.linear.weight.detach().numpy())
        names = [side, 'context']
    [image] = ax.images
    assert np.allclose(image.get_array(), expected)
    assert image.norm.vmin == 0 and image.norm.vmax == pytest.approx(expected.max())
    assert [text.get_text() for text in ax.get_xticklabels()] == names
    assert np.allclose(ax.get_xticks(), [1 + 3 * i for i in range(len(names))])
    factors = [text.get_text() for text in ax.get_yticklabels()]
    assert factors == ['intrinsic', 'extrinsic'] and ax.get_yticks().tolist() == [1, 4]
    blocks = np.ndindex(2, len(names))
    for text, (row, column) in zip(ax.texts, blocks, strict=True):
        block = expected[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        mean = f'mean {block.mean():.3f}' if block.any() else 'no path'
        assert text.get_text() == mean
        # At the lower left corner of its block.
        assert text.xy == (3 * column - 0.5, 3 * row + 2.5)
    across, *down = [line.get_xydata().T for line in ax.lines]
    assert across[1].tolist() == [2.5, 2.5]
    assert [x[0] for x, _ in down] == [3 * i - 0.5 for i in range(1, len(names))]
    name = type(generator).__name__
    assert f'the {side} generator ({name})' in ax.get_title(loc='left')
    assert ax.get_xlabel() == 'from: 3 channels each'
    assert 'paths' in ax.figure.axes[-1].get_ylabel()


class Own(FactorGenerator):
    """Has no layers that are known."""


class Halved(MLPGenerator):
    """Its factors are not what its weights say."""

    def forward(self, entity: torch.Tensor, context: torch.Tensor) -> Factors:
        return Factors(*(factor / 2 for factor in super().forward(entity, context)))


def test_other_generators(dataset):
    size = dataset.schema.num_embeddings
    model = IEDR(size, 3, 5, combine='sum')
    with pytest.raises(ValueError, match=r"`side` is 'user' or 'item' \(got 'context'"):
        plot_generator(model, 'context')
    hooked = MLPGenerator(3, 5)
    hooked.register_forward_hook(lambda *_: None)
    for generator in (Own(3), Halved(3, 5), hooked):
        own = IEDR(size, 3, 5, generator=generator)
        name = type(generator).__name__
        with pytest.raises(ValueError, match=f'user generator is a {name}, whose weight'):
            plot_generator(own, 'user')
    assert plt.get_fignums() == []
    [label] = plot_generator(model).get_xticklabels()
    assert label.get_text() == 'item + context'

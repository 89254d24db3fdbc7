import pytest

from iedr_geo.loader import Curriculum


@pytest.mark.parametrize(
    ('curriculum', 'past'),
    [
        (Curriculum(0.9), [0, 0, 1, 7]),
        (Curriculum(0.9, every='step'), [0, 2, 3, 23]),
        (Curriculum(), [0, 0, 0, 0]),
    ],
)
def test_powers(curriculum: Curriculum, past: list[int]):
    moments = [(0, 0), (0, 2), (1, 0), (7, 2)]
    factors = [curriculum.at(epoch, step, 3) for epoch, step in moments]
    assert factors == pytest.approx([curriculum.decay**n for n in past])


def test_bad_arguments():
    for decay in (0.0, 1.01, float('nan')):
        with pytest.raises(ValueError, match=rf'`decay` must be .*\(got {decay}\)'):
            Curriculum(decay)
    with pytest.raises(ValueError, match=r"'epoch' or 'step' \(got 'batch'\)"):
        Curriculum(every='batch')

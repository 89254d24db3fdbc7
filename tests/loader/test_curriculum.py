import pytest

from iedr_geo.loader import Curriculum


def test_bad_arguments():
    for decay in (0.0, 1.01, float('nan')):
        with pytest.raises(ValueError, match=rf'`decay` must be .*\(got {decay}\)'):
            Curriculum(decay)
    with pytest.raises(ValueError, match=r"'epoch' or 'step' \(got 'batch'\)"):
        Curriculum(every='batch')

"""Seeds of different places in a run must differ."""

import itertools

import torch

from iedr_geo.data.randomness import derive_seed


def test_every_place_has_its_own_seed():
    places = list(itertools.product((0, 1, 2, 12345), range(30), (0, 1)))
    places += [(2**32 - 1, 0, 0), (0, 2**32 - 1, 0)]
    seeds = [derive_seed(*place) for place in places]
    assert len(set(seeds)) == len(places)
    assert seeds == [derive_seed(*place) for place in places]
    for seed in seeds:
        assert torch.Generator().manual_seed(seed).initial_seed() == seed

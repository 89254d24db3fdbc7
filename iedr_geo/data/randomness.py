"""Seeds that derive from a run's seed and a point of the run."""

from __future__ import annotations

import numpy as np


def derive_seed(*parts: int) -> int:
    """Mixes integers, *e.g.*, seed, epoch and rank, into a seed for a generator."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)

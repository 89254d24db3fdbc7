"""Draws written out, one after the other."""

import numpy as np


def draw_one_by_one(
    scores: np.ndarray, number: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws items without replacement as the rule has it: a softmax over what is left."""
    drawn = np.zeros(scores.shape, dtype=bool)
    for _ in range(number):
        chance = np.exp(scores) * ~drawn
        steps = chance.cumsum(axis=1)
        level = rng.random(len(scores)) * steps[:, -1]
        drawn[np.arange(len(scores)), (steps <= level[:, None]).sum(axis=1)] = True
    return drawn

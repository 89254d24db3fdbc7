"""What one would pick instead of IEDR, on the library's contract of a model.

The networks are written out after their papers. Those of DeepCTR-Torch 0.3 and
torch-rechub 0.9 come with one table for each field, which holds one value or a padded
list, and return probabilities; besides, the first asks PyPI for its version whenever it
is imported, and the second normalises batches in every network, adds the bias of a cross
after the product, and weighs no single feature.
"""

from peers.autoint import AutoInt
from peers.cross import DCNv2
from peers.factorization import FM, DeepFM, WideDeep
from peers.two_tower import TwoTower
from peers.without_context import EASE, lightgcn, tuned_ease

__all__ = ['PEERS', 'tuned_ease']

PEERS = {
    'fm': FM,
    'deepfm': DeepFM,
    'wdl': WideDeep,
    'dcnv2': DCNv2,
    'autoint': AutoInt,
    'twotower': TwoTower,
    'lightgcn': lightgcn,
    'ease': EASE,
}

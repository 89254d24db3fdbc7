"""Transforms that build or change the edges of feature graphs.

They work on a single graph and on a batch of many, as those of PyG do; of these,
:class:`~torch_geometric.transforms.RemoveSelfLoops` is here as well.
"""

from torch_geometric.transforms import RemoveSelfLoops

from iedr_geo.transforms.complete import Complete
from iedr_geo.transforms.field_pairs import FieldPairs

__all__ = [
    'Complete',
    'FieldPairs',
    'RemoveSelfLoops',
]

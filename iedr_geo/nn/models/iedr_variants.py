"""The variants of IEDR."""

from __future__ import annotations

from typing import Any

IEDR_VARIANTS: dict[str, dict[str, Any]] = {
    'IEDR': {},
    'noDis': {'disentangling_weight': 0.0},
    'noCL': {'contrastive_weight': 0.0},
    'noCIED': {'contrastive_weight': 0.0, 'disentangling_weight': 0.0},
    'vCLUB': {'bidirectional': False},
    'NegGen1': {'contexts': 'sample'},
    'NegGen2': {'contexts': 'dropout'},
    'AVG': {'encoder': 'mean'},
    'MLP': {'encoder': 'mlp'},
    'BI': {'encoder': 'bi'},
    'Linear': {'generator': 'linear'},
    'Nonlinear': {'generator': 'nonlinear'},
    'IEDR_sp': {'generator': 'split', 'context_dropout': 0.1},
    'dropout': {'dropout': 0.5, 'pointwise': True},
    'released': {
        'dropout': 0.5,
        'pointwise': True,
        'contrastive_variant': 'released',
        'halve': False,
    },
    'separate': {
        'generator': 'separate',
        'cross': False,
        'pointwise': True,
        'contrastive_weight': 0.0,
    },
}
r"""Constructor arguments of the variants in the paper's experiments, and of one that is
not in the paper, by name.

:obj:`"dropout"` adds to the paper's losses what the authors' scripts do and the paper
does not mention: message dropout and pointwise terms. :obj:`"released"` has the scripts'
losses as well: the double softmax, no one half. :obj:`"separate"` is this library's own:
intrinsic factors that know no context (:class:`SeparateGenerator`), no term in which an
intrinsic factor meets an extrinsic one, a number for each feature (popularity is neither
intrinsic nor extrinsic), and the bound on the mutual information alone.
"""

"""The datasets of accuracy runs, and what a flag is, by dataset and preset, if it is not
given.
"""

from iedr_geo.datasets import (
    DePaulMovie,
    Frappe,
    MovieLens100K,
    MovieLensLatestSmall,
    PlantedFactors,
    PlantedOutings,
    TravelSTS,
)

DATASETS = {
    'planted': lambda root: PlantedFactors(),
    'outings': lambda root: PlantedOutings(),
    'frappe': Frappe,
    'ml-100k': MovieLens100K,
    'ml-latest-small': MovieLensLatestSmall,
    'depaul': DePaulMovie,
    'sts': TravelSTS,
}

# Section 7.1.3 of the IEDR paper.
PAPER = {
    'objective': 'bce',
    'bce_weight': 0.0,
    'epochs': 200,
    'decay_epochs': None,
    'batch_size': 1024,
    'negatives': 2,
    'resample': False,
    'exclude': 'context',
    'group_negatives': False,
    'learning_rate': 1e-3,
    'weight_decay': 1e-5,
}
# Chosen on validation lists.
BEST = {
    'objective': 'softmax',
    'bce_weight': 1.0,
    'epochs': 12,
    'decay_epochs': 12,
    'batch_size': 128 * 17,
    'negatives': 16,
    'resample': True,
    'exclude': 'positive',
    'group_negatives': True,
    'learning_rate': 6e-3,
    'weight_decay': 1e-4,
}
# What ranks well within a minute or so.
SHORT = {
    'epochs': 12,
    'batch_size': 512,
    'negatives': 4,
    'resample': True,
    'exclude': 'positive',
    'learning_rate': 3e-3,
}
FRAPPE = {
    'bce_weight': 2.0,
    'batch_size': 341 * 17,
    'learning_rate': 3e-3,
    'weight_decay': 3e-5,
}
DEFAULTS = {
    'paper': dict.fromkeys(DATASETS, PAPER)
    | {'planted': PAPER | SHORT, 'outings': PAPER | SHORT},
    'best': dict.fromkeys(DATASETS, BEST) | {'frappe': BEST | FRAPPE},
}
VARIANT = {'paper': 'IEDR', 'best': 'separate'}
# Arguments of IEDR; those of a variant go before them.
RESIDUAL = {'generator': 'residual', 'channels': 64, 'num_negatives': 5}
ARGUMENTS = {preset: {name: {} for name in DATASETS} for preset in DEFAULTS}
ARGUMENTS['paper']['planted'] = {'num_negatives': 8, 'contrastive_weight': 0.01}
ARGUMENTS['best'] = dict.fromkeys(DATASETS, RESIDUAL)

"""Trains a model within a minute, and has two contexts to recommend in.

A reader gets what `recommend_in_context.py` begins with, for a script of the same kind.
"""

import tempfile

import torch

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.datasets import Frappe
from iedr_geo.nn import IEDR, IEDR_VARIANTS, SoftmaxObjective
from iedr_geo.training import CosineRate, InteractionModule, fit

PLANTED_CONTEXTS = (
    {'daytime': 'noon', 'weekday': 'tue', 'place': 'work', 'company': 'alone'},
    {'daytime': 'evening', 'weekday': 'sat', 'place': 'home', 'company': 'family'},
)
FRAPPE_CONTEXTS = (
    {
        'daytime': 'morning',
        'weekday': 'tuesday',
        'isweekend': 'workday',
        'homework': 'work',
        'cost': 'free',
        'weather': 'cloudy',
    },
    {
        'daytime': 'evening',
        'weekday': 'saturday',
        'isweekend': 'weekend',
        'homework': 'home',
        'cost': 'free',
        'weather': 'sunny',
    },
)


def train_quickly(dataset, epochs, seed=0, progress=True):
    """Trains IEDR on Frappe or PlantedFactors, and leaves no files."""
    frappe = isinstance(dataset, Frappe)
    torch.manual_seed(seed)
    model = IEDR(dataset.schema.num_embeddings, 64, **IEDR_VARIANTS['separate'])
    parts = dataset.split()
    module = InteractionModule(
        model,
        parts.train,
        parts.valid,
        dataset.candidates('valid'),
        objective=SoftmaxObjective(bce_weight=1.0),
        negatives=UniformNegativeSampler(8, resample=True),
        batch_size=9 * (341 if frappe else 128),
        learning_rate=3e-3 if frappe else 6e-3,
        schedule=CosineRate(epochs),
        weight_decay=3e-5 if frappe else 1e-4,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        return fit(module, folder, max_epochs=epochs, progress=progress)


def most_active_user(dataset):
    return dataset.user_ids[int(torch.bincount(dataset.user).argmax())]


def two_contexts(dataset):
    """Returns two contexts of Frappe or PlantedFactors that have little in common."""
    if not isinstance(dataset, Frappe):
        return [dict(context) for context in PLANTED_CONTEXTS]
    # Both where the most active user is most of the time.
    [number] = dataset.user_ids.get_indexer([most_active_user(dataset)])
    rows = dataset.context_frame.iloc[dataset.context[dataset.user == number].numpy()]
    where = rows[['country', 'city']].mode().iloc[0].to_dict()
    return [context | where for context in FRAPPE_CONTEXTS]

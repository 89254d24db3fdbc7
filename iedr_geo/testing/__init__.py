"""Toy data, and checks of one's own encoders, generators and models."""

from iedr_geo.testing.encoder import check_encoder
from iedr_geo.testing.generator import check_generator
from iedr_geo.testing.model import check_bipartite_model, check_interaction_model
from iedr_geo.testing.toy import ToyTables, toy_batch, toy_dataset, toy_tables

__all__ = [
    'ToyTables',
    'check_bipartite_model',
    'check_encoder',
    'check_generator',
    'check_interaction_model',
    'toy_batch',
    'toy_dataset',
    'toy_tables',
]

"""Toy data, and checks of one's own encoders and generators."""

from iedr_geo.testing.encoder import check_encoder
from iedr_geo.testing.generator import check_generator
from iedr_geo.testing.toy import ToyTables, toy_batch, toy_dataset, toy_tables

__all__ = [
    'ToyTables',
    'check_encoder',
    'check_generator',
    'toy_batch',
    'toy_dataset',
    'toy_tables',
]

"""Column types: what the nodes of a column are."""

from iedr_geo.data.columns.bucketized import Bucketized
from iedr_geo.data.columns.categorical import Categorical
from iedr_geo.data.columns.cells import scalar, to_numbers, token, tokens
from iedr_geo.data.columns.column import MISSING, RESERVED, UNKNOWN, Column
from iedr_geo.data.columns.date_time import DateTime
from iedr_geo.data.columns.multi_categorical import MultiCategorical
from iedr_geo.data.columns.numerical import Numerical
from iedr_geo.data.columns.vector import Vector

__all__ = [
    'MISSING',
    'RESERVED',
    'UNKNOWN',
    'Bucketized',
    'Categorical',
    'Column',
    'DateTime',
    'MultiCategorical',
    'Numerical',
    'Vector',
    'scalar',
    'to_numbers',
    'token',
    'tokens',
]

"""Tables, feature graphs and datasets of interactions."""

from iedr_geo.data.candidates import CandidateLists
from iedr_geo.data.columns import Bucketized, Categorical, MultiCategorical, Numerical
from iedr_geo.data.feature_graphs import FeatureGraphs
from iedr_geo.data.interaction import InteractionData, InteractionDataset
from iedr_geo.data.negative_sampling import UniformNegativeSampler
from iedr_geo.data.schema import FeatureSchema
from iedr_geo.data.split import Split, leave_last_out, random_split, time_split

__all__ = [
    'Bucketized',
    'CandidateLists',
    'Categorical',
    'FeatureGraphs',
    'FeatureSchema',
    'InteractionData',
    'InteractionDataset',
    'MultiCategorical',
    'Numerical',
    'Split',
    'UniformNegativeSampler',
    'leave_last_out',
    'random_split',
    'time_split',
]

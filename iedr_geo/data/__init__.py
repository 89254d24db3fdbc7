"""Tables, feature graphs, the graph of users and items, and datasets of interactions."""

from iedr_geo.data.bipartite import BipartiteGraph
from iedr_geo.data.candidates import CandidateLists
from iedr_geo.data.columns import (
    Bucketized,
    Categorical,
    DateTime,
    MultiCategorical,
    Numerical,
    Vector,
)
from iedr_geo.data.description import Description, describe
from iedr_geo.data.feature_graphs import FeatureGraphs
from iedr_geo.data.hide_new import hide_new
from iedr_geo.data.interaction import InteractionData, InteractionDataset
from iedr_geo.data.intervened_split import InterventionSplit, intervened_split
from iedr_geo.data.negative_sampling import (
    NegativeSampler,
    PopularityMarginSampler,
    PopularityNegativeSampler,
    UniformNegativeSampler,
)
from iedr_geo.data.parts import Split
from iedr_geo.data.schema import FeatureSchema
from iedr_geo.data.split import (
    cold_start_split,
    given_split,
    index_split,
    leave_last_out,
    random_split,
    time_cut,
    time_split,
)
from iedr_geo.data.strong_generalisation import (
    FoldIn,
    StrongGeneralisationSplit,
    strong_generalisation_split,
)

__all__ = [
    'BipartiteGraph',
    'Bucketized',
    'CandidateLists',
    'Categorical',
    'DateTime',
    'Description',
    'FeatureGraphs',
    'FeatureSchema',
    'FoldIn',
    'InteractionData',
    'InteractionDataset',
    'InterventionSplit',
    'MultiCategorical',
    'NegativeSampler',
    'Numerical',
    'PopularityMarginSampler',
    'PopularityNegativeSampler',
    'Split',
    'StrongGeneralisationSplit',
    'UniformNegativeSampler',
    'Vector',
    'cold_start_split',
    'describe',
    'given_split',
    'hide_new',
    'index_split',
    'intervened_split',
    'leave_last_out',
    'random_split',
    'strong_generalisation_split',
    'time_cut',
    'time_split',
]

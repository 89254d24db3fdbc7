"""Recommenders."""

from iedr_geo.nn.models.auto_encoder import AutoEncoder, AutoEncoderLosses
from iedr_geo.nn.models.biased import Biased
from iedr_geo.nn.models.bipartite import BipartiteModel
from iedr_geo.nn.models.cause import CausE, CausELosses
from iedr_geo.nn.models.concepts import Concepts
from iedr_geo.nn.models.context_popularity import ContextPopularity
from iedr_geo.nn.models.dice import DICE, DICELosses
from iedr_geo.nn.models.encoded import Encoded, IEDRFactors
from iedr_geo.nn.models.iedr import IEDR
from iedr_geo.nn.models.iedr_variants import IEDR_VARIANTS
from iedr_geo.nn.models.ips import IPS, IPSLosses
from iedr_geo.nn.models.lightgcn import LightGCN
from iedr_geo.nn.models.macrid_vae import MacridVAE
from iedr_geo.nn.models.mf import MF
from iedr_geo.nn.models.mult_vae import MultDAE, MultVAE
from iedr_geo.nn.models.popularity import Popularity
from iedr_geo.nn.models.rebuild import MODELS
from iedr_geo.nn.models.repeat import Repeat
from iedr_geo.nn.models.sdrl import SDRL, SDRLLosses
from iedr_geo.nn.models.sdrl_variants import SDRL_VARIANTS

COUNTED = ContextPopularity, Popularity, Repeat
TRAINED = Biased, CausE, DICE, IEDR, IPS, LightGCN, MF, SDRL
OF_HISTORIES = MacridVAE, MultDAE, MultVAE
MODELS.update((cls.__name__, cls) for cls in (*COUNTED, *TRAINED, *OF_HISTORIES))

__all__ = [
    'DICE',
    'IEDR',
    'IEDR_VARIANTS',
    'IPS',
    'MF',
    'SDRL',
    'SDRL_VARIANTS',
    'AutoEncoder',
    'AutoEncoderLosses',
    'Biased',
    'BipartiteModel',
    'CausE',
    'CausELosses',
    'Concepts',
    'ContextPopularity',
    'DICELosses',
    'Encoded',
    'IEDRFactors',
    'IPSLosses',
    'LightGCN',
    'MacridVAE',
    'MultDAE',
    'MultVAE',
    'Popularity',
    'Repeat',
    'SDRLLosses',
]

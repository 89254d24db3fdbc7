"""Datasets, public and planted."""

from iedr_geo.datasets.coo import read_coo_split
from iedr_geo.datasets.depaul_movie import DePaulMovie
from iedr_geo.datasets.frappe import Frappe
from iedr_geo.datasets.gowalla import Gowalla
from iedr_geo.datasets.movielens import MovieLens1M
from iedr_geo.datasets.movielens_100k import MovieLens100K
from iedr_geo.datasets.movielens_latest_small import MovieLensLatestSmall
from iedr_geo.datasets.planted import plant
from iedr_geo.datasets.planted_clicks import ClickScores, PlantedClicks
from iedr_geo.datasets.planted_concepts import ConceptScores, PlantedConcepts
from iedr_geo.datasets.planted_factors import PlantedFactors
from iedr_geo.datasets.planted_log import TrueScores
from iedr_geo.datasets.planted_outings import PlantedOutings
from iedr_geo.datasets.travel_sts import TravelSTS

__all__ = [
    'ClickScores',
    'ConceptScores',
    'DePaulMovie',
    'Frappe',
    'Gowalla',
    'MovieLens1M',
    'MovieLens100K',
    'MovieLensLatestSmall',
    'PlantedClicks',
    'PlantedConcepts',
    'PlantedFactors',
    'PlantedOutings',
    'TravelSTS',
    'TrueScores',
    'plant',
    'read_coo_split',
]

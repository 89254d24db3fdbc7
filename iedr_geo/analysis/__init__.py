"""Reports, measures and pictures of trained models."""

from iedr_geo.analysis.measures.concept_agreement import (
    ConceptAgreement,
    concept_agreement,
)
from iedr_geo.analysis.measures.dependence import (
    Baseline,
    bias_corrected_distance_correlation,
    mutual_information,
    permutation_baseline,
)
from iedr_geo.analysis.measures.field_pair_strengths import field_pair_strengths
from iedr_geo.analysis.measures.independence import independence
from iedr_geo.analysis.measures.invariance import (
    ContextInvariance,
    VarianceShares,
    context_invariance,
    variance_shares,
)
from iedr_geo.analysis.measures.label_classification import (
    LabelClassification,
    label_classification,
)
from iedr_geo.analysis.measures.popularity_overlap import popularity_overlap
from iedr_geo.analysis.measures.probes import Probe, class_probe, value_probe
from iedr_geo.analysis.page import write_page
from iedr_geo.analysis.plots.concepts import plot_concepts
from iedr_geo.analysis.plots.curves import plot_history, plot_popularity_overlap
from iedr_geo.analysis.plots.factors import plot_factors, plot_generator
from iedr_geo.analysis.plots.scores import plot_explanation, plot_scores
from iedr_geo.analysis.report import DisentanglementReport, disentanglement_report

__all__ = [
    'Baseline',
    'ConceptAgreement',
    'ContextInvariance',
    'DisentanglementReport',
    'LabelClassification',
    'Probe',
    'VarianceShares',
    'bias_corrected_distance_correlation',
    'class_probe',
    'concept_agreement',
    'context_invariance',
    'disentanglement_report',
    'field_pair_strengths',
    'independence',
    'label_classification',
    'mutual_information',
    'permutation_baseline',
    'plot_concepts',
    'plot_explanation',
    'plot_factors',
    'plot_generator',
    'plot_history',
    'plot_popularity_overlap',
    'plot_scores',
    'popularity_overlap',
    'value_probe',
    'variance_shares',
    'write_page',
]

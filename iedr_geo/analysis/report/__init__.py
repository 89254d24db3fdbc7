"""Measures of a model, as one table."""

from iedr_geo.analysis.report.report import DisentanglementReport, disentanglement_report
from iedr_geo.analysis.report.texts import GROUPS

__all__ = ['GROUPS', 'DisentanglementReport', 'disentanglement_report']

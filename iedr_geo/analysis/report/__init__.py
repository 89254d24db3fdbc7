"""What is measured of a model, as one table."""

from iedr_geo.analysis.report.report import (
    GROUPS,
    DisentanglementReport,
    disentanglement_report,
)

__all__ = ['GROUPS', 'DisentanglementReport', 'disentanglement_report']

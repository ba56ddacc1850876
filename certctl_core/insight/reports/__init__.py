"""Reports: figures about the installation."""

from certctl_core.insight.reports.service import ReportService

__all__ = ["ReportService"]

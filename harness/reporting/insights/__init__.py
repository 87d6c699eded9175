"""The sections of the template `insights` that are its own: from a record to `model.insights.Insights`."""

from harness.reporting.insights.build import build_insights

__all__ = ["build_insights"]

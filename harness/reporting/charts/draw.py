"""The one way from a chart of the view model to its drawing."""

from __future__ import annotations

from harness.reporting.charts.curves import draw_curves
from harness.reporting.charts.forest import draw_forest
from harness.reporting.charts.sheet import Drawing
from harness.reporting.model import Curves, Forest

Chart = Forest | Curves


def draw(chart: Chart) -> Drawing:
    """Draw a chart in both forms."""
    match chart:
        case Forest():
            return draw_forest(chart)
        case Curves():
            return draw_curves(chart)

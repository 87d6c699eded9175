"""The one way from a chart of the view model to its drawing."""

from __future__ import annotations

from harness.reporting.charts.curves import draw_curves
from harness.reporting.charts.forest import draw_forest
from harness.reporting.charts.history import draw_history
from harness.reporting.charts.interaction import draw_interaction
from harness.reporting.charts.pareto import draw_pareto
from harness.reporting.charts.sheet import Drawing
from harness.reporting.model import Curves, Forest, HistoryChart, Interaction, Scatter

Chart = Forest | Curves | Interaction | Scatter | HistoryChart


def draw(chart: Chart) -> Drawing:
    """Draw a chart in both forms."""
    match chart:
        case Forest():
            return draw_forest(chart)
        case Curves():
            return draw_curves(chart)
        case Interaction():
            return draw_interaction(chart)
        case Scatter():
            return draw_pareto(chart)
        case HistoryChart():
            return draw_history(chart)

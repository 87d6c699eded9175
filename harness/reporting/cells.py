"""Cells and short notes that tables of estimates share."""

from __future__ import annotations

from harness.analysis.wording import format_difference, format_interval, format_p, metric_name
from harness.config import MetricInfo
from harness.reporting.model import Cell

NOTHING = Cell("–")


def with_unit(info: MetricInfo) -> str:
    """Return "ΔE", or "PSNR, dB"."""
    return f"{metric_name(info)}{f', {info.unit}' if info.unit else ''}"


def estimate_cells(
    info: MetricInfo, estimate: float | None, low: float | None, high: float | None, *, signed: bool = True
) -> tuple[Cell, Cell]:
    """Return an estimate and its interval."""
    if estimate is None:
        return NOTHING, NOTHING
    if low is None or high is None:
        return Cell(format_difference(info, estimate, signed=signed)), NOTHING
    resolution = (high - low) / 2
    return (
        Cell(format_difference(info, estimate, signed=signed, resolution=resolution)),
        Cell(format_interval(info, low, high, signed=signed)),
    )


def p_cell(p: float | None) -> Cell:
    """Return "0.004" or "< 0.0001"."""
    return NOTHING if p is None else Cell(format_p(p).removeprefix("p = ").removeprefix("p "))


def seen_note(info: MetricInfo, mde: float | None) -> str:
    """Return what the run could have seen; nothing without a spread over seeds."""
    return "" if mde is None else f"could have seen {format_difference(info, mde, signed=False)}"

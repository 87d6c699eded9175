"""What a gate is asked: which metrics and variants, with which margins, within which limits of cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.analysis.costs import Cost
from harness.errors import HarnessError, did_you_mean
from harness.tracking.baseline.model import COSTS


@dataclass(frozen=True)
class Margin:
    """A drop that does not matter, in the unit of the metric or as a share of the baseline's level."""

    size: float
    relative: bool = False

    def at(self, level: float) -> float:
        """Return it in the unit of the metric."""
        return self.size * abs(level) if self.relative else self.size


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What is gated, and how."""

    metrics: tuple[str, ...] = ()
    """Gated metrics; the baseline's primary metric when empty."""
    variants: tuple[str, ...] = ()
    """Gated variants; all of the baseline when empty."""
    margins: Mapping[str, Margin] = field(default_factory=dict)
    """By metric, in place of what the suite declares."""
    all_metrics: bool = False
    """Show every other metric too, as information."""
    costs: bool = False
    """Show costs, as information."""
    cost_limits: Mapping[Cost, float] = field(default_factory=dict)
    """Largest ratio to the baseline of the costs that are gated."""


def parse_margins(texts: Sequence[str], metrics: Sequence[str]) -> dict[str, Margin]:
    """Return margins by metric from texts: "delta_e=0.5", "delta_e=2%" of the level, "0.5" for one metric.

    Args:
        texts: as written.
        metrics: those that are gated.

    Raises:
        HarnessError: a text is none of these.
    """
    found = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name and len(metrics) != 1:
            raise HarnessError(
                f"--margin {text} names no metric, and {len(metrics)} are gated; write --margin METRIC={text}"
            )
        found[name or metrics[0]] = _margin(text, size)
    return found


def parse_limits(texts: Sequence[str]) -> dict[Cost, float]:
    """Return the largest ratio of costs from texts such as "train_seconds=1.2".

    Raises:
        HarnessError: no such cost, or no number of at least 1.
    """
    found: dict[Cost, float] = {}
    known: dict[str, Cost] = {cost: cost for cost in COSTS}
    for text in texts:
        name, _, size = text.partition("=")
        if name not in known:
            raise HarnessError(f"no cost '{name}'{did_you_mean(name, known)}")
        limit = _number(size)
        if limit is None or limit < 1:
            raise HarnessError(f"--gate-cost {text}: a ratio of at least 1 was expected, such as {name}=1.2")
        found[known[name]] = limit
    return found


def _margin(text: str, size: str) -> Margin:
    relative = size.endswith("%")
    value = _number(size.removesuffix("%"))
    if value is None or value < 0:
        raise HarnessError(
            f"--margin {text}: a number was expected that is not negative, such as 0.5, or 2% of the level"
        )
    return Margin(value / 100 if relative else value, relative)


def _number(text: str) -> float | None:
    """Return a number as a command line writes it, with 30 digits at most; none for other texts."""
    written = r"-?([0-9]{1,15}\.?[0-9]{0,15}|\.[0-9]{1,15})([eE][+-]?[0-9]{1,2})?"
    return float(text) if re.fullmatch(written, text.strip()) else None

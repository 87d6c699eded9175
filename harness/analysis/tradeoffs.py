"""What quality costs: the Pareto front of a metric against a cost, and the cost of a point gained.

"Front" speaks of means.  "Dominated" rests on verdicts: of quality over all pairs
(`effects.compare_pairs`), and of a measured cost over all pairs (`costs.compare_cost_pairs`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from harness.analysis.costs import (
    COST_INFOS,
    Cost,
    CostInfo,
    CostMean,
    CostRatio,
    compare_cost_pairs,
    cost_table_of,
    mean_costs,
)
from harness.analysis.effects import (
    Comparison,
    VariantSummary,
    compare_all,
    compare_pairs,
    summarise,
)
from harness.analysis.record import Record
from harness.analysis.stats import CONFIDENCE, Floats, effective_size, paired_differences
from harness.analysis.values import (
    Pair,
    Replicate,
    ReplicateTable,
    by_fold,
    replicate_table,
    resolve_metric,
)
from harness.config import MetricInfo

TRADED: tuple[Cost, ...] = (
    "parameters",
    "forward_flops",
    "latency_seconds",
    "train_seconds",
    "peak_memory_bytes",
    "gpu_hours",
    "cpu_hours",
)
"""Costs that a report sets against quality; throughput says the same as training time."""

Standing = Literal["front", "dominated", "open"]
NoPrice = Literal["reference", "not better", "no pairs", "no cost"]
"""Why a variant has no price: it is the reference, its improvement is not `better` by verdict,
there are too few pairs to judge, or no pairs have a cost recorded in which it improved."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means and its 95 % Fieller interval."""

    value: float
    low: float | None
    """None, like `high`, where the interval has no ends: the denominator may be 0."""
    high: float | None


@dataclass(frozen=True)
class Price:
    """What one point gained against the reference costs.

    A point is one unit of the metric; of a metric shown in percent, one percentage point.
    """

    per_point: Ratio | None
    """Extra cost over improvement, in the unit of the cost; negative where the variant costs less."""
    reason: NoPrice | None
    """Why there is none."""


@dataclass(frozen=True)
class Position:
    """Where one variant stands between quality and cost."""

    variant: str
    quality: VariantSummary
    cost: CostMean
    standing: Standing
    dominated_by: tuple[str, ...]
    """Variants that are better by verdict and cost no more, in the order of the plan."""
    behind: tuple[str, ...]
    """Variants that are ahead in the means of one of the two and not behind in the other.  A verdict on
    quality, which is about common seeds, counts before the means, which may be over others."""
    price: Price


@dataclass(frozen=True)
class TradeOff:
    """Quality against one cost, over the variants that have both recorded."""

    metric: str
    cost: Cost
    positions: tuple[Position, ...]
    """In the order of the plan."""
    varies: bool
    """Some two variants differ: exactly, or in a measured cost by verdict.  Where fewer than 3
    pairs leave measured costs without verdict, they count as different."""

    @property
    def front(self) -> tuple[Position, ...]:
        """The positions on the front, the cheapest first."""
        info = COST_INFOS[self.cost]
        chosen = [one for one in self.positions if one.standing == "front"]
        return tuple(sorted(chosen, key=lambda one: _expense(info, one.cost)))


@dataclass(frozen=True)
class _Quality:
    """All that the trade-offs of one metric share."""

    info: MetricInfo
    summaries: tuple[VariantSummary, ...]
    """Of the variants that have values."""
    pairs: tuple[Comparison, ...]
    gains: Mapping[str, Comparison]
    """By variant, against the reference."""
    table: ReplicateTable


def trade_offs(record: Record, metric: str | None = None) -> list[TradeOff]:
    """Return the primary metric, or the one given, against every cost that at least two variants have.

    Raises:
        HarnessError: the run does not record the metric.
    """
    quality = _quality(record, metric)
    found = [_trade_off(record, quality, cost) for cost in TRADED]
    return [one for one in found if len(one.positions) > 1]


def trade_off(record: Record, cost: Cost, metric: str | None = None) -> TradeOff:
    """Return where every variant stands between a metric (the primary one) and a cost.

    A variant is on the `front` where no other has at least its mean quality at no more than its mean
    cost, one of the two strictly; where two were told apart over all pairs, the verdict says which of them
    has the better quality.  Any other is `dominated` where a variant that costs no
    more is better by verdict over all pairs; a measured cost is no more unless it is `more` by verdict
    over all pairs.  Else it is `open`: behind in the means, not by verdict.

    Raises:
        HarnessError: the run does not record the metric.
    """
    return _trade_off(record, _quality(record, metric), cost)


def _quality(record: Record, metric: str | None) -> _Quality:
    name = resolve_metric(record.plan, metric or record.plan.primary_metric)
    return _Quality(
        info=record.plan.metrics[name],
        summaries=tuple(one for one in summarise(record, name) if one.mean is not None),
        pairs=tuple(compare_pairs(record, name)),
        gains={one.of: one for one in compare_all(record, name) if one.kind == "reference"},
        table=replicate_table(record, name),
    )


def _trade_off(record: Record, quality: _Quality, cost: Cost) -> TradeOff:
    means, table = mean_costs(record, cost), cost_table_of(record, cost)
    placed = [(one, means[one.variant]) for one in quality.summaries if means[one.variant].n]
    known = {one.variant for one, _ in placed}
    ratios = [one for one in compare_cost_pairs(record, cost) if {one.of, one.versus} <= known]
    compared = [one for one in quality.pairs if {one.of, one.versus} <= known]
    beaten = _beaten(compared, _dearer(ratios))
    winners = _beaten(compared, set())
    positions = []
    for at in placed:
        variant = at[0].variant
        price = _price(quality, quality.gains.get(variant), table)
        behind = tuple(other[0].variant for other in placed if _ahead(quality.info, winners, other, at))
        positions.append(_position(at, behind, tuple(beaten.get(variant, ())), price))
    return TradeOff(quality.info.name, cost, tuple(positions), _varies(cost, ratios))


def _position(
    at: tuple[VariantSummary, CostMean],
    behind: tuple[str, ...],
    beaten_by: tuple[str, ...],
    price: Price,
) -> Position:
    return Position(
        variant=at[0].variant,
        quality=at[0],
        cost=at[1],
        standing="front" if not behind else "dominated" if beaten_by else "open",
        dominated_by=beaten_by if behind else (),
        behind=behind,
        price=price,
    )


def _ahead(
    info: MetricInfo,
    winners: Mapping[str, Sequence[str]],
    of: tuple[VariantSummary, CostMean],
    versus: tuple[VariantSummary, CostMean],
) -> bool:
    """Tell whether `of` is at least as good at no more cost, and either better or cheaper."""
    assert of[0].mean is not None and versus[0].mean is not None
    gain = info.improvement(of[0].mean - versus[0].mean)
    if of[0].variant in winners.get(versus[0].variant, ()):  # means may be over other seeds
        gain = math.inf
    elif versus[0].variant in winners.get(of[0].variant, ()):
        gain = -math.inf
    saving = _expense(COST_INFOS[of[1].cost], versus[1]) - _expense(COST_INFOS[of[1].cost], of[1])
    return gain >= 0 and saving >= 0 and (gain > 0 or saving > 0)


def _expense(info: CostInfo, cost: CostMean) -> float:
    """Return a cost with its sign turned so that lower is better."""
    assert cost.value is not None
    return cost.value if info.direction == "lower" else -cost.value


def _dearer(ratios: Sequence[CostRatio]) -> set[tuple[str, str]]:
    """Return the pairs (of, versus) of which the first costs more, by verdict where it is measured."""
    pairs = set()
    for one in ratios:
        more, less = ("more", "less") if COST_INFOS[one.cost].direction == "lower" else ("less", "more")
        if one.verdict == more:
            pairs.add((one.of, one.versus))
        elif one.verdict == less:
            pairs.add((one.versus, one.of))
    return pairs


def _beaten(compared: Sequence[Comparison], dearer: set[tuple[str, str]]) -> dict[str, list[str]]:
    """Return for every variant those that are better by verdict and do not cost more."""
    beaten: dict[str, list[str]] = {}
    for one in compared:
        ends = {"better": (one.of, one.versus), "worse": (one.versus, one.of)}.get(one.verdict)
        if ends is not None and ends not in dearer:
            winner, loser = ends
            beaten.setdefault(loser, []).append(winner)
    return beaten


def _varies(cost: Cost, ratios: Sequence[CostRatio]) -> bool:
    alike = "inconclusive" if COST_INFOS[cost].measured else "same"
    return any(one.verdict != alike for one in ratios)


# --- the price of a point


def _price(quality: _Quality, found: Comparison | None, cost: ReplicateTable) -> Price:
    if found is None:
        return Price(None, "reference")
    if found.verdict == "described":
        return Price(None, "no pairs")
    if found.verdict != "better":
        return Price(None, "not better")
    gained, paid = quality.table.pair(found.of, found.versus), cost.pair(found.of, found.versus)
    common = [one for one in gained.replicates if one in paid.replicates]
    if not common:
        return Price(None, "no cost")
    info = quality.info
    points = _differences(gained, common) * info.improvement(100.0 if info.percent else 1.0)
    if points.mean() <= 0:
        return Price(None, "no cost")
    return Price(fieller(_differences(paid, common), points, folds=gained.folds), None)


def _differences(pair: Pair, chosen: Sequence[Replicate]) -> Floats:
    """Return the differences on some replicates of a pair, as the statistics take them."""
    at = [pair.replicates.index(one) for one in chosen]
    return paired_differences(by_fold(chosen, pair.a[at]), by_fold(chosen, pair.b[at]))


def fieller(numerators: ArrayLike, denominators: ArrayLike, *, folds: int | None = None) -> Ratio:
    """Return the ratio of two paired means and its 95 % interval (Fieller 1954).

    The interval holds the ratios r for which a t test of mean(numerators - r denominators) = 0 has
    p >= 0.05, the roots of a quadratic in r.  It has two ends where the mean of the denominators
    itself differs from 0 by such a test, and none otherwise.  As in `stats`, denominators that are
    all the same leave no estimate of their noise, and so no interval.

    Args:
        numerators: shape (n,); may be all the same, as the extra parameters of a variant are.
        denominators: shape (n,), in the same order, of mean other than 0.
        folds: parts of the cross-validation that the values come from, corrected for as in `stats`.
    """
    x, y = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    assert x.shape == y.shape and x.ndim == 1 and x.size, "one pair per seed or fold"
    n, x_mean, y_mean = x.size, float(x.mean()), float(y.mean())
    value = x_mean / y_mean
    if n == 1 or np.ptp(y) == 0:
        return Ratio(value, None, None)
    share = special.stdtrit(n - 1, (1 - CONFIDENCE) / 2) ** 2 / effective_size(n, folds)
    (x_var, covariance), (_, y_var) = share * np.cov(x, y)
    a, b, c = y_mean**2 - y_var, x_mean * y_mean - covariance, x_mean**2 - x_var
    if a <= 0:
        return Ratio(value, None, None)
    root = math.sqrt(max(b * b - a * c, 0.0))  # the value itself lies between the roots: below 0 is rounding
    return Ratio(value, (b - root) / a, (b + root) / a)

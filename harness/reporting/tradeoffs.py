"""Trade-offs laid out for reading: a chart and a table for every cost that differs between variants."""

from __future__ import annotations

from harness.analysis.costs import COST_INFOS, MIB, Cost, CostInfo, CostMean, format_cost
from harness.analysis.tradeoffs import NoPrice, Position, Price, Standing, TradeOff, trade_offs
from harness.analysis.wording import format_half_width, format_number, metric_name, over_replicates
from harness.config import MetricInfo
from harness.plan import Plan
from harness.reporting.curves import ARROWS, metric_title, primary_metric
from harness.reporting.model import (
    Cell,
    Column,
    Row,
    Scatter,
    ScatterPoint,
    Table,
    TradeOffPlot,
    TradeOffs,
    Verdict,
)
from harness.reporting.names import Names, in_sentence, listing
from harness.store.read import RunRecord

STANDINGS: dict[Standing, Verdict] = {
    "front": Verdict("●", "front", "good"),
    "open": Verdict("○", "open", "open"),
    "dominated": Verdict("✕", "dominated", "bad"),
}
REASONS: dict[NoPrice, str] = {
    "reference": "the reference",
    "not better": "not better by verdict",
    "no pairs": "not judged",
    "no cost": "no paired cost",
}
MOST_NAMED = 2  # of the variants that dominate another
LOG_FROM = 10  # times the smallest cost, from which on the axis is logarithmic
SHAPES = (
    "● On the front: no variant is at least as good in the mean at no more mean cost. "
    "○ Open: behind in the means, not by verdict. "
    "✕ Dominated: a variant that costs no more is better by verdict over all pairs; "
    "a measured cost counts as no more unless it is more by verdict."
)


def trade_off_section(record: RunRecord, names: Names) -> TradeOffs | None:
    """Return the primary metric over every cost; none where fewer than two variants have both."""
    info = record.plan.metrics[primary_metric(record.plan)]
    found = trade_offs(record, info.name)
    if not found:
        return None
    varying = [one for one in found if one.varies]
    return TradeOffs(
        plots=tuple(_plot(record.plan, names, info, one) for one in varying),
        shared=tuple(_shared(one) for one in found if not one.varies),
        notes=_notes(record.plan, names, info) if varying else (),
    )


def _plot(plan: Plan, names: Names, info: MetricInfo, found: TradeOff) -> TradeOffPlot:
    return TradeOffPlot(chart=_chart(names, info, found), table=_table(plan, names, info, found))


def _shared(found: TradeOff) -> str:
    """Say of a cost that it does not differ; of a measured one that no difference is certain."""
    info = COST_INFOS[found.cost]
    values = [_value(one.cost) for one in found.positions]
    if not info.measured:
        return f"{info.title}: {format_cost(found.cost, values[0])} in every variant."
    low, high = (format_cost(found.cost, value) for value in (min(values), max(values)))
    return f"{info.title}: {low} to {high}, no two variants told apart."


def _notes(plan: Plan, names: Names, info: MetricInfo) -> tuple[str, ...]:
    over, reference = over_replicates(plan), names.title(plan.reference)
    return (
        SHAPES,
        f"Dots: means over {over}, of measured costs geometric; lines: their 95 % t intervals. Dashed: the "
        "front. A label that finds no room is left out; the table has all.",
        f"Cost of a point: extra cost over improvement, both against {reference} and paired, with its "
        f"95 % Fieller interval; a point is {_point(info)}. Below 0 the variant is better and costs less. "
        f"Only for variants that are better than {reference} by verdict.",
    )


def _point(info: MetricInfo) -> str:
    return "one percentage point" if info.percent else f"1 {info.unit or metric_name(info)}"


# --- chart


def _chart(names: Names, info: MetricInfo, found: TradeOff) -> Scatter:
    cost = COST_INFOS[found.cost]
    values = [_value(one.cost) for one in found.positions]
    divisor, unit = _axis_unit(cost, max(values))
    named = unit if cost.form == "hours" else f"{in_sentence(cost.title)}{', ' * bool(unit)}{unit}"
    return Scatter(
        name=f"trade_off_{found.cost}",
        title=f"{metric_title(info)} over {in_sentence(cost.title)}",
        description=_description(names, info, found),
        x_title=f"{named} ({cost.direction} is better)",
        x_format="~s" if cost.form == "count" else ",~r",
        logarithmic=min(values) > 0 and max(values) / min(values) > LOG_FROM,
        percent=info.percent,
        points=tuple(_dot(names, one, divisor) for one in found.positions),
    )


def _axis_unit(cost: CostInfo, largest: float) -> tuple[float, str]:
    """Return what to divide values by for the axis, and the unit that they then have."""
    if cost.form == "bytes":
        return (MIB, "MiB") if largest < 1024 * MIB else (1024 * MIB, "GiB")
    if cost.form == "seconds":
        steps = ((1.0, 1e-3, "ms"), (300.0, 1.0, "s"), (18_000.0, 60.0, "min"))
        return next((one[1:] for one in steps if largest < one[0]), (3600.0, "h"))
    if cost.form == "hours":
        kind = cost.unit.removesuffix("h")
        if largest >= 1:
            return 1.0, cost.unit
        return (1 / 60, f"{kind}min") if largest >= 1 / 60 else (1 / 3600, f"{kind}s")
    return 1.0, ""


def _dot(names: Names, one: Position, divisor: float) -> ScatterPoint:
    assert one.quality.mean is not None
    low, high = (None if end is None else end / divisor for end in (one.cost.low, one.cost.high))
    return ScatterPoint(
        label=names.title(one.variant),
        colour=names.colour(one.variant),
        standing=one.standing,
        x=_value(one.cost) / divisor,
        x_low=low,
        x_high=high,
        y=one.quality.mean,
        y_low=one.quality.low,
        y_high=one.quality.high,
    )


def _description(names: Names, info: MetricInfo, found: TradeOff) -> str:
    said = [
        f"{names.title(one.variant)} {_mean(info, one)} at {format_cost(found.cost, _value(one.cost))}, "
        f"{one.standing}"
        for one in found.positions
    ]
    return "; ".join(said) + "."


# --- table


def _table(plan: Plan, names: Names, info: MetricInfo, found: TradeOff) -> Table:
    cost = COST_INFOS[found.cost]
    absent = [
        one.title
        for one in plan.variants
        if one.name not in {position.variant for position in found.positions}
    ]
    return Table(
        caption=f"{metric_name(info)} over {in_sentence(cost.title)}",
        corner="Variant",
        columns=(
            Column(metric_name(info), info.unit, ARROWS[info.direction]),
            Column(cost.title, direction=ARROWS[cost.direction], hint=cost.description),
            Column("Standing", numeric=False),
            Column("Cost of a point"),
        ),
        rows=tuple(_row(names, info, one) for one in found.positions),
        notes=(f"Without {listing(absent)}: no value or no cost that can be compared.",) if absent else (),
    )


def _row(names: Names, info: MetricInfo, one: Position) -> Row:
    ends = (one.cost.low, one.cost.high)
    low, high = (None if end is None else format_cost(one.cost.cost, end) for end in ends)
    by = _dominators([names.title(other) for other in one.dominated_by])
    half = "" if one.quality.high is None else format_half_width(info, one.quality.high - _quality(one))
    cells = (
        Cell(format_number(info, _quality(one)), note=half),
        Cell(
            format_cost(one.cost.cost, _value(one.cost)),
            note="" if low is None or high is None else f" {low} to {high}",
        ),
        Cell("", note=f" by {by}" if by else "", verdict=STANDINGS[one.standing]),
        _price_cell(one.cost.cost, one.price),
    )
    return names.row(one.variant, cells)


def _dominators(titles: list[str]) -> str:
    more = len(titles) - MOST_NAMED
    if more > 1:
        return listing([*titles[:MOST_NAMED], f"{more} others"])
    return listing(titles)


def _price_cell(cost: Cost, price: Price) -> Cell:
    if price.per_point is None:
        assert price.reason is not None
        return Cell("–", note=f" {REASONS[price.reason]}")
    found = price.per_point
    if found.low is None or found.high is None:
        return Cell(format_cost(cost, found.value), note=" no interval")
    ends = f" {format_cost(cost, found.low)} to {format_cost(cost, found.high)}"
    return Cell(format_cost(cost, found.value), note=ends)


def _mean(info: MetricInfo, one: Position) -> str:
    return format_number(info, _quality(one))


def _quality(one: Position) -> float:
    assert one.quality.mean is not None, "a position has a value"
    return one.quality.mean


def _value(cost: CostMean) -> float:
    assert cost.value is not None, "a position has a cost"
    return cost.value

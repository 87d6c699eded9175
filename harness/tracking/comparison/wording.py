"""A comparison of two runs in words: cells and lines that the terminal and Markdown lay out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.analysis.costs import COST_INFOS, CostRatio, format_cost
from harness.analysis.effects import Comparison
from harness.analysis.values import Absence, Replicate
from harness.analysis.wording import (
    counted,
    format_difference,
    format_effect,
    format_number,
    format_p,
    format_replicates,
    format_significant,
)
from harness.config import MetricInfo
from harness.planning.difference import Change
from harness.provenance import short_commit
from harness.tracking.comparison.model import (
    CostComparison,
    MetricComparison,
    RunComparison,
    RunFacts,
    VariantComparison,
)

METRIC_COLUMNS = ("variant", "A", "B", "B − A", "verdict", "p", "pairs")
COST_COLUMNS = ("cost", "variant", "B", "B / A", "verdict", "p", "pairs")
DASH = "–"
MOST_NAMES = 4  # names that a line lists
MOST_FILES = 20
MOST_CHANGES = 20


def side_line(facts: RunFacts) -> str:
    """Return one side in a line: run, suite, commit, how complete it is."""
    suite = f"{facts.suite} ({facts.profile})" if facts.profile else facts.suite
    variant = f"variant {facts.variant}, " if facts.variant else ""
    commit = f"commit {short_commit(facts.commit)}" if facts.commit else "no commit"
    dirty = " with uncommitted changes" if facts.dirty else ""
    state = f"{facts.status}, {facts.whole} of {facts.planned} trials"
    return f"{facts.run_id}  {variant}{suite}, {commit}{dirty}, {state}"


def metric_title(found: MetricComparison) -> str:
    """Return the heading of a metric, and the margin that its verdicts use."""
    info = found.info
    margin = f", margin {format_difference(info, found.margin, signed=False)}" if found.margin else ""
    unit = f", {info.unit}" if info.unit else ""
    return f"{info.name}: {info.title}{unit}, {info.direction} is better{margin}"


def metric_rows(found: MetricComparison) -> list[tuple[str, ...]]:
    """Return a row of `METRIC_COLUMNS` for every variant."""
    return [_metric_row(found.info, row) for row in found.variants]


def _metric_row(info: MetricInfo, row: VariantComparison) -> tuple[str, ...]:
    found = row.comparison
    values = [
        DASH if mean is None else format_number(info, mean) for mean in (found.mean_versus, found.mean_of)
    ]
    effect = DASH
    if found.difference is not None and row.outcome != "unchanged":
        effect = format_effect(info, found.difference, found.low, found.high)
    elif row.outcome == "unchanged":
        effect = "0"
    name = found.of if found.of == found.versus else f"{found.of} against {found.versus}"
    return (name, *values, effect, verdict_words(row), _p(row.outcome, found), _pairs(row))


def verdict_words(row: VariantComparison) -> str:
    """Return a verdict, or why there is none."""
    if row.incomparable is not None:
        return "not comparable"
    if row.outcome == "unchanged":
        return "unchanged"
    if row.outcome == "shared":
        return "the same trials in both"
    return "no pairs" if row.comparison.n == 0 else row.outcome


def metric_note(found: RunComparison) -> str:
    """Return what the table of a metric does not say by itself; "" without metrics."""
    if not found.metrics:
        return ""
    note = "B − A with its 95 % interval; p after Holm over the variants of a metric"
    outcomes = {row.outcome for metric in found.metrics for row in metric.variants}
    return note + ("; unchanged: the same values in every pair, to the last bit" * ("unchanged" in outcomes))


def _p(outcome: str, found: Comparison) -> str:
    p = found.p_equivalence if outcome == "equivalent" else found.p_adjusted
    return DASH if p is None else format_p(p)


def _pairs(row: VariantComparison) -> str:
    """Return what the numbers come from, and what has no counterpart."""
    parts = [format_replicates(row.comparison.replicates)]
    for name, alone in (("A", row.only_versus), ("B", row.only_of)):
        if alone:
            parts.append(f"{len(alone)} in {name} alone")
    if row.shared and row.comparison.replicates:
        parts.append(f"{len(row.shared)} shared, left out")
    return ", ".join(parts)


def cost_rows(found: RunComparison) -> list[tuple[str, ...]]:
    """Return a row of `COST_COLUMNS` for every cost and variant, but for costs that are all the same."""
    return [_cost_row(ratio) for one in _shown(found) if not _is_same(one) for ratio in one.ratios if ratio.n]


def cost_notes(found: RunComparison) -> list[str]:
    """Return which costs are the same for every variant, and why others are not compared."""
    same = [COST_INFOS[one.cost].title for one in _shown(found) if _is_same(one)]
    notes = [f"the same for every variant: {', '.join(same)}"] if same else []
    return [*notes, f"not compared: {found.costs_left_out}"] if found.costs_left_out else notes


def _shown(found: RunComparison) -> list[CostComparison]:
    """Return the costs to show: hours and throughput say no more than time does."""
    return [one for one in found.costs if COST_INFOS[one.cost].form not in ("hours", "rate")]


def _is_same(found: CostComparison) -> bool:
    return all(ratio.verdict == "same" for ratio in found.ratios if ratio.n)


def _cost_row(found: CostRatio) -> tuple[str, ...]:
    value = DASH if found.mean_of is None else format_cost(found.cost, found.mean_of)
    ratio = DASH if not found.ratio else format_significant(found.ratio)
    if found.low is not None and found.high is not None:
        ratio += f" [{format_significant(found.low)}, {format_significant(found.high)}]"
    p = DASH if found.p_adjusted is None else format_p(found.p_adjusted)
    title = COST_INFOS[found.cost].title
    return (title, found.of, value, ratio, found.verdict, p, format_replicates(found.replicates))


def missing_lines(found: RunComparison) -> list[str]:
    """Return what either side lacks, a line for each variant and reason."""
    sides = {"A": found.missing_versus, "B": found.missing_of}
    lines = [f"{side} lacks {_absence(one)}" for side, absent in sides.items() for one in absent]
    return _capped(lines, MOST_CHANGES)


def _absence(one: Absence) -> str:
    what = f"{_names(one.metrics)} of {one.variant}" if one.metrics else one.variant
    return f"{what}, {_seeds(one.replicates)}: {one.reason}"


def _seeds(replicates: Sequence[Replicate]) -> str:
    seeds = sorted({replicate.seed for replicate in replicates})
    folds = {replicate.fold for replicate in replicates} - {None}
    shown = f"seed{'s' * (len(seeds) > 1)} {_names(map(str, seeds))}"
    return shown if not folds else f"{shown} ({format_replicates(replicates)})"


def changed_lines(found: RunComparison) -> dict[str, list[str]]:
    """Return what changed from A to B: configuration, code, environment; a heading without lines is none."""
    return {
        "configuration": _capped(list(_configuration(found)), MOST_CHANGES),
        "code": list(_code(found)),
        "environment": [f"{name}: {change}" for name, change in found.environment.items()],
    }


def _configuration(found: RunComparison) -> Iterator[str]:
    plan = found.configuration
    for name, change in plan.general.items():
        yield f"{name}: {change}"
    alone = {"variants": (found.variants_only_versus, found.variants_only_of)}
    alone["metrics"] = (found.metrics_only_versus, found.metrics_only_of)
    for what, (earlier, later) in alone.items():
        for side, names in (("A", earlier), ("B", later)):
            if names:
                yield f"{what} of {side} alone: {_names(names)}"
    yield from _variant_changes(plan.changed, len(found.metrics[0].variants) if found.metrics else 0)
    claims = {"added": plan.claims_added, "removed": plan.claims_removed, "changed": plan.claims_changed}
    for what, names in claims.items():
        if names:
            yield f"claims {what}: {_names(names)}"


def _variant_changes(changed: Mapping[str, Mapping[str, Change]], total: int) -> Iterator[str]:
    """Yield the changes of settings, those of several variants once."""
    variants: dict[str, list[str]] = {}
    for variant, changes in changed.items():
        for path, change in changes.items():
            variants.setdefault(f"{path}: {change}", []).append(variant)
    for line, names in variants.items():
        yield line if len(names) == total else f"{line} ({_names(names)})"


def _code(found: RunComparison) -> Iterator[str]:
    before, after, history = found.versus, found.of, found.code.history
    if found.code.same_sources:
        yield "the sources of training are the same"
    else:
        yield f"the sources of training changed: {before.code_hash} -> {after.code_hash}"
    if before.commit != after.commit:
        yield f"commit {_commit(before)} -> {_commit(after)}{_distance(found)}"
    for facts in (before, after):
        if facts.dirty:
            yield f"run {facts.run_id} was made with uncommitted changes, which no commit tells"
    if history is not None and history.files:
        files = [
            f"  {one.path}  {_lines(one.added, '+')} {_lines(one.removed, '−')}" for one in history.files
        ]
        yield "changed files that results may depend on:"
        yield from _capped(files, MOST_FILES)


def _commit(facts: RunFacts) -> str:
    return short_commit(facts.commit) if facts.commit else "none"


def _distance(found: RunComparison) -> str:
    history = found.code.history
    if history is None:
        return ", not both known to git here" if found.of.commit and found.versus.commit else ""
    ahead = f", {counted(history.ahead, 'commit')} later"
    return f"{ahead} and {history.behind} that B lacks" if history.behind else ahead


def _lines(count: int | None, sign: str) -> str:
    return "binary" if count is None else f"{sign}{count}"


def _names(names: Iterable[str]) -> str:
    told = list(names)
    more = f" and {len(told) - MOST_NAMES} more" if len(told) > MOST_NAMES else ""
    return f"{', '.join(told[:MOST_NAMES])}{more}"


def _capped(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more; --json tells all"]

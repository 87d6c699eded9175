"""Ablations tried: for every level what was changed and why, what it did, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from harness.analysis.costs import Cost, CostRatio, compare_costs
from harness.analysis.effects import Comparison, compare_all
from harness.analysis.wording import (
    counted,
    format_difference,
    format_interval,
    format_replicates,
    format_significant,
    metric_name,
    replicate_noun,
)
from harness.config import MetricInfo
from harness.plan import Plan, Variant
from harness.reporting.cells import NOTHING
from harness.reporting.comparisons import distinct, versus
from harness.reporting.curves import ARROWS, primary_metric
from harness.reporting.model import AblationGroup, Cell, Column, Row, Table
from harness.reporting.names import Names
from harness.reporting.settings import settings_of
from harness.reporting.verdicts import VERDICTS
from harness.store.read import RunRecord

MOST_CHANGES = 3  # settings that a row names
TIME: Cost = "train_seconds"


def ablation_groups(record: RunRecord, names: Names) -> tuple[AblationGroup, ...]:
    """Return every variant but the reference, by factor in the order of the plan."""
    plan = record.plan
    info = plan.metrics[primary_metric(plan)]
    found = distinct(compare_all(record, info.name))
    ratios = {(one.of, one.versus): one for one in compare_costs(record, TIME)}
    tried = sorted(
        (one for one in plan.variants if one.name != plan.reference), key=lambda one: _order(plan, one)
    )
    return tuple(
        _group(plan, names, info, factor, list(variants), found, ratios)
        for factor, variants in groupby(tried, key=lambda one: one.factor or "")
    )


def ablation_notes(plan: Plan) -> tuple[str, ...]:
    """Return what the columns of the groups mean."""
    noun = replicate_noun(plan.folds)
    return (
        f"Differences in the primary metric, paired by {noun}, with 95 % intervals; p after Holm. "
        "Training time: ratio of the geometric means.",
    )


def _order(plan: Plan, variant: Variant) -> int:
    """Place a factor where its first level stands in the plan."""
    return next(index for index, one in enumerate(plan.variants) if one.factor == variant.factor)


def _group(
    plan: Plan,
    names: Names,
    info: MetricInfo,
    factor: str,
    variants: Sequence[Variant],
    found: Sequence[Comparison],
    ratios: dict[tuple[str, str], CostRatio],
) -> AblationGroup:
    own = {one.name for one in variants}
    ours = [one for one in found if one.of in own]
    compared = Counter(one.of for one in ours)
    rows = [
        _row(plan, names, info, one, ratios, label=versus(names, one) if compared[one.of] > 1 else "")
        for one in ours
    ]
    return AblationGroup(
        title=factor.replace("_", " ").capitalize() or "Other changes",
        question=_question(plan, factor),
        table=Table(
            caption=f"Levels of {factor}",
            corner="Level",
            columns=(
                Column("Changed, and why", numeric=False),
                Column(f"Difference in {metric_name(info)}", info.unit, ARROWS[info.direction]),
                Column("Verdict", numeric=False),
                Column("Training time"),
                Column("Outcome", numeric=False),
            ),
            rows=tuple(rows),
        ),
    )


def _question(plan: Plan, factor: str) -> str | None:
    asked = [plan.questions[part] for part in factor.split(" x ") if part in plan.questions]
    return " ".join(asked) or None


def _row(
    plan: Plan,
    names: Names,
    info: MetricInfo,
    found: Comparison,
    ratios: dict[tuple[str, str], CostRatio],
    label: str,
) -> Row:
    ratio = ratios.get((found.of, found.versus))
    why = plan.variant(found.of).why
    cells = (
        Cell(change_of(plan, found.of, found.versus), note=f" {why}" if why else ""),
        _difference(info, found),
        Cell("", verdict=VERDICTS[found.verdict]),
        _ratio(ratio),
        Cell(_outcome(names, info, found, ratio)),
    )
    return names.row(found.of, cells, label=label)


def change_of(plan: Plan, of: str, versus: str) -> str:
    """Return what sets one variant apart from another: "model.layers 1 → 2", "+ 0.3 lab_l1"."""
    ours, theirs = settings_of(plan, of), settings_of(plan, versus)
    paths = [path for path in (*ours, *theirs) if ours.get(path) != theirs.get(path)]
    said = [_change(path, theirs.get(path), ours.get(path)) for path in dict.fromkeys(_named_first(paths))]
    more = len(said) - MOST_CHANGES
    if more > 1:
        said[MOST_CHANGES:] = [f"{counted(more, 'further setting')}"]
    return "; ".join(said) or "nothing"


def _named_first(paths: Sequence[str]) -> list[str]:
    """Put what picks a component before its settings, and the loss before both."""
    return sorted(paths, key=lambda path: (path != "loss", not path.endswith(".name")))


def _change(path: str, old: str | None, new: str | None) -> str:
    if path == "loss" and old and new:
        ours, theirs = new.split(" + "), old.split(" + ")
        added = [f"+ {term}" for term in ours if term not in theirs]
        return " ".join([*added, *(f"− {term}" for term in theirs if term not in ours)])
    return f"{path} {old or 'unset'} → {new or 'unset'}"


def _difference(info: MetricInfo, found: Comparison) -> Cell:
    if found.difference is None:
        return NOTHING
    if found.low is None or found.high is None:
        return Cell(format_difference(info, found.difference))
    resolution = (found.high - found.low) / 2
    interval = format_interval(info, found.low, found.high)
    return Cell(format_difference(info, found.difference, resolution=resolution), note=f" {interval}")


def _ratio(ratio: CostRatio | None) -> Cell:
    if ratio is None or ratio.ratio is None:
        return NOTHING
    interval = ""
    if ratio.low is not None and ratio.high is not None:
        interval = f" [{format_significant(ratio.low)}, {format_significant(ratio.high)}]"
    return Cell(f"× {format_significant(ratio.ratio)}", note=interval)


def _outcome(names: Names, info: MetricInfo, found: Comparison, ratio: CostRatio | None) -> str:
    """Say in one sentence what came out, against what, and at which price."""
    against = names.title(found.versus)
    if found.same_trials:
        return f"The same configuration as {against}."
    if found.difference is None:
        return f"No values in common with {against}."
    size = format_difference(info, abs(found.difference), signed=False)
    match found.verdict:
        case "better" | "worse":
            return f"{size} {found.verdict} than {against}{_price(ratio)}."
        case "equivalent":
            assert found.margin is not None
            margin = format_difference(info, found.margin, signed=False)
            return f"Within {margin} of {against}{_price(ratio)}."
        case "inconclusive":
            seen = "" if found.mde is None else f" below {format_difference(info, found.mde, signed=False)}"
            return f"Not told apart from {against}; a difference{seen} may be there."
        case "described":
            return f"{size} from {against}, {format_replicates(found.replicates)}: not judged."


def _price(ratio: CostRatio | None) -> str:
    """Return the price where it was told apart from none."""
    if ratio is None or ratio.ratio is None or ratio.verdict not in ("more", "less"):
        return ""
    return f", at {format_significant(ratio.ratio)} times its training time"

"""Two runs side by side: what their values say of each variant, and what changed between them.

Trials are paired by seed and fold, as within a run (docs/comparing.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.analysis.costs import COST_INFOS, cost_values, judge_costs
from harness.analysis.effects import Comparison, judge_pairs
from harness.analysis.machines import MACHINE, machines_of
from harness.analysis.values import (
    Pair,
    Replicate,
    ReplicateTable,
    absences,
    replicate_table,
    replicate_table_of,
    whole_trials,
)
from harness.errors import HarnessError, did_you_mean
from harness.plan import Plan, recorded_name
from harness.planning.difference import Change
from harness.store.read import RunRecord
from harness.tracking.comparison.comparable import warnings_of, why_incomparable
from harness.tracking.comparison.model import (
    CodeChange,
    CostComparison,
    MetricComparison,
    Outcome,
    RunComparison,
    RunFacts,
    VariantComparison,
)
from harness.tracking.comparison.sides import Sides, opposite
from harness.tracking.revisions import CodeHistory

IN_FORCE = (*MACHINE, "precision", "determinism", "strategy", "world_size")
OF_RUN = ("executor", "cpus", "gpus")


def compare(
    a: RunRecord,
    b: RunRecord,
    *,
    variants: tuple[str, str] | None = None,
    metrics: Sequence[str] = (),
    every: bool = True,
    history: CodeHistory | None = None,
    notes: Sequence[str] = (),
) -> RunComparison:
    """Compare run `b`, the later side, with run `a`.

    Args:
        a: the earlier run.
        b: the later run; `a` itself where two of its variants are compared.
        variants: one variant of `a` and one of `b`; none compares all by their names.
        metrics: names of metrics; without any `every` decides.
        every: compare all metrics that both record, or else the primary one and those of the report.
        history: what git knows of the two commits.
        notes: lines for the reader.

    Raises:
        HarnessError: the runs do not both record a metric that is asked for.
    """
    two = opposite(a, b, variants)
    common = _common_metrics(two)
    names = _asked(two, metrics) or (common if every else _of_report(two.b.plan, common))
    costs, left_out = _compare_costs(two)
    of, versus = (_facts(record, variants is not None) for record in (two.b, two.a))
    return RunComparison(
        versus=versus,
        of=of,
        warnings=tuple(warnings_of(two)),
        metrics=tuple(_compare_metric(two, name) for name in names),
        metrics_only_of=_lacking(b.plan.metrics, a.plan.metrics),
        metrics_only_versus=_lacking(a.plan.metrics, b.plan.metrics),
        metrics_left_out=_lacking(common, names),
        variants_only_of=two.configuration.added,
        variants_only_versus=two.configuration.removed,
        missing_of=tuple(absences(two.b)),
        missing_versus=tuple(absences(two.a)),
        costs=costs,
        costs_left_out=left_out,
        configuration=two.configuration,
        code=CodeChange(_sources(two.a) == _sources(two.b), history),
        environment=_environment(two),
        notes=tuple(notes),
    )


# --- metrics


def _common_metrics(two: Sides) -> list[str]:
    """Return the metrics that both record, the primary one of the later side first, then its report's."""
    first, second = two.a.plan.metrics, two.b.plan.metrics
    return [name for name in dict.fromkeys([*_of_report(two.b.plan, second), *second]) if name in first]


def _of_report(plan: Plan, names: Collection[str]) -> list[str]:
    """Return the primary metric and those that the suite's report shows, as far as they are among `names`."""
    wanted = [recorded_name(plan.metrics, name) for name in (plan.primary_metric, *plan.report.metrics)]
    return [name for name in dict.fromkeys(wanted) if name in names]


def _asked(two: Sides, names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(_common_name(two, name) for name in names))


def _common_name(two: Sides, name: str) -> str:
    first, second = (recorded_name(record.plan.metrics, name) for record in (two.a, two.b))
    for record, found in ((two.a, first), (two.b, second)):
        if found not in record.plan.metrics:
            known = did_you_mean(name, record.plan.metrics)
            raise HarnessError(f"run {record.run['run_id']} records no metric '{name}'{known}")
    if first != second:
        raise HarnessError(
            f"run {two.a.run['run_id']} records {first} and run {two.b.run['run_id']} {second}: "
            "values of published and of random features cannot be compared"
        )
    return first


def _lacking(ours: Iterable[str], theirs: Iterable[str]) -> tuple[str, ...]:
    known = set(theirs)
    return tuple(name for name in ours if name not in known)


# --- quality


@dataclass(frozen=True)
class _Drawn:
    """The pairs of one variant, and the seeds that gave none."""

    pair: Pair
    shared: tuple[Replicate, ...]
    only_of: tuple[Replicate, ...]
    only_versus: tuple[Replicate, ...]


def _compare_metric(two: Sides, name: str) -> MetricComparison:
    info, margin = two.b.plan.metrics[name], two.b.plan.margins.get(name)
    drawn = _draw(two, replicate_table(two.a, name), replicate_table(two.b, name))
    reasons = [why_incomparable(two, one.pair.of, name) for one in drawn]
    family = [one.pair for one, reason in zip(drawn, reasons, strict=True) if reason is None]
    judged = iter(judge_pairs(info, family, kind="run", margin=margin))
    found = [
        next(judged) if reason is None else judge_pairs(info, [one.pair], kind="run")[0]
        for one, reason in zip(drawn, reasons, strict=True)
    ]
    rows = zip(drawn, found, reasons, strict=True)
    return MetricComparison(info, margin, tuple(_variant_comparison(*row) for row in rows))


def _draw(two: Sides, earlier: ReplicateTable, later: ReplicateTable) -> list[_Drawn]:
    return [_draw_one(two, earlier, later, *names) for names in two.variants]


def _draw_one(two: Sides, earlier: ReplicateTable, later: ReplicateTable, versus: str, of: str) -> _Drawn:
    """Pair the values of two tables by seed and fold; parts of another cross-validation are other parts."""
    first, second = _by_replicate(earlier, versus), _by_replicate(later, of)
    both = [one for one in second if one in first] if earlier.folds == later.folds else []
    shared = [one for one in both if first[one][0] == second[one][0] and first[one][0] in two.shared]
    kept = [one for one in both if one not in shared]
    ids = [side[one][0] for side in (second, first) for one in kept]
    pair = Pair(
        of=of,
        versus=versus,
        replicates=tuple(kept),
        trials=tuple(dict.fromkeys(ids)),
        a=np.array([second[one][1] for one in kept]),
        b=np.array([first[one][1] for one in kept]),
        same_trials=False,
        folds=later.folds,
    )
    return _Drawn(pair, tuple(shared), _lacking_replicates(second, both), _lacking_replicates(first, both))


def _by_replicate(table: ReplicateTable, variant: str) -> dict[Replicate, tuple[str, float]]:
    """Return seed and fold -> trial and value of one variant."""
    replicates, trials, values = table.of(variant)
    return dict(zip(replicates, zip(trials, values.tolist(), strict=True), strict=True))


def _lacking_replicates(ours: Iterable[Replicate], both: Sequence[Replicate]) -> tuple[Replicate, ...]:
    return tuple(one for one in ours if one not in both)


def _variant_comparison(drawn: _Drawn, found: Comparison, reason: str | None) -> VariantComparison:
    outcome = _outcome(drawn, found, reason)
    judged = outcome == found.verdict and reason is None
    return VariantComparison(
        outcome=outcome,
        comparison=found if judged else _without_judgement(found),
        shared=drawn.shared,
        only_of=drawn.only_of,
        only_versus=drawn.only_versus,
        incomparable=reason,
    )


def _outcome(drawn: _Drawn, found: Comparison, reason: str | None) -> Outcome:
    if reason is not None:
        return "described"
    if drawn.shared and not drawn.pair.replicates:
        return "shared"
    if drawn.pair.replicates and np.array_equal(drawn.pair.a, drawn.pair.b):
        return "unchanged"
    return found.verdict


def _without_judgement(found: Comparison) -> Comparison:
    return replace(
        found,
        p=None,
        p_adjusted=None,
        p_equivalence=None,
        p_exact=None,
        p_floor=None,
        mde=None,
        seeds_needed=None,
        verdict="described",
    )


# --- costs


def _compare_costs(two: Sides) -> tuple[tuple[CostComparison, ...], str | None]:
    """Compare every cost that both sides have, measured ones on the same machine alone."""
    found, left_out = [], None
    for cost, info in COST_INFOS.items():
        earlier, later = cost_values(two.a, cost), cost_values(two.b, cost)
        machines = [_machines(two.a, earlier), _machines(two.b, later)] if info.measured else []
        if "" not in machines and len(set(machines)) > 1:
            left_out = f"measured on other machines: {' and '.join(machines)}"
            continue
        tables = (replicate_table_of(two.a.plan, earlier), replicate_table_of(two.b.plan, later))
        pairs = [one.pair for one in _draw(two, *tables)]
        if any(pair.replicates for pair in pairs):
            found.append(CostComparison(cost, tuple(judge_costs(cost, "run", pairs))))
    return tuple(found), left_out


def _machines(record: RunRecord, costs: pd.DataFrame) -> str:
    """Return the machine that costs were measured on, in words; "" where none were measured."""
    measured = set(costs["trial_id"])
    trials = record.trials.loc[[trial_id in measured for trial_id in record.trials["trial_id"].tolist()]]
    return "; ".join(sorted({str(machine) for machine in machines_of(trials)}))


# --- what changed


def _facts(record: RunRecord, of_variant: bool) -> RunFacts:
    run, plan = record.run, record.plan
    return RunFacts(
        run_id=run["run_id"],
        suite=plan.suite,
        profile=plan.profile,
        variant=plan.reference if of_variant else None,
        status=run["status"],
        started=None if run["started"] is None else f"{run['started']:%Y-%m-%d %H:%M:%S}",
        commit=run["git_commit"],
        dirty=run["git_dirty"] is not None,
        code_hash=run["code_hash"],
        planned=len(plan.trials),
        whole=len(whole_trials(record)),
    )


def _sources(record: RunRecord) -> set[str]:
    """Return the hashes of the training sources that the values come from."""
    return set(record.trials["code_hash"].dropna()) or {record.run["code_hash"]}


def _environment(two: Sides) -> dict[str, Change]:
    before, after = _surroundings(two.a), _surroundings(two.b)
    return {
        name: Change(before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    }


def _surroundings(record: RunRecord) -> dict[str, str]:
    """Return versions, machine and arithmetic of a run, as they were in force."""
    trials = record.trials
    in_force = {name: sorted({str(value) for value in trials[name].dropna()}) for name in IN_FORCE}
    return {
        **{str(name): str(version) for name, version in record.run["versions"].items()},
        **{name: str(record.run[name]) for name in OF_RUN},
        **{name: ", ".join(values) for name, values in in_force.items() if values},
    }

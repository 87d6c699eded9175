"""The gate: has a run become worse than a baseline? The rule is in docs/regression.md."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from harness.analysis.wording import counted
from harness.errors import HarnessError, did_you_mean
from harness.plan import recorded_name
from harness.planning.difference import Change, setting_changes
from harness.store.read import RunRecord
from harness.tracking.baseline.model import Baseline, BaselineRun
from harness.tracking.baseline.snapshot import snapshot
from harness.tracking.gate.costs import judge_costs
from harness.tracking.gate.metrics import judge_metrics
from harness.tracking.gate.model import Case, Gate, SettingChange
from harness.tracking.gate.options import GateOptions


def judge(record: RunRecord, baseline: Baseline, options: GateOptions | None = None) -> Gate:
    """Judge a run against a baseline.

    Raises:
        HarnessError: no run of the baseline is comparable, or what is asked for is not there.
    """
    options = options or GateOptions()
    metrics = _metrics(options.metrics, baseline) or [baseline.primary_metric]
    margins = {_metrics([name], baseline)[0]: margin for name, margin in options.margins.items()}
    others = [name for name in baseline.metric_infos if options.all_metrics and name not in metrics]
    recorded = [name for name in (*metrics, *others) if name in record.plan.metrics]
    run = snapshot(record, metrics=recorded)
    against, notes = _comparable(baseline, run.newest)
    variants = list(dict.fromkeys(name for one in reversed(against) for name in one.configurations))
    chosen = _known(options.variants, variants, "variant") or variants
    case = Case(record, baseline, run, against, margins)
    judgements = [
        *judge_metrics(case, chosen, metrics, gated=True),
        *judge_metrics(case, chosen, others, gated=False),
    ]
    return Gate(
        baseline=baseline.name,
        suite=record.plan.suite,
        profile=record.plan.profile,
        run=run.newest,
        seconds=_seconds(record),
        against=against,
        judgements=tuple(judgements),
        costs=tuple(judge_costs(case, chosen, options)),
        changes=tuple(_changes(case, chosen)),
        notes=(*notes, *_notes(case, variants, metrics)),
    )


def _changes(case: Case, variants: Sequence[str]) -> list[SettingChange]:
    """Return the settings that differ from the baseline's newest run, and the variants concerned."""
    affected: dict[str, tuple[str, Change, list[str]]] = {}
    for variant in variants:
        before = next((one for one in reversed(case.against) if variant in one.configurations), None)
        if before is None or variant not in case.run.newest.configurations:
            continue
        old = case.baseline.configuration(before, variant)
        new = case.run.configuration(case.run.newest, variant)
        for path, change in setting_changes(old, new).items():
            affected.setdefault(repr((path, change)), (path, change, []))[2].append(variant)
    return [
        SettingChange(change.before, change.after, path, tuple(names))
        for path, change, names in affected.values()
    ]


def _comparable(baseline: Baseline, run: BaselineRun) -> tuple[tuple[BaselineRun, ...], list[str]]:
    """Return the runs of the baseline that a run may be compared with, and what is left out.

    Raises:
        HarnessError: there is none.
    """
    differing = {one.run: one.fingerprint.difference(run.fingerprint) for one in baseline.runs}
    kept = tuple(one for one in baseline.runs if differing[one.run] is None)
    if not kept:
        raise HarnessError(
            f"run {run.run} is not comparable with the baseline '{baseline.name}': "
            f"{differing[baseline.newest.run]}; "
            f"`harness baseline set {baseline.name} {run.run}` makes this run the baseline"
        )
    left_out = [one for one in baseline.runs if differing[one.run] is not None]
    return kept, [f"left out of the baseline: {one.revision}, {differing[one.run]}" for one in left_out]


def _notes(case: Case, variants: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return what else the reader should know."""
    run, plan, newest = case.run.newest, case.plan, case.against[-1]
    new = [variant.name for variant in plan.variants if variant.name not in variants]
    notes = []
    if case.record.run["status"] not in ("complete", "failed"):
        notes.append(f"the run is {case.record.run['status']}")
    if run.missing:
        notes.append(f"{run.missing} of {counted(len(plan.trials), 'trial')} of the run gave no values")
    if run.run in [one.run for one in case.against]:
        notes.append("the run is itself a part of the baseline")
    if run.dirty:
        notes.append("the run was made with changes that are not committed")
    if run.code == newest.code:
        notes.append(f"training code: the same as of {newest.revision}")
    else:
        notes.append(f"training code: {run.code}, of {newest.revision} {newest.code}")
    if new:
        notes.append(f"not in the baseline, not judged: {', '.join(new)}")
    for metric in metrics:
        declared, now = case.baseline.margins.get(metric), plan.margins.get(metric)
        if metric not in case.margins and declared != now:
            notes.append(f"the suite's margin of {metric} is {now}; that of the baseline counts, {declared}")
    if plan.primary_metric != case.baseline.primary_metric:
        notes.append(f"the suite's primary metric is {plan.primary_metric}, the baseline's is not")
    return notes


def _metrics(names: Iterable[str], baseline: Baseline) -> list[str]:
    """Return metrics of the baseline, each once; a stand-in such as `lpips_rand` for `lpips`."""
    infos = baseline.metric_infos
    return _known([recorded_name(infos, name) for name in names], infos, "metric")


def _known(names: Iterable[str], known: Collection[str], what: str) -> list[str]:
    """Return the names, each once.

    Raises:
        HarnessError: the baseline has none of that name.
    """
    found = list(dict.fromkeys(names))
    for name in found:
        if name not in known:
            raise HarnessError(f"the baseline has no {what} '{name}'{did_you_mean(name, known)}")
    return found


def _seconds(record: RunRecord) -> dict[str, float]:
    seconds: dict[str, float] = dict.fromkeys((variant.name for variant in record.plan.variants), 0.0)
    taken = dict(zip(record.trials["trial_id"], record.trials["wall_seconds"], strict=True))
    for trial in record.plan.trials:
        for variant in trial.variants:
            seconds[variant] += float(taken.get(trial.id, 0.0))
    return seconds

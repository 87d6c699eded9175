"""A stored run as a baseline of one run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from harness.analysis.costs import cost_values
from harness.analysis.machines import machines_of, usual_machine
from harness.analysis.values import Replicate, final_values, whole_trials
from harness.analysis.wording import MOST_DECIMALS
from harness.canonical import content_hash
from harness.config import MetricInfo
from harness.errors import HarnessError
from harness.plan import Plan
from harness.planning.difference import configurations
from harness.store.read import RunRecord
from harness.tracking.baseline.model import (
    COSTS,
    LARGEST_VALUE,
    Baseline,
    BaselineMachine,
    BaselineMetric,
    BaselineRun,
    Fingerprint,
    Values,
    clean,
    key_of,
)


def snapshot(record: RunRecord, name: str = "run", metrics: Iterable[str] | None = None) -> Baseline:
    """Return a run as a baseline of one run.

    Args:
        record: the run.
        name: of the baseline.
        metrics: those to take; all of the plan by default.

    Raises:
        HarnessError: no trial of the run is complete.
    """
    plan, row = record.plan, record.run
    whole = whole_trials(record)
    if whole.empty:
        raise HarnessError(
            f"run {row['run_id']} has no complete trial; `harness run {plan.suite}` goes on where it stopped"
        )
    specs = _configurations(plan)
    taken = plan.metrics if metrics is None else metrics
    found = [one for metric in taken for one in _values(row["run_id"], metric, final_values(record, metric))]
    costs = [one for cost in COSTS for one in _values(row["run_id"], cost, cost_values(record, cost))]
    machine = _machine(record)
    run = BaselineRun(
        run=row["run_id"],
        commit=row["git_commit"],
        dirty=row["git_dirty"] is not None,
        code=_code(plan, row["code_hash"]),
        when=_moment(row["started"]),
        machine=machine,
        missing=len(plan.trials) - len(whole),
        fingerprint=Fingerprint(
            suite=plan.suite,
            profile=plan.profile,
            task=plan.task,
            data=specs[plan.reference].get("data", {}),
            seeds=plan.seeds,
            folds=plan.folds,
            device=machine.device.partition(":")[0],
        ),
        configurations={variant: content_hash(spec) for variant, spec in specs.items()},
    )
    return Baseline(
        name=name,
        primary_metric=plan.primary_metric,
        titles={variant.name: clean(variant.title) for variant in plan.variants},
        margins=plan.margins,
        metrics=tuple(_metric(info) for info in plan.metrics.values()),
        configurations={content_hash(spec): spec for spec in specs.values()},
        runs=(run,),
        values=tuple(sorted(found, key=lambda one: list(specs).index(one.variant))),
        costs=tuple(costs),
    )


def _configurations(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the configuration of every variant in the order of the plan; hashes of plugins are code."""
    return {
        variant: {key: value for key, value in configuration.items() if key != "plugins"}
        for variant, configuration in configurations(plan).items()
    }


def _code(plan: Plan, code_hash: str) -> str:
    plugins = {name: one for trial in plan.trials for name, one in trial.spec.get("plugins", {}).items()}
    return content_hash([code_hash, plugins]) if plugins else code_hash


def _values(run: str, of: str, frame: Any) -> Iterable[Values]:
    for variant, rows in frame.groupby("variant", sort=False):
        numbers = {
            key_of(Replicate(int(seed), None if fold is None or fold != fold else int(fold))): float(value)
            for seed, fold, value in zip(rows["seed"], rows["fold"], rows["value"], strict=True)
            if abs(value) <= LARGEST_VALUE
        }
        if numbers:
            yield Values(run=run, variant=str(variant), of=of, values=numbers)


def _machine(record: RunRecord) -> BaselineMachine:
    """Return the machine that ran the most of the run's whole trials, of which there are some."""
    trials = record.trials
    machine = usual_machine(machines_of(trials[trials["trial_id"].isin(whole_trials(record)["trial_id"])]))
    assert machine is not None
    return BaselineMachine(host=clean(machine.host), device=machine.device, threads=machine.threads)


def _metric(info: MetricInfo) -> BaselineMetric:
    fields = info.model_dump()
    return BaselineMetric(
        **{key: clean(value) if isinstance(value, str) else value for key, value in fields.items()}
        | {"decimals": min(info.decimals, MOST_DECIMALS)}
    )


def _moment(started: Any) -> datetime:
    moment: datetime = started
    return moment.astimezone(UTC)

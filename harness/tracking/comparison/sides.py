"""What stands opposite what in a comparison of two runs: variants, trials, data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from harness.plan import Plan
from harness.planning.difference import Change, PlanDifference, compare_plans
from harness.store.read import RunRecord

COMPARED_AS_TRAINED = ("data.train_size",)  # a setting of data that leaves the validation as it is


@dataclass(frozen=True)
class Sides:
    """Both records, cut down to what is compared, and the variants that stand opposite each other."""

    a: RunRecord
    """The earlier side."""
    b: RunRecord
    variants: tuple[tuple[str, str], ...]
    """Names on the earlier and on the later side."""

    @property
    def same_run(self) -> bool:
        """Two variants of one run are compared."""
        return bool(self.a.run["run_id"] == self.b.run["run_id"])

    @cached_property
    def configuration(self) -> PlanDifference:
        """What changes from the earlier plan to the later, under the later names."""
        return compare_plans(_renamed(self.a.plan, dict(self.variants)), self.b.plan)

    @cached_property
    def shared(self) -> frozenset[str]:
        """Ids of the trials that one and the same attempt answers for on both sides."""
        ours, theirs = _attempts(self.a), _attempts(self.b)
        return frozenset(trial for trial, attempt in ours.items() if theirs.get(trial) == attempt)

    @cached_property
    def other_data(self) -> dict[str, str]:
        """Later name of a variant -> why its values are of other data; of those that this is true of."""
        if self.same_run:
            return {}
        changed = {name: _data_changes(self, found) for name, found in self.configuration.changed.items()}
        return {name: reason for name, reason in changed.items() if reason}


def opposite(a: RunRecord, b: RunRecord, variants: tuple[str, str] | None) -> Sides:
    """Return two runs opposite each other: all variants by their names, or one of either."""
    if variants is not None:
        return Sides(_only(a, variants[0]), _only(b, variants[1]), (variants,))
    known = {variant.name for variant in a.plan.variants}
    both = tuple((one.name, one.name) for one in b.plan.variants if one.name in known)
    return Sides(a, b, both)


def _only(record: RunRecord, variant: str) -> RunRecord:
    """Return the part of a record that belongs to one variant."""
    trials = tuple(
        trial.model_copy(update={"variants": (variant,)})
        for trial in record.plan.trials
        if variant in trial.variants
    )
    alone = record.plan.variant(variant).model_copy(update={"previous": None})
    update = {"variants": (alone,), "reference": variant, "trials": trials, "claims": ()}
    ids = [trial.id for trial in trials]
    return replace(
        record,
        plan=record.plan.model_copy(update=update),
        trials=record.trials[record.trials["trial_id"].isin(ids)],
        metrics=record.metrics[record.metrics["trial_id"].isin(ids)],
        costs=record.costs[record.costs["trial_id"].isin(ids)],
    )


def _renamed(plan: Plan, names: Mapping[str, str]) -> Plan:
    """Return a plan with its variants under other names."""
    if all(old == new for old, new in names.items()):
        return plan
    variants = tuple(one.model_copy(update={"name": names[one.name]}) for one in plan.variants)
    trials = tuple(
        trial.model_copy(update={"variants": tuple(names[name] for name in trial.variants)})
        for trial in plan.trials
    )
    update = {"variants": variants, "trials": trials, "reference": names[plan.reference]}
    return plan.model_copy(update=update)


def _attempts(record: RunRecord) -> dict[str, tuple[str, int]]:
    """Return trial -> the attempt that answers for it, as it is known in every copy of the store."""
    trials = record.trials
    keys = zip(trials["run_id"], trials["attempt"], strict=True)
    return dict(zip(trials["trial_id"], keys, strict=True))


def _data_changes(two: Sides, changed: Mapping[str, Change]) -> str:
    """Return what changed of what a variant is validated on, in words; "" where nothing did."""
    parts = [
        f"{path}: {change}"
        for path, change in changed.items()
        if path in ("task", "data") or (path.startswith("data.") and not _as_validated(two, path))
    ]
    return f"other data: {', '.join(parts)}" if parts else ""


def _as_validated(two: Sides, path: str) -> bool:
    """Tell whether a setting of data leaves what is validated on; folds are parts of the training split."""
    return path in COMPARED_AS_TRAINED and two.b.plan.folds is None

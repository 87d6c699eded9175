"""Tune's schedulers, asked which attempts to end early.

They are not given to Tune: what they would stop at once is asked, through the store, to write its
state and end. So a run without pruning goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from harness.plan import Plan
from harness.provenance import code_hash
from harness.pruning import Pruning
from harness.store.write import Attempt, StoreWriter

NEVER = float("inf")


@dataclass(frozen=True)
class _Subject:
    """What the schedulers know of a trial."""

    trial_id: str


class Pruner:
    """Decides after every epoch of a trial whether it is to end.

    Args:
        pruning: by what rule.
        direction: of the primary metric.
        epochs: the most that any trial has.
    """

    def __init__(self, pruning: Pruning, direction: Literal["higher", "lower"], epochs: int) -> None:
        self.scheduler = _scheduler(pruning, "min" if direction == "lower" else "max", epochs)
        self.last_epoch: dict[str, int] = {}
        self.condemned: set[str] = set()
        self.asked: set[str] = set()

    def replay(self, trial_id: str, values: Iterable[tuple[int, float]]) -> None:
        """Take the epochs that a trial has behind it from an earlier time, in their order."""
        for epoch, value in values:
            self._tell(trial_id, epoch, value)

    def is_to_end(self, trial_id: str, epoch: int, value: float) -> bool:
        """Take the value of an epoch and tell, once for each trial, that it is to end here.

        An epoch that was told before, by an earlier attempt, changes nothing.
        """
        self._tell(trial_id, epoch, value)
        if trial_id not in self.condemned - self.asked:
            return False
        self.asked.add(trial_id)
        return True

    def _tell(self, trial_id: str, epoch: int, value: float) -> None:
        if epoch <= self.last_epoch.get(trial_id, 0) or trial_id in self.condemned:
            return
        subject = _Subject(trial_id)
        if trial_id not in self.last_epoch:
            self.scheduler.on_trial_add(None, subject)
        self.last_epoch[trial_id] = epoch
        decision = self.scheduler.on_trial_result(None, subject, {"epoch": epoch, "value": value})
        if decision == TrialScheduler.STOP:
            self.condemned.add(trial_id)


def pruner_of(plan: Plan, store: StoreWriter, *, fresh: bool) -> Pruner | None:
    """Return what prunes the trials of a plan; none without pruning.

    It knows the epochs that the store holds of them, from the same code, unless they all start anew.
    """
    if plan.pruning is None:
        return None
    metric = plan.metrics[plan.primary_metric]
    epochs = max(trial.spec["train"]["epochs"] for trial in plan.trials)
    pruner = Pruner(plan.pruning, metric.direction, epochs)
    reader = store.reader()
    for trial in () if fresh else plan.trials:
        for attempt in reader.attempts_of(trial.id):
            if attempt.code_hash == code_hash():
                pruner.replay(trial.id, _values(attempt, plan.primary_metric))
    return pruner


def _values(attempt: Attempt, metric: str) -> list[tuple[int, float]]:
    """Return the epochs of an attempt and what the schedulers are told of them."""
    return sorted(
        (row["epoch"], row["value"])
        for row in attempt.metrics
        if (row["metric"], row["split"], row["label"]) == (metric, "validation", None)
    )


def _scheduler(pruning: Pruning, mode: str, epochs: int) -> Any:
    common = {
        "time_attr": "epoch",
        "metric": "value",
        "mode": mode,
        "grace_period": pruning.grace_epochs,
    }
    if pruning.scheduler == "median":
        return MedianStoppingRule(
            **common,
            min_samples_required=pruning.fewest_trials,
            min_time_slice=NEVER,  # else it pauses trials to let others catch up
        )
    return ASHAScheduler(
        **common | {"grace_period": min(pruning.grace_epochs, epochs)},
        max_t=epochs,
        reduction_factor=pruning.reduction_factor,
    )

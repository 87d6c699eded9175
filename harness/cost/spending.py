"""Keeping a run within its budget: before it starts, and while it runs."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.allotment import Allotment
from harness.budget import Budget
from harness.cost.estimate import Estimate, Totals, totals
from harness.errors import HarnessError
from harness.plan import Plan, PlannedTrial

FEWEST_SEEDS = 3  # below them nothing is judged
LOOK_SECONDS = 1.0  # between two looks at what a run has taken
LIMITS = ("hours", "gpu_hours", "cpu_hours", "money")


@dataclass(frozen=True)
class _Need:
    """What trials take, beside what one limit allows."""

    limit: str
    expected: float
    low: float
    high: float
    allowed: float
    unit: str

    @property
    def is_over(self) -> bool:
        return self.expected > self.allowed

    @property
    def text(self) -> str:
        if self.limit == "trials":
            return f"{self.expected:.0f} trials of {self.allowed:.0f}"
        spread = f" ({_number(self.low)} to {_number(self.high)})" if self.low < self.high else ""
        return f"{_number(self.expected)} {self.unit}{spread} of {_number(self.allowed)}"


def apply_budget(
    plan: Plan, missing: Sequence[PlannedTrial], estimate: Estimate
) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan that its budget allows, and what somebody who runs it should know.

    What counts is the expected value. `trim` drops whole seeds, with all variants and folds, from
    the end; one seed is always left.

    Args:
        plan: with or without a budget.
        missing: its trials that have to run; those in the store cost nothing.
        estimate: of `missing`.

    Raises:
        HarnessError: the plan needs more than the budget allows, and seeds may not be or cannot be
            dropped.
    """
    budget = plan.budget
    if budget is None:
        return plan, ()
    over = [need for need in _needs(missing, estimate, budget) if need.is_over]
    if not over:
        return plan, _unknown(budget, missing, estimate)
    fitting = _seeds_that_fit(plan, missing, estimate, budget)
    if budget.when_over == "refuse" or not fitting:
        raise HarnessError(_refusal(plan, over, fitting))
    kept = plan.seeds[:fitting]
    trials = tuple(trial for trial in plan.trials if trial.seed in kept)
    note = f"the budget leaves {fitting} of {len(plan.seeds)} seeds; all would take {_texts(over)}"
    if fitting < FEWEST_SEEDS:
        note += f"; fewer than {FEWEST_SEEDS} seeds are described, not judged"
    notes = (note, *_unknown(budget, missing, estimate))
    return plan.model_copy(update={"seeds": kept, "trials": trials}), notes


def _needs(trials: Sequence[PlannedTrial], estimate: Estimate, budget: Budget) -> Iterator[_Need]:
    """Yield what the trials take of everything that the budget limits and the estimate knows."""
    if budget.trials is not None:
        count = float(len(trials))
        yield _Need("trials", count, count, count, budget.trials, "trials")
    if estimate.expected is None:
        return
    costs = [estimate.trials[trial.id] for trial in trials]
    allotments = [estimate.allotments[trial.id] for trial in trials]
    low, expected, high = (
        _by_limit(totals(seconds, allotments, estimate.machine, budget))
        for seconds in (
            [cost.low for cost in costs],
            [cost.seconds for cost in costs],
            [cost.high for cost in costs],
        )
    )
    units = {"hours": "hours", "gpu_hours": "GPU hours", "cpu_hours": "CPU hours", "money": budget.currency}
    for limit in LIMITS:
        allowed = getattr(budget, limit)
        if allowed is not None:
            yield _Need(limit, expected[limit], low[limit], high[limit], allowed, str(units[limit]))


def _by_limit(total: Totals) -> dict[str, float]:
    return {
        "hours": total.seconds / 3600,
        "gpu_hours": total.gpu_hours,
        "cpu_hours": total.cpu_hours,
        "money": total.money or 0.0,
    }


def _seeds_that_fit(plan: Plan, missing: Sequence[PlannedTrial], estimate: Estimate, budget: Budget) -> int:
    """Return the largest number of seeds, counted from the first, that the budget allows; 0 for none."""
    place = {seed: index for index, seed in enumerate(plan.seeds)}

    def is_over(count: int) -> bool:
        trials = [trial for trial in missing if place[trial.seed] < count]
        return any(need.is_over for need in _needs(trials, estimate, budget))

    # More seeds never take less, so that halving finds the first number that is too much.
    return bisect.bisect_left(range(1, len(plan.seeds) + 1), True, key=is_over)


def _refusal(plan: Plan, over: Sequence[_Need], fitting: int) -> str:
    text = f"the plan takes more than its budget allows: {_texts(over)}"
    if fitting:
        return (
            f"{text}; {fitting} of {len(plan.seeds)} seeds would fit: --seeds {fitting}, "
            "budget.when_over: trim, or a larger budget"
        )
    return f"{text}; not even one seed fits: leave out variants, train less, or allow more"


def _unknown(budget: Budget, missing: Sequence[PlannedTrial], estimate: Estimate) -> tuple[str, ...]:
    limited = any(getattr(budget, limit) is not None for limit in LIMITS)
    if missing and limited and estimate.expected is None:
        return ("the budget could not be checked beforehand; the run stops when it is spent",)
    return ()


def _texts(needs: Sequence[_Need]) -> str:
    return ", ".join(need.text for need in needs)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


class Meter:
    """What one run has taken so far: told when trials begin and end."""

    def __init__(self, budget: Budget, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.clock = clock
        self.started = clock()
        self.running: dict[str, tuple[float, Allotment]] = {}
        self.gpu_seconds = 0.0
        self.cpu_seconds = 0.0
        self.lock = threading.Lock()

    def begin(self, trial_id: str, allotment: Allotment) -> None:
        """Note that a trial begins to occupy this."""
        with self.lock:
            self.running[trial_id] = (self.clock(), allotment)

    def end(self, trial_id: str) -> None:
        """Note that a trial has set it free."""
        with self.lock:
            ended = self.running.pop(trial_id, None)
            if ended is not None:
                begun, allotment = ended
                self.gpu_seconds += (self.clock() - begun) * allotment.all_gpus
                self.cpu_seconds += (self.clock() - begun) * allotment.all_cpus

    def spent(self) -> Totals:
        """Return what the run has taken, trials under way included."""
        with self.lock:
            now = self.clock()
            running = [(now - begun, allotment) for begun, allotment in self.running.values()]
            gpus = self.gpu_seconds + sum(seconds * allotment.all_gpus for seconds, allotment in running)
            cpus = self.cpu_seconds + sum(seconds * allotment.all_cpus for seconds, allotment in running)
        money = self.budget.cost(gpu_hours=gpus / 3600, cpu_hours=cpus / 3600)
        return Totals(now - self.started, gpus / 3600, cpus / 3600, money)

    def over(self) -> str | None:
        """Return in words what is spent; none as long as nothing is."""
        spent = _by_limit(self.spent())
        for limit in LIMITS:
            allowed = getattr(self.budget, limit)
            if allowed is not None and spent[limit] >= allowed:
                unit = self.budget.currency if limit == "money" else limit.replace("_", " ")
                words = str(unit).replace("gpu", "GPU").replace("cpu", "CPU")
                return f"the budget of {_number(allowed)} {words} is spent"
        return None


@contextmanager
def watching(meter: Meter, stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop` once, from a thread of its own, as soon as the budget is spent."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            if reason := meter.over():
                stop(reason)
                return

    thread = threading.Thread(target=watch, name="budget", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()

"""The driver: decides what is missing, has it run, tries what was lost again, and keeps the run's record."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from harness.catalog import baselines_folder
from harness.cost.spending import Meter, watching
from harness.errors import HarnessError
from harness.execute.base import Ended, Event, Executor, Listener, Started, TrialTask
from harness.plan import Plan, PlannedTrial
from harness.provenance import code_hash, git_state, host_name, versions
from harness.store.read import Head, StoreReader
from harness.store.write import Attempt, Run, StoreWriter
from harness.train.progress import newest_state

MOST_LOSSES = 3  # times that a trial may lose its process before it counts as its own failure


@dataclass(frozen=True)
class Assessment:
    """What a store already holds of a plan."""

    reused: dict[str, int]
    """Trial id -> complete attempt that answers for it."""
    half_done: dict[str, int]
    """Trial id -> attempt whose state a new one goes on from."""
    attempts: dict[str, int]
    """Trial id -> number of the last attempt."""
    epochs_done: dict[str, int] = field(default_factory=dict)
    """Trial id -> epochs that a half-done trial has behind it."""
    notes: list[str] = field(default_factory=list)

    def missing(self, plan: Plan) -> list[PlannedTrial]:
        """Return the trials that have to run, in the order of the plan."""
        return [trial for trial in plan.trials if trial.id not in self.reused]


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run_id: str
    complete: int
    reused: int
    failed: int
    interrupted: bool
    over_budget: str | None = None
    """What of the budget was spent, where that ended the run."""


def assess(plan: Plan, store: StoreReader, *, fresh: bool = False) -> Assessment:
    """Look up what need not run again: complete trials, and half-done ones with a state.

    A stored trial counts only where it was made alike: by the same sources of training, with as
    many threads, and on the same kind of device. A state that a living run works on is left alone.
    """
    living = {row["run_id"] for row in store.runs.to_pylist() if row["status"] == "running" and _lives(row)}
    reused: dict[str, int] = {}
    half_done: dict[str, int] = {}
    attempts: dict[str, int] = {}
    epochs_done: dict[str, int] = {}
    outdated = 0
    for trial in plan.trials:
        known = store.heads_of(trial.id)
        attempts[trial.id] = max((attempt.attempt for attempt in known), default=0)
        alike = [attempt for attempt in known if _is_alike(attempt, plan)]
        complete = [attempt.attempt for attempt in alike if attempt.status == "complete"]
        outdated += not complete and any(attempt.status == "complete" for attempt in known)
        free = [attempt.attempt for attempt in alike if attempt.run_id not in living]
        if fresh:
            continue
        if complete:
            reused[trial.id] = complete[-1]
        elif (furthest := _furthest(store, trial.id, free)) is not None:
            half_done[trial.id] = furthest
            epochs_done[trial.id] = next(head.epochs_done for head in known if head.attempt == furthest)
    notes = []
    if outdated and not fresh:
        notes.append(
            f"{outdated} trial{'s' * (outdated > 1)} in the store came from other training code "
            f"(now {code_hash()}), or from other threads or another kind of device, and will run again"
        )
    return Assessment(reused, half_done, attempts, epochs_done, notes)


def _is_alike(attempt: Head, plan: Plan) -> bool:
    on_cpu = attempt.device == "cpu"
    return (
        attempt.code_hash == code_hash()
        and attempt.threads == plan.resources.cpus
        and on_cpu == (plan.resources.gpus == 0)
    )


def run_plan(
    plan: Plan,
    store: StoreWriter,
    executor: Executor | None,
    *,
    assessment: Assessment,
    listener: Listener,
    cache: Path,
) -> Outcome:
    """Run what a plan lacks, and return how that ended; `executor` may be none where nothing is missing.

    A signal to stop (Ctrl-C, SIGTERM) makes every trial write its state and end; a second
    one ends this process. A budget that is spent ends the run in the same way.
    """
    missing = assessment.missing(plan)
    assert executor is not None or not missing
    if executor is not None and executor.slots(plan.resources) < 1:
        raise HarnessError(
            f"a trial asks for {plan.resources.cpus} CPUs and {plan.resources.gpus:g} GPUs, there are "
            f"{executor.cpus} and {executor.gpus}; try --set resources.cpus=N and --set resources.gpus=N"
        )
    _bury_the_dead(store)
    run = _new_run(plan, assessment, executor, store.root)
    store.write_run(run)
    own: dict[str, list[int]] = {trial.id: [] for trial in missing}
    try:
        with (
            _stopping_on_signals(store, run.run_id) as stopped,
            _within_budget(plan, store, run.run_id, stopped, listener) as (metered, spent),
        ):
            while missing and not stopped.is_set():
                tasks = [
                    _task(trial, plan, run, store, cache, assessment, own[trial.id]) for trial in missing
                ]
                assert executor is not None
                executor.run(tasks, plan.resources, metered)
                missing = _lost(missing, tasks, store, own)
    except BaseException:
        store.write_run(run.ended_as("lost"))
        raise
    outcome = _outcome(plan, run, store, stopped.is_set())
    if outcome.interrupted and spent:  # else the last trials were done before they saw the request
        outcome = replace(outcome, over_budget=spent[0])
        run = replace(run, notes=json.dumps([*json.loads(run.notes), spent[0]]))
    status = "interrupted" if outcome.interrupted else "failed" if outcome.failed else "complete"
    store.withdraw_stop(run.run_id)
    store.write_run(run.ended_as(status))
    return outcome


def _bury_the_dead(store: StoreWriter) -> None:
    """Mark runs, and their attempts, whose driver died on this machine without a word."""
    reader = StoreReader(store.root)
    dead = set()
    for row in reader.runs.to_pylist():
        if row["status"] == "running" and row["host"] == host_name() and not _lives(row):
            dead.add(row["run_id"])
            store.write_run(Run(**row).ended_as("lost"))
    if not dead:
        return
    for row in reader.attempts.to_pylist():
        if row["status"] == "running" and row["run_id"] in dead:
            attempt = Attempt.from_row(row)
            attempt.status, attempt.error_class = "lost", "DriverLost"
            attempt.error, attempt.ended = "the driver of the run died", datetime.now(UTC)
            store.write_attempt(attempt)


def _lives(run: dict[str, Any]) -> bool:
    """Tell whether the driver of a run is a living process of this machine."""
    if run["host"] != host_name():
        return False
    try:
        os.kill(run["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _new_run(plan: Plan, assessment: Assessment, executor: Executor | None, store: Path) -> Run:
    started = datetime.now(UTC)
    commit, dirty = git_state(Path.cwd(), besides=[store, baselines_folder().resolve()])
    return Run(
        run_id=f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        suite=plan.suite,
        suite_hash=plan.suite_hash,
        profile=plan.profile,
        plan=plan.model_dump_json(),
        reused=json.dumps(assessment.reused),
        notes=json.dumps([*plan.notes, *assessment.notes]),
        status="running",
        started=started,
        ended=None,
        executor=executor.name if executor else "none",
        cpus=executor.cpus if executor else 0,
        gpus=executor.gpus if executor else 0,
        command=" ".join(["harness", *sys.argv[1:]]),
        git_commit=commit,
        git_dirty=dirty,
        code_hash=code_hash(),
        host=host_name(),
        pid=os.getpid(),
        versions=json.dumps(versions()),
    )


def _task(
    trial: PlannedTrial,
    plan: Plan,
    run: Run,
    store: StoreWriter,
    cache: Path,
    assessment: Assessment,
    own: list[int],
) -> TrialTask:
    """Return the next attempt of a trial, and add its number to `own`, those that this run has made of it.

    It goes on from the furthest state: of this run's attempts, or of the one that was found before.
    """
    found = assessment.half_done.get(trial.id)
    resume_attempt = _furthest(store, trial.id, [*own, *([] if found is None else [found])])
    own.append(store.claim_attempt(trial.id, max([assessment.attempts[trial.id], *own])))
    variant = plan.variant(trial.variants[0])
    return TrialTask(
        run_id=run.run_id,
        trial_id=trial.id,
        attempt=own[-1],
        variant=variant.name,
        levels=json.dumps(variant.levels),
        seed=trial.seed,
        fold=trial.fold,
        spec=trial.spec,
        code_hash=run.code_hash,
        store=str(store.root),
        cache=str(cache),
        threads=plan.resources.cpus,
        gpus=plan.resources.gpus,
        resume_attempt=resume_attempt,
    )


def _furthest(store: StoreReader | StoreWriter, trial_id: str, attempts: Sequence[int]) -> int | None:
    """Return the attempt with the most advanced state on disk, or none."""
    states = {
        attempt: newest_state(store.artifact_folder(trial_id, attempt) / "state") for attempt in attempts
    }
    found = {attempt: state.name for attempt, state in states.items() if state is not None}
    return max(found, key=lambda attempt: found[attempt], default=None)


def _lost(
    trials: Sequence[PlannedTrial],
    tasks: Sequence[TrialTask],
    store: StoreWriter,
    own: dict[str, list[int]],
) -> list[PlannedTrial]:
    """Return the trials to try again: those whose process died, and not too often.

    The attempt that died is marked as lost, or as failed when it was the last one allowed.
    """
    again: list[PlannedTrial] = []
    reader = StoreReader(store.root)
    for trial, task in zip(trials, tasks, strict=True):
        records = {attempt.attempt: attempt for attempt in reader.attempts_of(trial.id)}
        record = records.get(task.attempt)
        if record is not None and record.status != "running":
            continue
        if record is None and store.stop_requested(task.run_id):
            continue  # it never began
        losses = len(own[trial.id])  # every attempt of this run before this one was lost too
        may_repeat = losses < MOST_LOSSES
        record = record or task.new_record()
        record.status = "lost" if may_repeat else "failed"
        record.error_class = "WorkerLost"
        record.error = (
            f"the worker process died, {losses} of {MOST_LOSSES} times that it may; "
            "a killed process is often one that ran out of memory"
        )
        record.ended = datetime.now(UTC)
        store.write_attempt(record)
        if may_repeat:
            again.append(trial)
    return again


def _outcome(plan: Plan, run: Run, store: StoreWriter, stopped: bool) -> Outcome:
    trials = StoreReader(store.root).run(run.run_id).trials
    reused = len(json.loads(run.reused))
    complete = int((trials["status"] == "complete").sum())
    interrupted = stopped and complete < len(plan.trials)
    return Outcome(
        run_id=run.run_id,
        complete=complete,
        reused=reused,
        failed=0 if interrupted else len(plan.trials) - complete,
        interrupted=interrupted,
    )


@contextmanager
def _within_budget(
    plan: Plan, store: StoreWriter, run_id: str, stopped: threading.Event, listener: Listener
) -> Iterator[tuple[Listener, list[str]]]:
    """Ask the trials to stop once the plan's budget is spent.

    Yields:
        The listener to use, and a list that then holds what was spent.
    """
    spent: list[str] = []
    if plan.budget is None:
        yield listener, spent
        return
    meter = Meter(plan.budget, plan.resources)

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            meter.begin(event.trial_id)
        elif isinstance(event, Ended):
            meter.end(event.trial_id)
        listener(event)

    def stop(reason: str) -> None:
        spent.append(f"{reason}; trials that were not done wrote their state")
        stopped.set()
        store.request_stop(run_id)

    with watching(meter, stop):
        yield listen, spent


@contextmanager
def _stopping_on_signals(store: StoreWriter, run_id: str) -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into a request to stop; the second one acts as always."""
    stopped = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()
        store.request_stop(run_id)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

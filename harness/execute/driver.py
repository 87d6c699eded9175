"""The driver: decides what is missing, has it run, and keeps the run's record."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from harness.allotment import Allotment, smaller
from harness.catalog import baselines_folder
from harness.cost.spending import Meter, watching
from harness.errors import HarnessError, StoreError
from harness.execute.base import Ended, Event, Executor, Listener, Started
from harness.execute.queue import Queue, as_driver_lost, furthest
from harness.failures import FailureKind
from harness.plan import Plan, PlannedTrial
from harness.provenance import code_hash, git_state, host_name, versions
from harness.redact import redact_command
from harness.store.lease import Leases, Liveness, is_process
from harness.store.read import Head, StoreReader
from harness.store.write import Run, StoreWriter

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last before a scheduler's time limit
BURIAL_SECONDS = 10.0  # between two looks at runs whose drivers may have died elsewhere


class RunStopped(HarnessError):  # noqa: N818  (an end that was wanted)
    """The run could not go on; what was written stays."""

    exit_code = 1


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
    pruned: dict[str, int] = field(default_factory=dict)
    """Trial id -> attempt that the same pruning ended before."""
    fresh: bool = False
    """Whether what the store holds does not count."""
    on_gpu: bool = False
    """Whether trials compute on GPUs; those that did not, or did, do not answer for them."""

    def missing(self, plan: Plan) -> list[PlannedTrial]:
        """Return the trials that have to run, in the order of the plan."""
        return [trial for trial in plan.trials if trial.id not in self.reused | self.pruned]


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run_id: str
    complete: int
    """Trials with a result, those reused included."""
    reused: int
    failed: int
    interrupted: bool
    over_budget: str | None = None
    """What of the budget was spent, where that ended the run."""
    stopped: str | None = None
    """Why the suite's rules for failures, or the store, ended the run, where they did."""
    pruned: int = 0
    failures: Mapping[FailureKind, int] = field(default_factory=dict)
    """Trials that failed for good, by the kind of their last failure."""
    by_signal: str | None = None
    """Name of the signal that ended the run, where one did."""


def assess(plan: Plan, store: StoreReader, *, fresh: bool = False, gpus: float = 0.0) -> Assessment:
    """Look up what need not run again: complete trials, and half-done ones with a state.

    A stored trial counts only where it was made alike: by the same sources of training, with as
    many threads, and on the same kind of device. A state that a living run works on is left alone.

    Args:
        plan: what is to run.
        store: where it is looked up.
        fresh: whether what is there does not count.
        gpus: that a process of a trial computes on; 0 for the CPU.
    """
    liveness = Liveness(store.files)
    rows = {row["run_id"]: row for row in store.run_rows()}
    living = {run_id for run_id, row in rows.items() if row["status"] == "running" and _lives(row, liveness)}
    found = Assessment({}, {}, {}, fresh=fresh, on_gpu=gpus > 0)
    outdated = 0
    heads = store.heads_of_all([trial.id for trial in plan.trials])
    for trial in plan.trials:
        known = heads[trial.id]
        found.attempts[trial.id] = max((attempt.attempt for attempt in known), default=0)
        if fresh:
            continue
        alike = [attempt for attempt in known if is_alike(attempt, plan, on_gpu=gpus > 0)]
        complete = [attempt.attempt for attempt in alike if attempt.status == "complete"]
        outdated += not complete and any(attempt.status == "complete" for attempt in known)
        free = [attempt.attempt for attempt in alike if attempt.run_id not in living]
        if complete:
            found.reused[trial.id] = complete[-1]
        elif alike and _is_pruned_alike(alike[-1], plan, store, rows):
            found.pruned[trial.id] = alike[-1].attempt
        elif (attempt := furthest(store, trial.id, free)) is not None:
            found.half_done[trial.id] = attempt
            found.epochs_done[trial.id] = next(head.epochs_done for head in known if head.attempt == attempt)
    if outdated:
        found.notes.append(
            f"{outdated} trial{'s' * (outdated > 1)} in the store came from other training code "
            f"(now {code_hash()}), or from other threads or another kind of device, and will run again"
        )
    return found


def is_alike(attempt: Head, plan: Plan, *, on_gpu: bool) -> bool:
    """Tell whether an attempt was made as this plan would make it now."""
    return (
        attempt.code_hash == code_hash()
        and attempt.threads == plan.resources.cpus
        and (attempt.device != "cpu") == on_gpu
    )


def _is_pruned_alike(
    attempt: Head, plan: Plan, store: StoreReader, runs: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Tell whether the pruning of this plan would end this attempt again."""
    if plan.pruning is None or attempt.status != "pruned" or attempt.run_id not in runs:
        return False
    return store.plan(attempt.run_id).pruning == plan.pruning


def run_plan(
    plan: Plan,
    store: StoreWriter,
    executor: Executor | None,
    *,
    assessment: Assessment,
    listener: Listener,
    cache: Path,
    allotments: Mapping[str, Allotment] | None = None,
    durations: Mapping[str, float] | None = None,
) -> Outcome:
    """Run what a plan lacks, and return how that ended; `executor` may be none where nothing is missing.

    A signal to stop (Ctrl-C, SIGTERM, SIGUSR1) makes every trial write its state and end; a second
    one ends this process. A budget that is spent, and a failure that the suite wants the run to end for,
    end it in the same way.

    Args:
        plan: what to run.
        store: where to keep it.
        executor: that runs it.
        assessment: what the store held before.
        listener: told of what happens, in this thread.
        cache: folder for data sets.
        allotments: of every missing trial; none gives each what the plan's resources say.
        durations: seconds that trials are expected to take, or another unit that they share.

    Raises:
        HarnessError: a trial asks for more than there is.
        RunStopped: the store went out of reach.
    """
    missing = assessment.missing(plan)
    assert executor is not None or not missing
    allotments = allotments or {trial.id: _as_planned(plan, trial) for trial in missing}
    if executor is not None:
        _require_room(executor, plan, allotments)
    run = _new_run(plan, assessment, executor, store)
    with Leases(store.files, run.run_id) as leases:
        burials = _Burials(store, run.run_id)
        burials.look()
        store.write_run(run)
        if executor is None:
            outcome = _nothing_missing(run, assessment)
        else:
            queue = Queue(
                plan,
                missing,
                allotments,
                run_id=run.run_id,
                code_hash=run.code_hash,
                store=store,
                leases=leases,
                executor=executor,
                cache=cache,
                is_alike=lambda head: is_alike(head, plan, on_gpu=assessment.on_gpu),
                fresh=assessment.fresh,
                seconds=durations,
                listener=listener,
                look_after=burials.look,
            )
            run, outcome = _work_off(queue, run, executor, assessment, listener)
        _end_run(store, run, outcome)
    return outcome


def _work_off(
    queue: Queue, run: Run, executor: Executor, assessment: Assessment, listener: Listener
) -> tuple[Run, Outcome]:
    """Have everything run, and return the run as it is to be recorded and how it ended."""
    try:
        with (
            _stopping_on_signals(queue) as signalled,
            _within_budget(queue, listener) as (metered, spent),
        ):
            executor.run(queue, metered)
    except BaseException:
        with contextlib.suppress(StoreError):
            queue.store.write_run(run.ended_as("lost"))
        raise
    tally = queue.tally
    open_trials = queue.trials - tally.settled
    interrupted = queue.stopping and open_trials > 0
    reused = assessment.reused | tally.reused
    outcome = Outcome(
        run_id=run.run_id,
        complete=len(reused) + tally.complete,
        reused=len(reused),
        failed=sum(tally.failed.values()),
        interrupted=interrupted,
        # The last trials may be done before they see a request to stop.
        over_budget=spent[0] if interrupted and spent else None,
        stopped=queue.stop_reason,
        pruned=len(assessment.pruned) + tally.pruned,
        failures=dict(tally.failed),
        by_signal=signalled[0] if interrupted and signalled else None,
    )
    notes = [*json.loads(run.notes), *(one for one in (outcome.over_budget, outcome.stopped) if one)]
    answers = json.dumps(reused | assessment.pruned)
    return replace(run, reused=answers, notes=json.dumps(notes)), outcome


def _nothing_missing(run: Run, assessment: Assessment) -> Outcome:
    reused = len(assessment.reused)
    return Outcome(run.run_id, reused, reused, 0, interrupted=False, pruned=len(assessment.pruned))


def _end_run(store: StoreWriter, run: Run, outcome: Outcome) -> None:
    """Write how a run ended.

    Raises:
        RunStopped: the store is out of reach.
    """
    is_failed = outcome.failed or outcome.stopped
    status = (
        "interrupted"
        if outcome.interrupted and not outcome.stopped
        else "failed"
        if is_failed
        else "complete"
    )
    try:
        store.withdraw_stop(run.run_id)
        store.write_run(run.ended_as(status))
    except StoreError as error:
        raise RunStopped(
            f"the run stopped: {outcome.stopped or error}; what was written stays, "
            "and the same command goes on from there"
        ) from error


def _as_planned(plan: Plan, trial: PlannedTrial) -> Allotment:
    """Return what a trial occupies where nobody has looked closer."""
    processes = int(trial.spec.get("world_size", 1))
    return Allotment(processes, plan.resources.cpus, plan.resources.gpus or 0.0)


def _require_room(executor: Executor, plan: Plan, allotments: Mapping[str, Allotment]) -> None:
    """Refuse trials that can never begin, not even with as few processes as they may have.

    Raises:
        HarnessError: a trial asks for more than there is.
    """
    checked: list[Allotment] = []  # few: most trials ask for the same
    for trial in plan.trials:
        allotment = allotments.get(trial.id)
        if allotment is None or allotment in checked:
            continue
        checked.append(allotment)
        options = smaller(allotment, trial.spec, plan.resources.fewest_processes)
        if not any(executor.slots(one) for one in options):
            raise HarnessError(
                f"a trial asks for {allotment}, there are {executor.cpus} CPUs and {executor.gpus} GPUs; "
                "try --set resources.cpus=N, --set resources.gpus=N or --set base.strategy.processes=N"
            )


class _Burials:
    """Marks runs, and their attempts, whose driver died without a word."""

    def __init__(self, store: StoreWriter, own: str) -> None:
        self.store = store
        self.own = own
        self.liveness = Liveness(store.files)
        self.suspects: list[str] | None = None
        self.looked = 0.0

    def look(self) -> None:
        """Look at the runs that were under way when this one began; cheap to call often."""
        now = time.monotonic()
        if self.suspects == [] or (self.suspects is not None and now - self.looked < BURIAL_SECONDS):
            return
        self.looked = now
        rows = {
            row["run_id"]: row
            for row in self.store.reader().run_rows()
            if row["status"] == "running" and row["run_id"] != self.own
        }
        known = rows.keys() if self.suspects is None else rows.keys() & set(self.suspects)
        dead = {run_id for run_id in known if not _lives(rows[run_id], self.liveness)}
        for run_id in dead:
            self._bury(run_id)
        self.suspects = [run_id for run_id in known if run_id not in dead]

    def _bury(self, run_id: str) -> None:
        reader = self.store.reader()
        row = next(row for row in reader.runs.to_pylist() if row["run_id"] == run_id)
        heads = reader.heads_of_all([one.id for one in Plan.model_validate_json(row["plan"]).trials])
        for trial_id, known in heads.items():
            for head in known:
                if (head.run_id, head.status) == (run_id, "running"):
                    record = reader.attempt(trial_id, head.attempt)
                    if record is not None and record.status == "running":
                        self.store.write_attempt(as_driver_lost(record))
        self.store.withdraw_stop(run_id)
        self.store.write_run(Run(**row).ended_as("lost"))
        self.liveness.forget(run_id)


def _lives(run: Mapping[str, Any], liveness: Liveness) -> bool:
    """Tell whether the driver of a run is alive, as far as is known.

    A run of an earlier version gives no heartbeat: elsewhere nobody can tell, here its process does.
    """
    if liveness.heartbeat(run["run_id"]) is not None:
        return liveness.lives(run["run_id"])
    return run["host"] != host_name() or is_process(run["pid"], None)


def _new_run(plan: Plan, assessment: Assessment, executor: Executor | None, store: StoreWriter) -> Run:
    started = datetime.now(UTC)
    own = [store.root] if store.files.is_local else []
    commit, dirty = git_state(Path.cwd(), besides=[*own, baselines_folder().resolve()])
    return Run(
        run_id=f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        suite=plan.suite,
        suite_hash=plan.suite_hash,
        profile=plan.profile,
        plan=plan.model_dump_json(),
        reused=json.dumps(assessment.reused | assessment.pruned),
        notes=json.dumps([*plan.notes, *assessment.notes]),
        status="running",
        started=started,
        ended=None,
        executor=executor.name if executor else "none",
        cpus=executor.cpus if executor else 0,
        gpus=executor.gpus if executor else 0,
        command=redact_command(["harness", *sys.argv[1:]]),
        git_commit=commit,
        git_dirty=dirty,
        code_hash=code_hash(),
        host=host_name(),
        pid=os.getpid(),
        versions=json.dumps(versions()),
    )


@contextmanager
def _within_budget(queue: Queue, listener: Listener) -> Iterator[tuple[Listener, list[str]]]:
    """Ask the trials to stop once the plan's budget is spent.

    Yields:
        The listener for the executor, and a list that then holds what was spent.
    """
    spent: list[str] = []
    if queue.plan.budget is None:
        yield lambda event: listener(queue.hear(event)), spent
        return
    meter = Meter(queue.plan.budget)

    def listen(event: Event) -> None:
        if isinstance(event, Started) and (way := queue.under_way.get(event.trial_id)) is not None:
            meter.begin(event.trial_id, way.task.allotment)
        elif isinstance(event, Ended):
            meter.end(event.trial_id)
        listener(queue.hear(event))

    def stop(reason: str) -> None:
        spent.append(f"{reason}; trials that were not done wrote their state")
        queue.stop()

    with watching(meter, stop):
        yield listen, spent


@contextmanager
def _stopping_on_signals(queue: Queue) -> Iterator[list[str]]:
    """Turn the first signal to stop into a request to stop; the second one acts as always.

    Yields:
        A list that then holds the name of the signal.
    """
    seen: list[str] = []
    if threading.current_thread() is not threading.main_thread():  # it hears no signals
        yield seen
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def stop(number: int, frame: FrameType | None) -> None:
        seen.append(signal.Signals(number).name)
        queue.stop()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, stop)
    try:
        yield seen
    finally:
        restore()

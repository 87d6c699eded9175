"""The work of one run: what waits, what is under way, and what follows from how each attempt ended."""

from __future__ import annotations

import bisect
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.allotment import Allotment, smaller
from harness.errors import StoreError
from harness.execute.base import Ended, EpochDone, Event, Executor, Notice, Reused, TrialTask
from harness.execute.order import Candidate, in_order
from harness.execute.rooms import Rooms
from harness.execute.watchdog import START_SECONDS, alive_file, alive_seconds
from harness.failures import FailureKind
from harness.plan import Plan, PlannedTrial
from harness.store.lease import Leases
from harness.store.read import Head
from harness.store.write import Attempt, StoreLayout, StoreWriter

LONGEST_PAUSE = 60.0  # before a trial is tried again
LOOK_SECONDS = 5.0  # between two looks at a trial that another run trains
TAKE_SECONDS = 0.5  # that looking for the next trial may take; `tick` is due once a second
KILL_SECONDS = 30.0  # until an executor is reminded of an attempt that is to be killed
STORE_SECONDS = 60.0  # that a store may be out of reach while trials are to be told to stop
SLACK_SECONDS = 10.0  # a sign of life may be late by

LOST_CLASSES = {
    FailureKind.LOST_WORKER: "WorkerLost",
    FailureKind.LOST_NODE: "NodeLost",
    FailureKind.PREEMPTED: "Preempted",
    FailureKind.TIMED_OUT: "Stalled",
    FailureKind.OUT_OF_MEMORY: "OutOfMemory",
    FailureKind.NEIGHBOUR_OUT_OF_MEMORY: "OutOfMemory",
    FailureKind.STORAGE: "StoreError",
}


@dataclass
class Tally:
    """How the trials of a run ended for good; those reused from before it began are not in it."""

    complete: int = 0
    pruned: int = 0
    reused: dict[str, int] = field(default_factory=dict)
    """Trial id -> attempt of another run that was completed meanwhile."""
    failed: Counter[FailureKind] = field(default_factory=Counter)

    @property
    def settled(self) -> int:
        """Trials that are done with, one way or the other."""
        return self.complete + self.pruned + len(self.reused) + sum(self.failed.values())


@dataclass(eq=False)
class _Waiting:
    trial: PlannedTrial
    place: int
    """In the plan."""
    options: tuple[Allotment, ...]
    """What it may occupy: all that it asks for, then with fewer processes where it may shrink."""
    not_before: float = 0.0
    failures: Counter[FailureKind] = field(default_factory=Counter)


@dataclass
class _UnderWay:
    waiting: _Waiting
    task: TrialTask
    started: bool = False
    sign: bytes = b""
    """The last sign of life that was seen, and when, by this clock; and when it was last looked for."""
    sign_at: float = 0.0
    looked_at: float = 0.0
    is_alive: bool = False
    """Whether it has given a sign of life yet, beside having begun."""
    killed_at: float | None = None


@dataclass(frozen=True)
class _Failure:
    """Why an attempt ended without a result, and what its record says of it."""

    kind: FailureKind
    said: str
    name: str | None = None
    """Class of the error, where there was one."""


class Queue:
    """What there is to do for one run, as an executor sees it (`harness.execute.base.Work`).

    A lost trial waits again at once, until its budget of retries is used up. What another run trains on
    the same store is left to it, and taken over where that run dies.

    Args:
        plan: that the run executes.
        missing: the trials of it that the store lacks, in the order of the plan.
        allotments: of every missing trial, by id.
        run_id: the run.
        code_hash: of the sources that train.
        store: that results go to.
        leases: of this run.
        executor: that asks; its room counts.
        cache: folder for data sets.
        is_alike: whether a stored attempt answers for a trial of the plan.
        fresh: whether only attempts of this run count.
        seconds: expected of each trial, where known.
        listener: told what the driver has to say beside the events of the executor.
        look_after: called with every tick.
        clock: in seconds; for tests.
    """

    def __init__(
        self,
        plan: Plan,
        missing: Sequence[PlannedTrial],
        allotments: Mapping[str, Allotment],
        *,
        run_id: str,
        code_hash: str,
        store: StoreWriter,
        leases: Leases,
        executor: Executor,
        cache: Path,
        is_alike: Callable[[Head], bool],
        fresh: bool = False,
        seconds: Mapping[str, float] | None = None,
        listener: Callable[[Event], None] = lambda event: None,
        look_after: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.run_id = run_id
        self.code_hash = code_hash
        self.store = store
        self.leases = leases
        self.executor = executor
        self.cache = cache
        self.is_alike = is_alike
        self.fresh = fresh
        self.seconds = seconds or {}
        self.listener = listener
        self.look_after = look_after
        self.clock = clock
        self.rules = plan.failures
        self.stall_seconds = 60.0 * plan.failures.stall_minutes
        self.seeds = {seed: place for place, seed in enumerate(plan.seeds)}
        self.waiting = [
            _Waiting(trial, place, smaller(allotments[trial.id], trial.spec, plan.resources.fewest_processes))
            for place, trial in enumerate(missing)
        ]
        self.trials = len(missing)
        self.under_way: dict[str, _UnderWay] = {}
        self.tally = Tally()
        self.stopping = False
        self.stop_reason: str | None = None
        """Why the suite's rules, or the store, stopped the run; none where nothing of it did."""
        self.stop_told: float | None = None
        self.stop_asked: float | None = None
        self.said: set[str] = set()

    # What the executor asks

    def tick(self) -> Sequence[TrialTask]:
        """Pass a request to stop on, and return attempts that gave no sign of life for too long."""
        with contextlib.suppress(StoreError):  # who writes results will tell
            self.look_after()
        now = self.clock()
        doomed = []
        if self.stopping and self.stop_told is None:
            doomed += self._pass_on_stop(now)
        for way in self.under_way.values():
            if way.started and self._is_doomed(way, now):
                doomed.append(way.task)
        return doomed

    def take(self) -> TrialTask | None:
        """Return the next attempt to begin, or none for now."""
        if self.stopping or not self.waiting:
            return None
        now = self.clock()
        for waiting, allotment in self._ready(now):
            try:
                task = self._begin(waiting, allotment, now)
            except StoreError as error:
                self._store_is_gone(waiting, error)
                return None
            if task is not None:
                return task
            if self.stopping or self.clock() - now > TAKE_SECONDS:
                return None
        return None

    def finished(self) -> bool:
        """Tell whether nothing is under way and nothing will come any more."""
        return not self.under_way and (self.stopping or not self.waiting)

    # What the executor tells

    def hear(self, event: Event) -> Event:
        """Take an event of the executor, and return it with what the driver makes of it."""
        way = self.under_way.get(event.trial_id)
        if way is None:
            return event
        if isinstance(event, Ended):
            return self._ended(self.under_way.pop(event.trial_id), event)
        way.started = True
        way.is_alive = way.is_alive or isinstance(event, EpochDone)
        way.sign_at = self.clock()
        return event

    def stop(self, reason: str | None = None) -> None:
        """Let the trials under way write their state and end; begin nothing more. Safe in a signal handler.

        Args:
            reason: in words, where a rule of the suite or the store is the cause.
        """
        self.stop_reason = self.stop_reason or reason
        self.stopping = True

    # Beginning an attempt

    def _ready(self, now: float) -> list[tuple[_Waiting, Allotment]]:
        """Return the waiting trials that may begin, as far as time and room go, the next one in front."""
        rooms = Rooms(self.executor, [way.task.allotment for way in self.under_way.values()])
        due = [(one, rooms.possible(one.options)) for one in self.waiting if one.not_before <= now]
        ready = [(one, allotment) for one, allotment in due if rooms.has_room(allotment)]
        candidates = [
            Candidate(
                self.seconds.get(one.trial.id),
                self.seeds.get(one.trial.seed, 0),
                1 / max(1, rooms.slots(allotment)),
            )
            for one, allotment in ready
        ]
        return [ready[index] for index in in_order(candidates)] if ready else []

    def _begin(self, waiting: _Waiting, allotment: Allotment, now: float) -> TrialTask | None:
        """Return a new attempt of a trial; none where another run has it, or has done it meanwhile."""
        trial = waiting.trial
        holder = self.leases.acquire(trial.id)
        if holder is not None:
            waiting.not_before = now + LOOK_SECONDS
            self._tell_of_sharing(trial, holder)
            return None
        heads = self.store.reader().heads_of(trial.id)
        counting = [head for head in heads if not self.fresh or head.run_id == self.run_id]
        alike = [head for head in counting if self.is_alike(head)]
        complete = [head.attempt for head in alike if head.status == "complete"]
        self.waiting.remove(waiting)
        if complete:
            self.leases.release(trial.id)
            self.tally.reused[trial.id] = complete[-1]
            self.listener(Reused(trial.id))
            return None
        for head in heads:
            if head.status == "running":
                self._bury(trial.id, head.attempt)
        number = self.store.claim_attempt(trial.id, max((head.attempt for head in heads), default=0))
        state = furthest(self.store, trial.id, [head.attempt for head in alike])
        task = self._task(trial, allotment, number, state)
        self.under_way[trial.id] = _UnderWay(waiting, task, sign_at=now, looked_at=now)
        return task

    def _task(
        self, trial: PlannedTrial, allotment: Allotment, number: int, resume_attempt: int | None
    ) -> TrialTask:
        variant = self.plan.variant(trial.variants[0])
        return TrialTask(
            run_id=self.run_id,
            trial_id=trial.id,
            attempt=number,
            variant=variant.name,
            levels=json.dumps(variant.levels),
            seed=trial.seed,
            fold=trial.fold,
            spec=trial.spec,
            code_hash=self.code_hash,
            store=self.store.address,
            cache=str(self.cache),
            allotment=allotment,
            resume_attempt=resume_attempt,
            stall_seconds=self.stall_seconds,
            keep=self.plan.checkpoints.keep,
            suite=self.plan.suite,
            trackers=self.plan.trackers,
        )

    def _bury(self, trial_id: str, number: int) -> None:
        """Mark an attempt as lost that still counts as running though nobody holds its lease."""
        record = self.store.reader().attempt(trial_id, number)
        if record is not None:
            self.store.write_attempt(as_driver_lost(record))

    def _tell_of_sharing(self, trial: PlannedTrial, holder: str) -> None:
        if holder not in self.said:
            self.said.add(holder)
            text = f"run {holder} trains a part of these trials; this one takes the others and waits for it"
            self.listener(Notice(trial.id, text))

    # The end of an attempt

    def _ended(self, way: _UnderWay, event: Ended) -> Event:
        """Return the event with the reason of a loss and whether the trial is tried again."""
        try:
            record = self.store.reader().attempt(way.task.trial_id, way.task.attempt)
            failure = self._failure(way, event, record)
            if failure is None:
                self._settle(way, "running" if record is None else record.status)
                return replace(event, failed=False)
            again = self._may_repeat(way.waiting, failure.kind)
            self._write_loss(way, record, failure, again)
        except StoreError as error:
            failure = _Failure(FailureKind.STORAGE, str(error))
            again = self._may_repeat(way.waiting, failure.kind)
        self._after_failure(way, failure, again)
        return replace(event, failed=True, loss=failure.kind, said=failure.said, again=again)

    def _failure(self, way: _UnderWay, event: Ended, record: Attempt | None) -> _Failure | None:
        """Return why an attempt has no result; none where it has one, or was asked to stop."""
        status = "running" if record is None else record.status
        if status in ("complete", "pruned", "interrupted"):
            return None
        if record is not None and status in ("failed", "lost"):
            kind = FailureKind(record.failure_kind or FailureKind.USER_ERROR)
            return _Failure(kind, (record.error or "").partition("\n")[0])
        if record is None and self.stopping and event.loss is None and not event.failed:
            return None  # it never began
        return self._loss(way, event)

    def _loss(self, way: _UnderWay, event: Ended) -> _Failure:
        """Return why an attempt ended that could not say so itself."""
        said = self._last_words(way.task)
        if said is not None:
            return said
        if way.killed_at is not None:
            return _Failure(
                FailureKind.TIMED_OUT,
                f"no sign of life for {self.stall_seconds:.0f} s; the process was frozen, and killed",
            )
        if event.loss is FailureKind.OUT_OF_MEMORY and self.under_way:
            text = f"{event.said}; other trials were running beside it"
            return _Failure(FailureKind.NEIGHBOUR_OUT_OF_MEMORY, text)
        kind = event.loss or FailureKind.LOST_WORKER
        return _Failure(kind, event.said or "the worker process died")

    def _last_words(self, task: TrialTask) -> _Failure | None:
        """Return what a process of the attempt wrote before it ended for good."""
        folder = f"artifacts/{task.trial_id}/{task.attempt:04d}"
        try:
            words = json.loads(self.store.files.read(f"{folder}/failure.json"))
            return _Failure(FailureKind(words["kind"]), words["text"], words["class"])
        except FileNotFoundError:
            return None

    def _write_loss(self, way: _UnderWay, record: Attempt | None, failure: _Failure, again: bool) -> None:
        """Write the record of an attempt that could not do so itself; one that did stays as it is."""
        self._clear(way.task)
        if record is not None and record.status == "failed":
            return
        record = record or way.task.new_record()
        status = "lost" if again else "failed"
        if record.status == status:
            return
        record.status, record.failure_kind = status, failure.kind
        times = way.waiting.failures[failure.kind] + 1
        allowed = self.rules.rule(failure.kind)
        budget = f", retry {times} of {allowed.times}" if again else ""
        record.error_class = record.error_class or failure.name or LOST_CLASSES[failure.kind]
        record.error = record.error or f"{failure.said}{budget}"
        record.ended = record.ended or datetime.now(UTC)
        self.store.write_attempt(record)

    def _clear(self, task: TrialTask) -> None:
        self.store.files.delete(alive_file(task))

    def _may_repeat(self, waiting: _Waiting, kind: FailureKind) -> bool:
        rule = self.rules.rule(kind)
        return rule.answer == "retry" and waiting.failures[kind] < rule.times

    def _settle(self, way: _UnderWay, status: str) -> None:
        """Note a trial that ended without a failure."""
        if status == "complete":
            self.tally.complete += 1
        elif status == "pruned":
            self.tally.pruned += 1
        else:  # by a request to stop: of this driver, or of somebody else through the store
            self.stop()
        self._release(way)

    def _after_failure(self, way: _UnderWay, failure: _Failure, again: bool) -> None:
        waiting = way.waiting
        waiting.failures[failure.kind] += 1
        if again:
            tries = sum(waiting.failures.values()) - 1
            waiting.not_before = self.clock() + min(LONGEST_PAUSE, 2.0**tries if tries else 0.0)
            bisect.insort(self.waiting, waiting, key=lambda one: one.place)
            return
        self.tally.failed[failure.kind] += 1
        self._release(way)
        count = self.tally.failed[failure.kind]
        if self.rules.rule(failure.kind).answer == "stop":
            self.stop(f"{failure.kind.words}: {failure.said}")
        elif self.rules.stop_after is not None and count >= self.rules.stop_after:
            self.stop(f"{count} trials failed for good with {failure.kind.words}; the last: {failure.said}")

    def _release(self, way: _UnderWay) -> None:
        with contextlib.suppress(StoreError):  # it is found dead once this run has ended
            self.leases.release(way.task.trial_id)

    def _store_is_gone(self, waiting: _Waiting, error: StoreError) -> None:
        """Answer a store that cannot be used when an attempt was to begin, as the suite's rules say."""
        if waiting not in self.waiting:
            bisect.insort(self.waiting, waiting, key=lambda one: one.place)
        if not self._may_repeat(waiting, FailureKind.STORAGE):
            self.stop(f"storage: {error}")
            return
        waiting.failures[FailureKind.STORAGE] += 1
        waiting.not_before = self.clock() + min(LONGEST_PAUSE, 2.0 ** waiting.failures[FailureKind.STORAGE])

    # Looking after what is under way

    def _pass_on_stop(self, now: float) -> list[TrialTask]:
        """Ask the trials to stop, through the store; return those to kill where that is out of reach."""
        self.stop_asked = self.stop_asked or now
        try:
            self.store.request_stop(self.run_id)
            self.stop_told = now
        except StoreError:
            if now - self.stop_asked > STORE_SECONDS:
                self.stop_told = now
                return [way.task for way in self.under_way.values()]
        return []

    def _is_doomed(self, way: _UnderWay, now: float) -> bool:
        """Tell whether an attempt is to be killed: its watchdog, which ends one that hangs, hangs itself."""
        if way.killed_at is not None:
            if now - way.killed_at < KILL_SECONDS:
                return False
            way.killed_at = now
            return True
        interval = alive_seconds(self.stall_seconds)
        if now - max(way.looked_at, way.sign_at) < interval:
            return False
        way.looked_at = now
        sign = self._sign_of_life(way)
        if sign != way.sign:
            way.sign, way.sign_at, way.is_alive = sign, now, True
        patience = self.stall_seconds + 2 * interval + SLACK_SECONDS + START_SECONDS * (not way.is_alive)
        if now - way.sign_at < patience:
            return False
        way.killed_at = now
        return True

    def _sign_of_life(self, way: _UnderWay) -> bytes:
        try:
            return self.store.files.read(alive_file(way.task))
        except (FileNotFoundError, StoreError):
            return way.sign


def furthest(store: StoreLayout, trial_id: str, attempts: Iterable[int]) -> int | None:
    """Return the attempt with the most advanced whole state in the store, or none."""
    states = {attempt: store.newest_state(trial_id, attempt) for attempt in attempts}
    found = {attempt: state for attempt, state in states.items() if state is not None}
    return max(found, key=lambda attempt: found[attempt], default=None)


def as_driver_lost(record: Attempt) -> Attempt:
    """Return the record of an attempt whose driver died."""
    return replace(
        record,
        status="lost",
        failure_kind=FailureKind.LOST_WORKER,
        error_class="DriverLost",
        error="the driver of the run died",
        ended=datetime.now(UTC),
    )

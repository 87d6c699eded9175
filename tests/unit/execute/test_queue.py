"""What follows from how attempts end: retries, pauses, rules, other runs. No process, no real time."""

from dataclasses import dataclass, field

import pytest

from harness.allotment import Allotment
from harness.execute.base import Ended, EpochDone, Notice, Reused, Started
from harness.execute.driver import is_alike
from harness.execute.queue import Queue
from harness.failures import FailureKind
from harness.planning.build import build_plan
from harness.provenance import code_hash
from harness.store.lease import Leases
from harness.store.read import StoreReader
from harness.store.write import create_store
from harness.suite import load_suite
from harness.testing.tiny import TINY
from tests.support.scripted_executor import Clock, Dies, Fails, ScriptedExecutor, finished


@dataclass
class Driven:
    """A queue, what drives it, and what was heard."""

    queue: Queue
    executor: ScriptedExecutor
    clock: Clock
    events: list = field(default_factory=list)

    def run(self):
        self.executor.run(self.queue, lambda event: self.events.append(self.queue.hear(event)))
        return self

    @property
    def statuses(self):
        """Return (variant, attempt, status, kind) of all attempts, in the order of their trials."""
        rows = StoreReader(self.executor.store.root).tables()["attempts"].to_pylist()
        found = [(row["variant"], row["attempt"], row["status"], row["failure_kind"]) for row in rows]
        return sorted(found)

    def begun(self, variant):
        return [round(at - 1000.0, 3) for at, task in self.executor.begun if task.variant == variant]


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "store")


@pytest.fixture
def driven(store, tmp_path):
    """Return a function that makes a queue over mse, l1 and lab, one seed, and what drives it."""
    clock = Clock()
    opened = []

    def make(
        script=lambda task: "complete", *, failures="", run_id="run", seeds=1, allotments=None, **options
    ):
        path = tmp_path / "suite.yaml"
        path.write_text(f"{TINY}{failures}")
        plan = build_plan(load_suite(path, seeds=seeds))
        executor = ScriptedExecutor(store, clock, script)
        leases = Leases(store.files, run_id, clock=clock).__enter__()
        opened.append(leases)
        made = Driven(None, executor, clock)
        made.queue = Queue(
            plan,
            plan.trials,
            {trial.id: Allotment() for trial in plan.trials} if allotments is None else allotments(plan),
            run_id=run_id,
            code_hash=code_hash(),
            store=store,
            leases=leases,
            executor=executor,
            cache=tmp_path,
            is_alike=lambda head: is_alike(head, plan, on_gpu=False),
            listener=made.events.append,
            clock=clock,
            **options,
        )
        return made

    yield make
    for leases in opened:
        leases.__exit__()


def only(variant, ending, times=1):
    """Return a script in which the first attempts of one variant end so."""
    return lambda task: ending if task.variant == variant and task.attempt <= times else "complete"


def test_every_trial_is_begun_once_in_the_order_of_the_plan(driven):
    done = driven(seeds=2).run()
    assert [(task.seed, task.variant) for _, task in done.executor.begun] == [
        (seed, variant) for seed in (0, 1) for variant in ("mse", "l1", "lab")
    ]
    assert done.queue.tally.complete == 6
    assert done.queue.tally.settled == 6


def test_a_lost_trial_waits_again_at_once_and_goes_before_what_stands_behind_it(driven):
    done = driven(only("mse", Dies())).run()
    assert done.begun("mse") == [0, 1]
    assert done.begun("lab") == [1]
    assert done.statuses == [
        ("l1", 1, "complete", None),
        ("lab", 1, "complete", None),
        ("mse", 1, "lost", "lost_worker"),
        ("mse", 2, "complete", None),
    ]


def test_the_pause_before_a_retry_grows(driven):
    done = driven(only("mse", Dies(), times=3)).run()
    first, *later = done.begun("mse")
    assert first == 0
    # Each attempt takes 1 s; then no pause, 2 s, 4 s.
    assert later == [1, 4, 9]


def test_a_trial_that_is_lost_too_often_has_failed(driven):
    done = driven(only("mse", Dies(), times=99)).run()
    kinds = [(attempt, status) for variant, attempt, status, _ in done.statuses if variant == "mse"]
    assert kinds == [(1, "lost"), (2, "lost"), (3, "lost"), (4, "failed")]
    assert done.queue.tally.failed == {FailureKind.LOST_WORKER: 1}
    ends = [event for event in done.events if isinstance(event, Ended) and event.failed]
    assert [event.again for event in ends] == [True, True, True, False]
    assert {event.loss for event in ends} == {FailureKind.LOST_WORKER}


def test_budgets_of_retries_are_counted_by_kind(driven):
    """Ten lost nodes and three lost workers are within their budgets, though thirteen are more than each."""

    def script(task):
        if task.variant != "mse" or task.attempt > 13:
            return "complete"
        return Dies(FailureKind.LOST_NODE if task.attempt <= 10 else FailureKind.LOST_WORKER)

    done = driven(script).run()
    assert ("mse", 14, "complete", None) in done.statuses


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [
        (FailureKind.USER_ERROR, 1),
        (FailureKind.NON_FINITE, 1),
        (FailureKind.OUT_OF_MEMORY, 1),
        (FailureKind.NEIGHBOUR_OUT_OF_MEMORY, 6),
    ],
)
def test_what_a_trial_does_by_itself_is_not_repeated(driven, kind, attempts):
    done = driven(only("mse", Fails(kind), times=99)).run()
    assert len(done.begun("mse")) == attempts
    assert done.queue.tally.failed == {kind: 1}
    assert done.queue.tally.complete == 2


def test_a_rule_of_the_suite_counts(driven):
    failures = "failures: {user_error: {do: retry, times: 1}, lost_worker: skip}\n"
    done = driven(only("mse", Fails(FailureKind.USER_ERROR)), failures=failures).run()
    assert ("mse", 2, "complete", None) in done.statuses
    assert ("mse", 1, "failed", "user_error") in done.statuses


def test_stop_ends_the_run_and_says_why(driven, store):
    failures = "failures: {non_finite: stop}\n"
    done = driven(only("mse", Fails(FailureKind.NON_FINITE)), failures=failures, seeds=2).run()
    assert done.queue.stop_reason == "non finite: it broke"
    assert len(done.executor.begun) == 2
    assert done.queue.tally.settled < done.queue.trials


def test_the_run_stops_after_as_many_failures_of_one_kind_as_the_suite_allows(driven):
    def script(task):
        return Fails(FailureKind.USER_ERROR) if task.variant != "lab" else "complete"

    done = driven(script, failures="failures: {stop_after: 3}\n", seeds=4).run()
    assert done.queue.tally.failed == {FailureKind.USER_ERROR: 3}
    assert done.queue.stop_reason.startswith("3 trials failed for good with user error")


def test_a_request_to_stop_reaches_the_trials_and_nothing_more_begins(driven, store):
    def script(task):
        return "interrupted" if store.stop_requested("run") else "hangs"

    made = driven(script, seeds=2)
    began = []

    def listen(event):
        made.queue.hear(event)
        if isinstance(event, Started) and not began:
            began.append(event)
            made.queue.stop()

    made.executor.run(made.queue, listen)
    assert len(made.executor.begun) == 1
    assert made.queue.tally.settled == 0
    assert [status for _, _, status, _ in made.statuses] == ["interrupted"]


def test_what_another_run_has_completed_is_reused(driven, store):
    other = driven(run_id="other", seeds=2)
    other.run()
    other.queue.leases.__exit__()
    done = driven(run_id="mine", seeds=2).run()
    assert done.executor.begun == []
    assert len(done.queue.tally.reused) == 6
    assert sum(isinstance(event, Reused) for event in done.events) == 6


def test_with_fresh_only_attempts_of_this_run_count(driven):
    driven(run_id="other").run().queue.leases.__exit__()
    done = driven(run_id="mine", fresh=True).run()
    assert [task.attempt for _, task in done.executor.begun] == [2, 2, 2]
    assert done.queue.tally.complete == 3


def test_two_runs_share_the_trials_and_each_is_trained_once(driven, store):
    one, two = driven(run_id="one", seeds=3), driven(run_id="two", seeds=3)
    for _ in range(100):
        for each in (one, two):
            step(each)
        one.clock.now += 1
    assert one.queue.finished() and two.queue.finished()
    tallies = [each.queue.tally for each in (one, two)]
    assert sum(tally.complete for tally in tallies) == 9
    assert [tally.complete + len(tally.reused) for tally in tallies] == [9, 9]
    assert len(one.statuses) == 9
    assert [event.text for event in one.events + two.events if isinstance(event, Notice)] == [
        "run two trains a part of these trials; this one takes the others and waits for it",
        "run one trains a part of these trials; this one takes the others and waits for it",
    ]


def step(driven):
    """Let a run begin what it can, and end what it began."""
    listen = driven.queue.hear
    driven.queue.tick()
    for task in list(driven.executor.under_way):
        driven.executor.end(task, "complete", listen)
    if not driven.queue.finished() and (task := driven.queue.take()) is not None:
        driven.executor.under_way.append(task)
        listen(Started(task.trial_id))


def test_the_trials_of_a_run_that_dies_are_taken_over(driven, store):
    dead = driven(run_id="dead")
    task = dead.queue.take()
    store.write_attempt(finished(task, "running"))
    store.files.delete("heartbeats/dead")
    done = driven(run_id="mine").run()
    assert done.queue.tally.complete == 3
    assert done.statuses == [
        ("l1", 1, "complete", None),
        ("lab", 1, "complete", None),
        ("mse", 1, "lost", "lost_worker"),
        ("mse", 2, "complete", None),
    ]


@pytest.mark.parametrize(("has_begun", "patience"), [(True, 0), (False, 300)])
def test_an_attempt_without_a_sign_of_life_is_killed_and_tried_again(driven, store, has_begun, patience):
    """One that has not given any yet may still be importing what it needs, and has five minutes more."""

    def script(task):
        if (task.variant, task.attempt) != ("mse", 1):
            return "complete"
        if has_begun:
            store.files.create(f"artifacts/{task.trial_id}/{task.attempt:04d}/alive", b"0")
        return "hangs"

    done = driven(script, failures="failures: {stall_minutes: 1}\n").run()
    assert done.executor.killed == ["mse"]
    again = done.begun("mse")[1]
    assert (
        patience + 60 < again < patience + 60 + 3 * 15 + 20
    )  # the stall, twice the time between signs, and some slack
    assert ("mse", 1, "lost", "timed_out") in done.statuses


def test_signs_of_life_keep_an_attempt_alive(driven, store):
    counts = iter(range(1000))

    def script(task):
        if task.variant != "mse":
            return "complete"
        store.files.write(f"artifacts/{task.trial_id}/{task.attempt:04d}/alive", str(next(counts)).encode())
        return "complete" if next(counts) > 600 else "hangs"

    done = driven(script, failures="failures: {stall_minutes: 1}\n").run()
    assert done.executor.killed == []
    assert done.begun("mse") == [0]


def test_the_last_words_of_a_process_tell_why_an_attempt_was_lost(driven, store):
    def script(task):
        if task.variant != "mse" or task.attempt > 1:
            return "complete"
        words = b'{"kind": "out_of_memory", "class": "OutOfMemoryError", "text": "CUDA out of memory"}'
        store.files.create(f"artifacts/{task.trial_id}/{task.attempt:04d}/failure.json", words)
        return Dies()

    done = driven(script).run()
    assert ("mse", 1, "failed", "out_of_memory") in done.statuses
    record = store.reader().attempt(done.executor.begun[0][1].trial_id, 1)
    assert (record.error_class, record.error) == ("OutOfMemoryError", "CUDA out of memory")
    assert done.queue.tally.failed == {FailureKind.OUT_OF_MEMORY: 1}


@pytest.mark.parametrize(("at_once", "kind"), [(1, "out_of_memory"), (2, "neighbour_out_of_memory")])
def test_the_system_that_kills_for_memory_may_hit_the_wrong_one(driven, at_once, kind):
    made = driven(only("mse", Dies(FailureKind.OUT_OF_MEMORY)))
    made.executor.at_once = at_once
    made.run()
    assert [row[3] for row in made.statuses if row[:2] == ("mse", 1)] == [kind]


def test_a_trial_that_has_no_room_lets_smaller_ones_by(driven):
    """Two of three slots are taken by a trial of two processes; the one of two waits, not the one of one."""

    def allotments(plan):
        wide = {"mse", "l1"}
        return {trial.id: Allotment(2 if set(trial.variants) & wide else 1) for trial in plan.trials}

    made = driven(allotments=allotments)
    made.executor.at_once = 3
    made.run()
    assert made.begun("mse") == made.begun("lab") == [0]
    assert made.begun("l1") == [1]


def test_a_pruned_trial_is_done_with_and_no_failure(driven):
    done = driven(only("l1", "pruned")).run()
    assert (done.queue.tally.pruned, done.queue.tally.complete) == (1, 2)
    assert done.begun("l1") == [0]


def test_events_pass_with_the_reason_and_whether_the_trial_is_tried_again(driven):
    done = driven(only("mse", Dies(said="gone"))).run()
    mse = done.executor.begun[0][1].trial_id
    told = [event for event in done.events if event.trial_id == mse]
    assert told == [
        Started(mse),
        Ended(mse, failed=True, loss=FailureKind.LOST_WORKER, said="gone", again=True),
        Started(mse),
        Ended(mse),
    ]


def test_an_event_of_a_trial_that_is_not_under_way_changes_nothing(driven):
    made = driven()
    event = EpochDone(made.queue.plan.trials[0].id, 1, 0.5)
    assert made.queue.hear(event) == event
    assert made.queue.tally.settled == 0


def test_leases_are_given_back_as_trials_are_done(driven, store):
    made = driven(only("mse", Fails(FailureKind.USER_ERROR)))
    made.run()
    assert store.files.names("leases") == []

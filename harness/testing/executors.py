"""What every executor must do. A test class inherits the cases and overrides one fixture:

    class TestMine(ExecutorCases):
        @pytest.fixture
        def executor(self):
            executor = MyExecutor()
            yield executor
            executor.close()

The cases train real trials of a second each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from harness.allotment import Allotment
from harness.data.cache import cache_folder
from harness.execute.base import Ended, EpochDone, Event, Executor, Started
from harness.execute.driver import Outcome, assess, run_plan
from harness.failures import FailureKind
from harness.plan import Plan
from harness.planning.build import build_plan
from harness.store.read import RunRecord, StoreReader
from harness.store.write import StoreWriter, create_store
from harness.suite import load_suite
from harness.testing.faults import project_of_faults, with_fault
from harness.testing.tiny import TINY

Listener = Callable[[Event], None]
Broken = Callable[..., Plan]


def ignore(event: Event) -> None:
    """Listen to nothing."""


class ExecutorCases:
    """Cases that an executor passes whatever it runs trials on."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> StoreWriter:
        """Return an empty store."""
        return create_store(tmp_path / "store")

    @pytest.fixture
    def plan(self, tmp_path: Path) -> Plan:
        """Return a plan of three trials, the second of which fails at its first steps."""
        text = TINY.replace("cumulative", "one_at_a_time").replace(
            "{set: {loss.l1: 0.5}, why: sharper edges}",
            "{set: {optimizer.lr: 1e30, model.output: linear}}",
        )
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        return build_plan(load_suite(path, seeds=1))

    @pytest.fixture
    def broken(
        self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> Broken:
        """Return a function that plans one trial with a fault; see `harness.testing.faults`."""
        project = project_of_faults(tmp_path_factory.getbasetemp())
        monkeypatch.chdir(project)

        def make(how: str, *, failures: str = "", overrides: Sequence[str] = (), **parameters: int) -> Plan:
            path = tmp_path / "broken.yaml"
            text = with_fault(TINY, tmp_path, how=how, **parameters)
            path.write_text(f"{text}failures: {{{failures}}}\n")
            loaded = load_suite(path, seeds=1, overrides=overrides)
            return build_plan(loaded, only=["loss_terms=mse"])

        return make

    def test_every_trial_is_run_and_told_of_in_order(
        self, executor: Executor, plan: Plan, store: StoreWriter
    ) -> None:
        """Started, then each epoch, then Ended, for every trial; each from the calling thread."""
        events: dict[str, list[Event]] = {}
        _run(plan, store, executor, lambda event: events.setdefault(event.trial_id, []).append(event))
        mse, _, lab = (trial.id for trial in plan.trials)
        for trial_id in (mse, lab):
            told = events[trial_id]
            assert [type(event) for event in told] == [Started, *[EpochDone] * 3, Ended]
            assert [event.epoch for event in told if isinstance(event, EpochDone)] == [1, 2, 3]
        assert events.keys() == {trial.id for trial in plan.trials}
        assert all(isinstance(told[-1], Ended) for told in events.values())

    def test_a_trial_that_fails_leaves_the_others_alone(
        self, executor: Executor, plan: Plan, store: StoreWriter
    ) -> None:
        """The failure is in the record, is not tried again, and stops nobody."""
        outcome, record = _run(plan, store, executor)
        assert (outcome.complete, outcome.failed, outcome.interrupted) == (2, 1, False)
        status = dict(zip(record.trials["variant"], record.trials["status"], strict=True))
        assert status == {"mse": "complete", "l1": "failed", "lab": "complete"}
        assert list(record.trials["attempt"]) == [1, 1, 1]

    def test_every_fold_is_a_trial_with_a_record_of_its_own(
        self, executor: Executor, tmp_path: Path, store: StoreWriter
    ) -> None:
        """Seed and fold reach the record, and each fold validates on other images."""
        path = tmp_path / "folds.yaml"
        path.write_text(f"{TINY}folds: 2\n")
        plan = build_plan(load_suite(path, seeds=1), only=["loss_terms=mse"])
        _, record = _run(plan, store, executor)
        rows = record.trials.sort_values("fold")
        assert rows[["seed", "fold", "status"]].to_numpy().tolist() == [
            [0, 0, "complete"],
            [0, 1, "complete"],
        ]
        found = record.metrics[record.metrics["metric"] == plan.primary_metric]
        last = found[(found["split"] == "validation") & found["label"].isna() & (found["epoch"] == 3)]
        assert len(last) == last["value"].nunique() == 2

    def test_a_request_to_stop_ends_the_run_and_the_next_one_goes_on(
        self, executor: Executor, tmp_path: Path, store: StoreWriter
    ) -> None:
        """What is under way writes its state and ends; the next run goes on from there."""
        path = tmp_path / "long.yaml"
        path.write_text(TINY)
        overrides = ["base.train.epochs=40", "base.data.train_size=256"]
        plan = build_plan(load_suite(path, seeds=1, overrides=overrides), only=["loss_terms=mse"])

        def stop_at_the_first_epoch(event: Event) -> None:
            if isinstance(event, EpochDone):
                for run_id in StoreReader(store.root).runs["run_id"].to_pylist():
                    store.request_stop(run_id)

        outcome, record = _run(plan, store, executor, stop_at_the_first_epoch)
        assert outcome.complete == 0
        assert record.trials["status"].tolist() == ["interrupted"]
        outcome, record = _run(plan, store, executor)
        assert outcome.complete == 1
        assert record.trials[["attempt", "resumed_from", "epochs_done"]].to_numpy().tolist() == [[2, 1, 40]]

    def test_a_trial_that_takes_everything_runs_alone(
        self, executor: Executor, tmp_path: Path, store: StoreWriter
    ) -> None:
        """Trials of different size share the machine, and never take more than there is."""
        path = tmp_path / "suite.yaml"
        path.write_text(TINY)
        plan = build_plan(load_suite(path, seeds=1))
        first, *others = (trial.id for trial in plan.trials)
        allotments = {first: Allotment(cpus=executor.cpus), **dict.fromkeys(others, Allotment())}
        running: set[str] = set()
        seen: list[set[str]] = []

        def note(event: Event) -> None:
            (running.add if isinstance(event, Started) else running.discard)(event.trial_id)
            if isinstance(event, EpochDone):
                running.add(event.trial_id)
            seen.append(set(running))

        outcome, _ = _run(plan, store, executor, note, allotments=allotments)
        assert outcome.complete == 3
        assert {first} in seen
        assert all(len(at_once) == 1 for at_once in seen if first in at_once)
        assert max(map(len, seen)) <= executor.cpus

    def test_a_killed_process_is_replaced_and_its_trial_goes_on(
        self, executor: Executor, broken: Broken, store: StoreWriter
    ) -> None:
        """The attempt is lost, told of as such, and the next one goes on from its state."""
        events: list[Event] = []
        outcome, record = _run(broken("kill", at=6), store, executor, events.append)
        assert (outcome.complete, outcome.failed) == (1, 0)
        [trial] = record.trials.to_dict("records")
        assert (trial["status"], trial["attempt"], trial["resumed_from"]) == ("complete", 2, 1)
        told = [type(event) for event in events]
        assert told == [Started, EpochDone, Ended, Started, EpochDone, EpochDone, Ended]
        lost = events[2]
        assert isinstance(lost, Ended)
        assert (lost.failed, lost.again, lost.loss) == (True, True, FailureKind.LOST_WORKER)
        before = store.reader().attempt(trial["trial_id"], 1)
        assert before is not None
        assert (before.status, before.failure_kind, before.epochs_done) == ("lost", "lost_worker", 1)

    def test_a_frozen_process_is_killed_and_its_trial_goes_on(
        self, executor: Executor, broken: Broken, store: StoreWriter
    ) -> None:
        """What cannot end itself is ended from outside, once it has stood still for long enough."""
        plan = broken("freeze", at=6, failures="stall_minutes: 0.1")
        _, record = _run(plan, store, executor)
        [trial] = record.trials.to_dict("records")
        assert (trial["status"], trial["attempt"]) == ("complete", 2)
        before = store.reader().attempt(trial["trial_id"], 1)
        assert before is not None
        assert (before.status, before.failure_kind) == ("lost", "timed_out")

    def test_a_trial_of_several_processes_is_one_trial(
        self, executor: Executor, broken: Broken, store: StoreWriter
    ) -> None:
        """One of two processes is killed: the attempt is lost; the next one ends with one record."""
        plan = broken("kill", at=6, rank=1, overrides=["base.strategy={name: ddp, processes: 2}"])
        outcome, record = _run(plan, store, executor)
        assert outcome.complete == 1
        [trial] = record.trials.to_dict("records")
        assert (trial["status"], trial["attempt"], trial["world_size"]) == ("complete", 2, 2)
        before = store.reader().attempt(trial["trial_id"], 1)
        assert before is not None
        assert (before.status, before.failure_kind) == ("lost", "lost_worker")
        keys = ["epoch", "split", "metric", "label"]
        assert not record.metrics.duplicated(keys).any()

    def test_room_is_a_whole_number_of_trials(self, executor: Executor) -> None:
        """Resources that are not there leave no room."""
        assert executor.slots(Allotment(cpus=1)) == executor.cpus
        assert executor.slots(Allotment(cpus=10_000)) == 0
        assert executor.slots(Allotment(cpus=1, gpus=10_000)) == 0


def _run(
    plan: Plan,
    store: StoreWriter,
    executor: Executor,
    listener: Listener = ignore,
    allotments: Mapping[str, Allotment] | None = None,
) -> tuple[Outcome, RunRecord]:
    assessment = assess(plan, StoreReader(store.root))
    outcome = run_plan(
        plan,
        store,
        executor,
        assessment=assessment,
        listener=listener,
        cache=cache_folder(),
        allotments=allotments,
    )
    return outcome, StoreReader(store.root).run(outcome.run_id)

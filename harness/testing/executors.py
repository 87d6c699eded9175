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

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import cache_folder
from harness.execute.base import Ended, EpochDone, Event, Executor, Started
from harness.execute.driver import Outcome, assess, run_plan
from harness.grammar import Resources
from harness.plan import Plan
from harness.planning.build import build_plan
from harness.store.read import RunRecord, StoreReader
from harness.store.write import StoreWriter, create_store
from harness.suite import load_suite
from harness.testing.tiny import TINY

Listener = Callable[[Event], None]


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

    def test_room_is_a_whole_number_of_trials(self, executor: Executor) -> None:
        """Resources that are not there leave no room."""
        assert executor.slots(Resources(cpus=1)) == executor.cpus
        assert executor.slots(Resources(cpus=10_000)) == 0
        assert executor.slots(Resources(cpus=1, gpus=10_000)) == 0


def _run(
    plan: Plan, store: StoreWriter, executor: Executor, listener: Listener = ignore
) -> tuple[Outcome, RunRecord]:
    assessment = assess(plan, StoreReader(store.root))
    outcome = run_plan(plan, store, executor, assessment=assessment, listener=listener, cache=cache_folder())
    return outcome, StoreReader(store.root).run(outcome.run_id)

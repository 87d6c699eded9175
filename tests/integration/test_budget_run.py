"""A run whose budget is spent stops as with Ctrl-C, says so, and goes on with more."""

import threading
import time

import pytest

from harness.api import cache_folder
from harness.budget import Budget
from harness.cost.spending import LOOK_SECONDS, Meter
from harness.execute.driver import assess, run_plan
from harness.execute.local import LocalExecutor
from harness.planning.build import build_plan
from harness.store.read import StoreReader
from harness.store.write import create_store
from harness.suite import load_suite
from harness.testing.tiny import TINY

LONG = TINY.replace("epochs: 3", "epochs: 100000").replace("seeds: 2", "seeds: 1")


@pytest.fixture
def run(write_suite, tmp_path):
    """Return a function that runs a suite's text within a budget, and returns outcome and reader."""

    def make(text, budget, executor=LocalExecutor):
        plan = build_plan(load_suite(write_suite(text))).model_copy(update={"budget": budget})
        store = create_store(tmp_path / "store")
        workers = executor(cpus=2)
        try:
            outcome = run_plan(
                plan,
                store,
                workers,
                assessment=assess(plan, StoreReader(store.root)),
                listener=lambda event: None,
                cache=cache_folder(),
            )
        finally:
            workers.close()
        return outcome, StoreReader(store.root)

    return make


def test_a_run_stops_when_its_budget_is_spent_and_every_trial_keeps_its_state(run):
    outcome, reader = run(LONG, Budget(cpu_hours=6 / 3600))
    assert outcome.over_budget == (
        "the budget of 0.00167 CPU hours is spent; trials that were not done wrote their state"
    )
    assert (outcome.interrupted, outcome.failed, outcome.complete) == (True, 0, 0)
    [record] = reader.runs.to_pylist()
    assert record["status"] == "interrupted"
    assert outcome.over_budget in record["notes"]
    attempts = reader.attempts.to_pylist()
    assert attempts
    assert {row["status"] for row in attempts} == {"interrupted"}
    assert not reader.files.exists(reader.stop_file(outcome.run_id))
    plan = reader.run(outcome.run_id).plan
    assert set(assess(plan, reader).half_done) == {row["trial_id"] for row in attempts}


def test_a_run_within_its_budget_says_nothing(run):
    outcome, reader = run(TINY.replace("seeds: 2", "seeds: 1"), Budget(hours=1, cpu_hours=1))
    assert (outcome.over_budget, outcome.interrupted, outcome.complete) == (None, False, 3)
    assert reader.runs.to_pylist()[0]["status"] == "complete"


def test_a_budget_that_is_spent_when_all_is_done_ends_no_run(run, monkeypatch):
    done = threading.Event()

    class Lingering(LocalExecutor):
        def run(self, work, listener):
            super().run(work, listener)
            done.set()
            time.sleep(3 * LOOK_SECONDS)

    monkeypatch.setattr(Meter, "over", lambda meter: "all is spent" if done.is_set() else None)
    outcome, reader = run(TINY.replace("seeds: 2", "seeds: 1"), Budget(hours=1), executor=Lingering)
    assert (outcome.over_budget, outcome.interrupted, outcome.complete) == (None, False, 3)
    assert not reader.files.exists(reader.stop_file(outcome.run_id))

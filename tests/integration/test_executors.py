import pytest

from harness.api import cache_folder
from harness.execute.base import Started
from harness.execute.driver import assess, run_plan
from harness.execute.local import LocalExecutor
from harness.execute.ray_tune import RayExecutor
from harness.planning.build import build_plan
from harness.store.read import StoreReader
from harness.store.write import create_store
from harness.suite import load_suite
from harness.testing.executors import ExecutorCases
from harness.testing.tiny import TINY


@pytest.fixture(scope="module")
def local():
    executor = LocalExecutor(cpus=2)
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def ray():
    executor = RayExecutor(cpus=2)
    yield executor
    executor.close()


class TestLocal(ExecutorCases):
    @pytest.fixture
    def executor(self, local):
        return local


class TestRay(ExecutorCases):
    @pytest.fixture
    def executor(self, ray):
        return ray

    # A minute each; test_ray_work.py asks the executor alone for the same.

    @pytest.mark.long
    def test_a_frozen_process_is_killed_and_its_trial_goes_on(self, executor, broken, store):
        super().test_a_frozen_process_is_killed_and_its_trial_goes_on(executor, broken, store)

    @pytest.mark.long
    def test_a_trial_of_several_processes_is_one_trial(self, executor, broken, store):
        super().test_a_trial_of_several_processes_is_one_trial(executor, broken, store)


def test_a_worker_is_kept_between_trials_and_replaced_after_a_failed_one(write_suite, tmp_path):
    text = TINY.replace("cumulative", "one_at_a_time").replace(
        "{loss.l1: 0.5}", "{optimizer.lr: 1e30, model.output: linear}"
    )
    plan = build_plan(load_suite(write_suite(text), seeds=1))
    store = create_store(tmp_path / "store")
    executor = LocalExecutor(cpus=1)
    served_by = {}

    def note_process(event):
        if isinstance(event, Started):
            served_by[event.trial_id] = executor.workers[0].process.pid

    assessment = assess(plan, StoreReader(store.root))
    run_plan(plan, store, executor, assessment=assessment, listener=note_process, cache=cache_folder())
    executor.close()
    first, failed, third = (served_by[trial.id] for trial in plan.trials)
    assert first == failed != third

import pytest
import torch

from harness.planning.build import build_plan
from harness.specify import respecify
from harness.suite import load_suite
from harness.testing.tiny import TINY
from harness.train.trial import run_trial
from tests.support.memory_sink import MemorySink


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def spec_of(write_suite):
    """Return a function: overrides -> specification of the reference for seed 0."""

    def make(*overrides, variant="mse"):
        plan = build_plan(load_suite(write_suite(TINY), overrides=overrides))
        return respecify(plan.trial(variant, plan.seeds[0]).spec)

    return make


@pytest.fixture
def train(cache, tmp_path_factory):
    """Return a function that trains a specification and returns its sink."""

    def run(spec, **options):
        sink = MemorySink(tmp_path_factory.mktemp("attempt"), **options)
        run_trial(spec, sink, cache=cache, threads=1)
        return sink

    return run

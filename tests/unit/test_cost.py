"""What a plan takes: from the store, from timed steps, and from these scaled by FLOPs."""

import dataclasses
import io
import json
import time

import pytest
import torch
from rich.console import Console

from harness.api import prepare
from harness.budget import Budget
from harness.cost.estimate import Range, estimate, scaled, totals
from harness.errors import HarnessError
from harness.grammar import Resources
from harness.planning.build import build_plan
from harness.preflight.check import check_plan
from harness.preflight.facts import Facts
from harness.specify import respecify
from harness.store.read import StoreReader
from harness.store.write import Attempt, create_store
from harness.suite import load_suite
from harness.terminal.plan_page import print_plan
from harness.testing.tiny import TINY
from harness.train.calibrate import measure_pace, measure_pace_on_gpu
from harness.train.probe import Pace


@pytest.fixture
def plan(write_suite):
    return build_plan(load_suite(write_suite(TINY)))


def facts_of(step_flops, forward_flops=1, memory=1000):
    return Facts(16, 10, 10, forward_flops, step_flops, memory, 0, 0, 0, 0)


def estimated(
    plan,
    tmp_path,
    *,
    store=None,
    facts=None,
    timing_seconds=0.0,
    budget=None,
    slots=1,
    missing=None,
    epochs_done=None,
):
    return estimate(
        plan,
        plan.trials if missing is None else missing,
        slots=slots,
        store=StoreReader(store or tmp_path / "store"),
        facts=facts or {},
        timing_seconds=timing_seconds,
        paces=tmp_path / "paces",
        budget=budget,
        epochs_done=epochs_done or {},
    )


def keep(root, trial, *, seconds, attempt=1, memory=None, **changes):
    """Write a complete attempt of a trial as if it had run."""
    record = Attempt(
        run_id="r", trial_id=trial.id, attempt=attempt, variant=trial.variants[0], levels="{}",
        seed=trial.seed, fold=trial.fold, spec=json.dumps(trial.spec), code_hash="c", status="complete",
        wall_seconds=seconds, peak_memory_bytes=memory, device="cpu", threads=1,
    )  # fmt: skip
    create_store(root).write_attempt(dataclasses.replace(record, **changes))


def test_like_trials_of_the_store_come_first_with_their_spread_and_peak_memory(plan, tmp_path):
    root = tmp_path / "store"
    mse, other_seed = (trial for trial in plan.trials if trial.variants == ("mse",))
    keep(root, mse, seconds=10.0, memory=500)
    keep(root, other_seed, seconds=14.0, memory=700)
    found = estimated(plan, tmp_path, store=root)
    cost = found.trials[mse.id]
    assert (cost.seconds, cost.low, cost.high, cost.memory_bytes, cost.source) == (
        12.0,
        10.0,
        14.0,
        700,
        "store",
    )
    assert found.basis.startswith(
        "1 of 3 variants from like trials in the store, 2 of 3 variants taken as the mean of the others"
    )


@pytest.mark.parametrize(
    "changes", [{"threads": 2}, {"device": "NVIDIA"}, {"status": "failed"}, {"resumed_from": 1}]
)
def test_trials_that_are_not_alike_tell_nothing(plan, tmp_path, changes):
    keep(tmp_path / "store", plan.trials[0], seconds=10.0, **changes)
    found = estimated(plan, tmp_path, store=tmp_path / "store")
    assert (found.seconds, found.trials) == (None, {})
    assert found.basis == "nothing is known of trials like these"


def test_a_trial_that_goes_on_takes_the_rest_of_its_epochs(plan, tmp_path):
    root = tmp_path / "store"
    mse, other_seed = (trial for trial in plan.trials if trial.variants == ("mse",))
    keep(root, mse, seconds=12.0)
    found = estimated(plan, tmp_path, store=root, missing=[other_seed], epochs_done={other_seed.id: 1})
    assert found.trials[other_seed.id].seconds == pytest.approx(8.0)  # two of three epochs


def test_totals_are_those_counted_by_hand():
    budget = Budget(price_per_gpu_hour=2.0, price_per_cpu_hour=0.1, currency="EUR")
    # two at once: 3600 and 1800 s begin, 1800 s follows in the second slot
    found = totals([3600.0, 1800.0, 1800.0], Resources(cpus=4, gpus=0.5), 2, budget)
    assert found.seconds == 3600.0 + 12.0
    assert found.gpu_hours == 1.0
    assert found.cpu_hours == 8.0
    assert found.money == pytest.approx(2.0 + 0.8)
    assert totals([3600.0], Resources(), 1, None).money is None
    assert totals([], Resources(), 1, None).seconds == 0.0


@pytest.mark.parametrize(
    ("points", "flops", "expected"),
    [
        ([(10, 1.0), (30, 2.0)], 20, Range(1.5, 20 / 30 * 2.0, 2.0)),  # the line; each point in proportion
        ([(10, 1.0), (1000, 3.0)], 505, Range(2.0, 505 / 1000 * 3.0, 3.0)),  # not 50 times the first
        ([(10, 1.0)], 20, Range(2.0, 1.0, 2.0)),  # in proportion; not at all
        ([(10, 1.0)], 5, Range(0.5, 0.5, 1.0)),
        ([(1000, 1.0), (1001, 3.0)], 1001, Range(2.0005, 1.0, 3.0)),  # no telling how time grows
        ([(7, 4.0), (7, 4.0)], 7, Range(4.0, 4.0, 4.0)),
    ],
)
def test_seconds_are_scaled_by_flops(points, flops, expected):
    found = scaled(points, flops)
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected), abs=1e-3)


def test_only_the_smallest_and_the_largest_structure_are_timed(plan, tmp_path, monkeypatch):
    timed = []

    def pace(spec, **options):
        timed.append(set(spec.loss))
        seconds = {frozenset({"mse"}): 1.0, frozenset({"mse", "l1", "lab_l1"}): 3.0}[frozenset(spec.loss)]
        return Pace(seconds, seconds * 0.9, seconds * 1.2, 0.0)

    monkeypatch.setattr("harness.train.calibrate.measure_pace", pace)
    facts = {"mse": facts_of(10), "l1": facts_of(20), "lab": facts_of(30)}
    found = estimated(plan, tmp_path, facts=facts, timing_seconds=1.0)
    assert timed == [{"mse"}, {"mse", "l1", "lab_l1"}]
    by_variant = {trial.variants[0]: found.trials[trial.id] for trial in plan.trials}
    # 3 epochs of 64 / 16 steps
    assert [cost.source for cost in by_variant.values()] == ["timed", "scaled", "timed"]
    assert by_variant["mse"].seconds == pytest.approx(12 * 1.0)
    assert (by_variant["mse"].low, by_variant["mse"].high) == pytest.approx((12 * 0.9, 12 * 1.2))
    assert by_variant["l1"].seconds == pytest.approx(12 * 2.0)
    # in proportion it would be 2.0 s by both points; single steps took 0.9 to 1.2 of it
    assert (by_variant["l1"].low, by_variant["l1"].high) == pytest.approx((12 * 2.0 * 0.9, 12 * 2.0 * 1.2))
    assert "2 of 3 variants from timed steps on this machine, 1 of 3 variants from these" in found.basis


def test_with_folds_a_part_is_validated_on_and_the_others_are_trained_on(write_suite, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "harness.train.calibrate.measure_pace", lambda spec, **options: Pace(1.0, 1.0, 1.0, 0.01)
    )
    plan = build_plan(load_suite(write_suite(TINY), overrides=["folds=4"]))
    found = estimated(plan, tmp_path, timing_seconds=60.0)
    # 3 epochs, each of 48 / 16 steps of 1 s and 16 pictures of 0.01 s
    assert found.trials[plan.trials[0].id].seconds == pytest.approx(3 * (3 + 0.16))


def test_a_timing_is_kept_and_a_failed_one_is_named(plan, tmp_path, monkeypatch):
    facts = check_plan(plan, plan.trials, seconds=60.0).facts
    first = estimated(plan, tmp_path, facts=facts, timing_seconds=1.0)
    monkeypatch.setattr("harness.train.calibrate.measure_pace", None)  # nothing is timed again
    started = time.perf_counter()
    assert estimated(plan, tmp_path, facts=facts, timing_seconds=0.0) == first
    assert time.perf_counter() - started < 0.2
    other = tmp_path / "other"
    other.mkdir()
    failed = estimated(plan, other, facts=facts, timing_seconds=1.0)
    assert failed.seconds is None
    assert "timing a step failed: TypeError" in failed.basis


def test_a_measured_pace_is_that_of_the_trial_and_disturbs_nothing(plan, capfd):
    spec = respecify(plan.trials[0].spec)
    before = (torch.get_rng_state().tolist(), torch.get_num_threads(), torch.get_deterministic_debug_mode())
    pace = measure_pace(spec, threads=1, on_cpu=True, seconds=0.5)
    assert 0 < pace.fast_step <= pace.step_seconds <= pace.slow_step < 1.0
    assert 0 < pace.image_seconds < 0.5
    after = (torch.get_rng_state().tolist(), torch.get_num_threads(), torch.get_deterministic_debug_mode())
    assert after == before
    assert capfd.readouterr() == ("", "")


def test_a_process_of_its_own_times_a_trial_and_says_why_it_cannot(plan, monkeypatch):
    # The program times on a GPU where there is one, and on the CPU elsewhere.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    spec = respecify(plan.trials[0].spec)
    pace = measure_pace_on_gpu(spec, threads=1, seconds=0.2)
    assert 0 < pace.fast_step <= pace.step_seconds <= pace.slow_step
    monkeypatch.setattr("harness.train.calibrate.APART_SECONDS", 0.01)
    with pytest.raises(HarnessError, match="timing on the GPU took more than 0 s"):
        measure_pace_on_gpu(spec, threads=1, seconds=0.2)


def test_without_a_gpu_a_plan_for_gpus_says_that_nothing_could_be_timed(write_suite, tmp_path):
    plan = build_plan(load_suite(write_suite(TINY), overrides=["resources.gpus=1"]))
    found = estimated(plan, tmp_path, timing_seconds=1.0, facts={"mse": facts_of(10)})
    if not torch.cuda.device_count():
        assert found.expected is None
        assert "this machine has no GPU to time a step on" in found.basis


def test_thousands_of_trials_are_estimated_at_once(plan, tmp_path):
    keep(tmp_path / "store", plan.trials[0], seconds=10.0)
    many = tuple(
        trial.model_copy(update={"id": f"{trial.id}-{index}"})
        for index in range(3334)
        for trial in plan.trials[:3]
    )
    started = time.perf_counter()
    found = estimated(plan, tmp_path, store=tmp_path / "store", missing=many, slots=2)
    assert time.perf_counter() - started < 1.0
    assert found.expected.seconds == pytest.approx(10.0 * 10_002 / 2 + 12.0)


def test_the_printed_plan_names_time_memory_money_and_the_basis(write_suite, tmp_path):
    text = TINY + "budget: {cpu_hours: 9, price_per_cpu_hour: 0.5, currency: EUR}\n"
    store = tmp_path / "store"
    prepared = prepare(write_suite(text), store=store, cpus=2)
    for trial in prepared.plan.trials[:3]:
        keep(store, trial, seconds=3600.0, memory=2_000_000_000, code_hash="other")
    console = Console(file=io.StringIO(), width=200)
    print_plan(prepared, prepared.estimate(timing_seconds=0.0), console)
    shown = console.file.getvalue()
    assert "60 min" in shown or "1 h" in shown or "1.0 h" in shown
    assert "2.0 GB" in shown
    assert "6.00 CPU hours (6.00 to 6.00)" in shown
    assert "3.00 EUR (3.00 to 3.00)" in shown
    assert "budget: 9 CPU hours" in shown
    assert "3 of 3 variants from like trials in the store" in shown

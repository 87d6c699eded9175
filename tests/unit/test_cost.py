"""What a plan takes: from the store, from timed steps, and from these scaled by FLOPs."""

import dataclasses
import io
import json
import time

import pytest
import torch
from rich.console import Console

from harness.allotment import Allotment, Machine
from harness.api import prepare
from harness.budget import Budget
from harness.cost.estimate import Range, estimate, scaled, totals
from harness.cost.schedule import schedule
from harness.errors import HarnessError
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


ONE_CPU = Machine(cpus=1)


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
    machine=ONE_CPU,
    missing=None,
    epochs_done=None,
):
    return estimate(
        plan,
        plan.trials if missing is None else missing,
        machine=machine,
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
    half = Allotment(cpus=4, gpus=0.5)
    found = totals([3600.0, 1800.0, 1800.0], [half] * 3, Machine(cpus=8, gpus=1), budget)
    assert found.seconds == 3600.0 + 12.0
    assert found.gpu_hours == 1.0
    assert found.cpu_hours == 8.0
    assert found.money == pytest.approx(2.0 + 0.8)
    assert totals([3600.0], [Allotment()], Machine(cpus=1), None).money is None
    assert totals([], [], Machine(cpus=1), None).seconds == 0.0


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
    machine = Machine(cpus=1, gpus=1)
    found = estimated(plan, tmp_path, timing_seconds=1.0, facts={"mse": facts_of(10)}, machine=machine)
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
    started = time.process_time()
    found = estimated(plan, tmp_path, store=tmp_path / "store", missing=many, machine=Machine(cpus=2))
    assert time.process_time() - started < 1.0
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


# Trials that occupy different amounts


GIB = 2**30


def hand_schedule(allotments, machine, *seconds):
    return schedule(seconds, allotments, machine)


def test_trials_that_share_gpus_end_when_counted_by_hand():
    quarter, whole = Allotment(gpus=0.25), Allotment(gpus=1.0)
    machine = Machine(cpus=16, gpus=2)
    # one GPU takes the whole one for 10 s; the other four quarters at once, 6 s each, then four more
    assert hand_schedule([whole] + [quarter] * 8, machine, 10.0, *[6.0] * 8) == 12.0
    assert hand_schedule([quarter] * 8, machine, *[6.0] * 8) == 6.0
    assert hand_schedule([Allotment(processes=2, gpus=1.0)] * 3, machine, 5.0, 5.0, 5.0) == 15.0


def test_memory_keeps_trials_from_running_at_once():
    large = Allotment(memory_bytes=5 * GIB)
    assert hand_schedule([large] * 2, Machine(cpus=4, memory_bytes=8 * GIB), 3.0, 3.0) == 6.0
    assert hand_schedule([large] * 2, Machine(cpus=4, memory_bytes=10 * GIB), 3.0, 3.0) == 3.0


def test_trials_without_room_count_one_after_the_other():
    assert hand_schedule([Allotment(cpus=8)] * 2 + [Allotment()], Machine(cpus=2), 3.0, 4.0, 5.0) == 12.0


@pytest.fixture
def plan_with(write_suite):
    """Return a function: overrides -> plan of three variants and two seeds."""
    return lambda *overrides: build_plan(load_suite(write_suite(TINY), overrides=overrides))


ONE_GPU = Machine(cpus=8, gpus=1, gpu_memory_bytes=80 * GIB, memory_bytes=64 * GIB)


def shares(found, plan):
    return {trial.variants[0]: found.allotments[trial.id].gpus for trial in plan.trials}


def test_shares_of_a_gpu_come_from_measured_peaks_before_counted_tensors(plan_with, tmp_path):
    plan = plan_with()
    mse = plan.trials[0]
    keep(tmp_path / "store", mse, seconds=9.0, memory=20 * GIB, device="NVIDIA A100", gpus=1.0)
    keep(
        tmp_path / "store", mse, seconds=9.0, memory=60 * GIB, device="cpu", attempt=2
    )  # tells nothing of a GPU
    facts = {"mse": facts_of(10, memory=GIB), "l1": facts_of(10, memory=30 * GIB)}
    found = estimated(plan, tmp_path, store=tmp_path / "store", facts=facts, machine=ONE_GPU)
    # (20 x 1.25 + 0.6) / 80 = 0.32; (30 x 1.25 + 0.6) / 80 = 0.48; nothing is known of the last
    assert shares(found, plan) == {"mse": 0.375, "l1": 0.5, "lab": 1.0}
    assert shares(estimated(plan, tmp_path, facts=facts), plan) == {"mse": 0, "l1": 0, "lab": 0}


def test_peaks_on_the_cpu_become_main_memory(plan_with, tmp_path):
    plan = plan_with()
    keep(tmp_path / "store", plan.trials[0], seconds=9.0, memory=2 * GIB)
    found = estimated(plan, tmp_path, store=tmp_path / "store", machine=Machine(cpus=4, memory_bytes=4 * GIB))
    assert found.allotments[plan.trials[0].id].memory_bytes == 2.5 * GIB
    assert found.allotments[plan.trials[1].id].memory_bytes is None


def test_times_of_the_same_share_of_a_gpu_come_before_those_of_another(plan_with, tmp_path):
    plan = plan_with("resources.gpus=0.25")
    trial = plan.trials[0]
    keep(tmp_path / "store", trial, seconds=9.0, device="NVIDIA A100", gpus=1.0)
    found = estimated(plan, tmp_path, store=tmp_path / "store", machine=ONE_GPU)
    assert found.trials[trial.id].seconds == 9.0
    keep(tmp_path / "store", trial, seconds=12.0, device="NVIDIA A100", gpus=0.25, attempt=2)
    found = estimated(plan, tmp_path, store=tmp_path / "store", machine=ONE_GPU)
    assert found.trials[trial.id].seconds == 12.0


def test_trials_of_other_numbers_of_processes_are_not_alike(plan_with, tmp_path):
    plan = plan_with("base.strategy={name: ddp, processes: 2}", "resources.gpus=0")
    keep(tmp_path / "store", plan.trials[0], seconds=9.0, world_size=1)
    assert estimated(plan, tmp_path, store=tmp_path / "store", machine=ONE_GPU).seconds is None
    keep(tmp_path / "store", plan.trials[0], seconds=7.0, world_size=2, attempt=2)
    found = estimated(plan, tmp_path, store=tmp_path / "store", machine=ONE_GPU)
    assert found.trials[plan.trials[0].id].seconds == 7.0
    assert found.expected.cpu_hours == pytest.approx(6 * 7.0 * 2 / 3600)
    assert found.slots == 4


def test_hours_count_what_each_trial_occupies(plan_with, tmp_path):
    plan = plan_with()
    for trial in plan.trials[:3]:
        keep(tmp_path / "store", trial, seconds=3600.0, memory=20 * GIB, device="NVIDIA A100", gpus=1.0)
    found = estimated(plan, tmp_path, store=tmp_path / "store", machine=ONE_GPU)
    assert found.expected.gpu_hours == pytest.approx(6 * 0.375)
    assert found.slots == 2
    assert found.expected.seconds == pytest.approx(3 * 3600.0 + 12.0)


def test_lengths_are_flops_where_nothing_was_timed_and_seconds_where_something_was(plan_with, tmp_path):
    plan = plan_with("base.data.validation_size=1")
    facts = {"mse": facts_of(10), "l1": facts_of(20)}
    by_variant = {trial.variants[0]: trial.id for trial in plan.trials}
    counted = estimated(plan, tmp_path, facts=facts)
    assert counted.seconds is None
    # 3 epochs of 64 samples, and the forward pass of one
    assert counted.lengths[by_variant["mse"]] == 3 * (64 * 10 + 1)
    assert counted.lengths[by_variant["l1"]] == 3 * (64 * 20 + 1)
    assert by_variant["lab"] not in counted.lengths
    keep(tmp_path / "store", plan.trials[0], seconds=10.0)
    timed = estimated(plan, tmp_path, facts=facts, store=tmp_path / "store")
    assert timed.lengths[by_variant["mse"]] == 10.0
    assert timed.lengths[by_variant["l1"]] == pytest.approx(10.0 * 1281 / 641)


@pytest.mark.parametrize(
    ("overrides", "machine", "said"),
    [
        (
            ["resources.cpus=4"],
            Machine(cpus=2),
            "no room here for 4 CPUs, asked for by mse, l1, lab; there are 2 CPUs, 0 GPUs",
        ),
        ([], ONE_GPU, "l1: up to 90.0 GiB of memory expected in one process, a GPU here has 80.0 GiB"),
        (
            ["resources.gpus=0"],
            ONE_GPU,
            "l1: up to 90.0 GiB of memory expected in one process, there are 64.0 GiB",
        ),
    ],
)
def test_what_the_machine_is_too_small_for_is_said(plan_with, tmp_path, overrides, machine, said):
    facts = {"mse": facts_of(10, memory=GIB), "l1": facts_of(10, memory=90 * GIB)}
    assert said in estimated(plan_with(*overrides), tmp_path, facts=facts, machine=machine).warnings


def test_a_plan_that_fits_is_warned_of_nothing(plan_with, tmp_path):
    assert estimated(plan_with(), tmp_path, facts={"mse": facts_of(10)}, machine=ONE_GPU).warnings == ()


def test_the_printed_plan_says_what_trials_occupy_and_how_they_share_gpus(write_suite, tmp_path):
    store = tmp_path / "store"
    prepared = prepare(write_suite(TINY), store=store, machine=ONE_GPU)
    for trial, memory in zip(prepared.plan.trials[:3], (4 * GIB, 4 * GIB, 20 * GIB), strict=True):
        keep(store, trial, seconds=60.0, memory=memory, device="NVIDIA A100", gpus=1.0)
    console = Console(file=io.StringIO(), width=200)
    print_plan(prepared, prepared.expected, console)
    shown = console.file.getvalue()
    assert "1 CPU and 0.125 GPU" in shown
    assert "1 CPU and 0.375 GPU" in shown
    assert "a GPU here has 85.9 GB" in shown
    assert "2 trials of lab share a GPU; 8 trials of mse, l1 share a GPU" in shown


def test_the_printed_plan_says_once_what_all_trials_occupy(write_suite, tmp_path):
    suite = write_suite(TINY)
    machine = Machine(cpus=8)
    console = Console(file=io.StringIO(), width=200)
    prepared = prepare(suite, store=tmp_path, machine=machine, overrides=["resources.cpus=2"])
    print_plan(prepared, prepared.expected, console)
    assert "each trial: 2 CPUs" in console.file.getvalue()
    plain = Console(file=io.StringIO(), width=200)
    prepared = prepare(suite, store=tmp_path, machine=machine)
    print_plan(prepared, prepared.expected, plain)
    assert "each trial" not in plain.file.getvalue()


def test_a_run_hands_each_trial_what_the_executors_machine_has_for_it(write_suite, tmp_path):
    store = tmp_path / "store"
    prepared = prepare(write_suite(TINY), store=store, machine=ONE_GPU)
    keep(store, prepared.plan.trials[0], seconds=9.0, memory=20 * GIB, device="NVIDIA A100", gpus=1.0)
    first = prepared.plan.trials[0].id
    assert prepared.allotments(ONE_GPU)[first].gpus == 0.375
    smaller = dataclasses.replace(ONE_GPU, gpu_memory_bytes=40 * GIB)
    assert prepared.allotments(smaller)[first].gpus == 0.75
    assert prepared.allotments(ONE_GPU).keys() == {trial.id for trial in prepared.missing}


def test_an_elastic_trial_is_planned_with_the_processes_that_the_machine_has_room_for(plan_with, tmp_path):
    ddp = "base.strategy={name: ddp, processes: 4}"
    elastic = plan_with(ddp, "resources.fewest_processes=1")
    found = estimated(elastic, tmp_path, machine=Machine(cpus=3))
    assert {one.processes for one in found.allotments.values()} == {2}
    assert found.warnings == ()
    assert "no room here for 4 processes of 1 CPU" in estimated(plan_with(ddp), tmp_path).warnings[0]

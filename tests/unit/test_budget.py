"""A budget refuses or trims a plan beforehand, and tells when a run has spent it."""

import threading

import pytest

from harness.allotment import Allotment, Machine
from harness.budget import Budget
from harness.cost.estimate import Estimate, TrialCost, totals
from harness.cost.spending import Meter, apply_budget, watching
from harness.errors import HarnessError
from harness.planning.build import build_plan
from harness.suite import load_suite
from harness.testing.tiny import TINY
from harness.validation import Mistakes, check

HOUR = 3600.0


@pytest.fixture
def plan_with(write_suite):
    """Return a function: budget, seeds, overrides -> plan of three variants."""

    def make(budget, *overrides, seeds=5):
        plan = build_plan(load_suite(write_suite(TINY), seeds=seeds, overrides=overrides))
        return plan.model_copy(update={"budget": None if budget is None else Budget(**budget)})

    return make


def hourly(plan, missing=None, *, slots=1):
    """Return an estimate of an hour a trial, half an hour to two hours."""
    missing = plan.trials if missing is None else missing
    costs = {trial.id: TrialCost(HOUR, HOUR / 2, 2 * HOUR, None, "store") for trial in missing}

    gpus = plan.resources.gpus or 0.0
    machine = Machine(cpus=slots, gpus=slots if gpus else 0)
    one = Allotment(cpus=plan.resources.cpus, gpus=gpus)

    def all_of(seconds):
        return totals([seconds] * len(missing), [one] * len(missing), machine, plan.budget)

    expected, low, high = all_of(HOUR), all_of(HOUR / 2), all_of(2 * HOUR)
    return Estimate(costs, expected, low, high, slots, machine, None, "", {t.id: one for t in missing})


def test_without_a_budget_and_within_it_a_plan_stays_as_it_is(plan_with):
    for budget in (None, {}, {"cpu_hours": 15}, {"trials": 15}, {"hours": 15.1}):
        plan = plan_with(budget)
        assert apply_budget(plan, plan.trials, hourly(plan)) == (plan, ())


@pytest.mark.parametrize(
    ("budget", "overrides", "said"),
    [
        ({"cpu_hours": 10}, (), "15 CPU hours (7.5 to 30) of 10; 3 of 5 seeds would fit: --seeds 3"),
        ({"trials": 8}, (), "15 trials of 8; 2 of 5 seeds would fit: --seeds 2"),
        ({"hours": 6.5}, (), "15 hours (7.5 to 30) of 6.5; 2 of 5 seeds would fit"),
        ({"gpu_hours": 6}, ["resources.gpus=0.5"], "7.5 GPU hours (3.75 to 15) of 6; 4 of 5 seeds would fit"),
        (
            {"money": 7, "price_per_cpu_hour": 0.5, "currency": "EUR"},
            (),
            "7.5 EUR (3.75 to 15) of 7; 4 of 5 seeds would fit",
        ),
        ({"cpu_hours": 2}, (), "15 CPU hours (7.5 to 30) of 2; not even one seed fits: leave out variants"),
        ({"cpu_hours": 10, "trials": 4}, (), "15 trials of 4, 15 CPU hours (7.5 to 30) of 10; 1 of 5 seeds"),
    ],
)
def test_more_than_the_budget_is_refused_with_the_numbers_and_the_way_out(plan_with, budget, overrides, said):
    plan = plan_with(budget, *overrides)
    with pytest.raises(HarnessError) as caught:
        apply_budget(plan, plan.trials, hourly(plan))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trimming_drops_whole_seeds_from_the_end(plan_with):
    plan = plan_with({"cpu_hours": 10, "when_over": "trim"})
    trimmed, notes = apply_budget(plan, plan.trials, hourly(plan))
    assert trimmed.seeds == (0, 1, 2)
    assert trimmed.trials == tuple(trial for trial in plan.trials if trial.seed < 3)
    assert len(trimmed.trials) == 9
    assert notes == ("the budget leaves 3 of 5 seeds; all would take 15 CPU hours (7.5 to 30) of 10",)


def test_trimming_below_three_seeds_says_that_nothing_is_judged(plan_with):
    plan = plan_with({"trials": 8, "when_over": "trim"})
    trimmed, [note] = apply_budget(plan, plan.trials, hourly(plan))
    assert trimmed.seeds == (0, 1)
    assert note.endswith("fewer than 3 seeds are described, not judged")


def test_trimming_keeps_the_folds_of_a_seed_together(plan_with):
    plan = plan_with({"cpu_hours": 13, "when_over": "trim"}, "folds=2")
    trimmed, _ = apply_budget(plan, plan.trials, hourly(plan))
    assert trimmed.seeds == (0, 1)  # 3 variants x 2 folds = 6 hours a seed
    assert len(trimmed.trials) == 12


def test_one_seed_is_never_trimmed_away(plan_with):
    plan = plan_with({"cpu_hours": 2.9, "when_over": "trim"})
    with pytest.raises(HarnessError, match="not even one seed fits"):
        apply_budget(plan, plan.trials, hourly(plan))


def test_trials_of_the_store_cost_nothing(plan_with):
    plan = plan_with({"cpu_hours": 6})
    missing = [trial for trial in plan.trials if trial.seed >= 3]
    assert apply_budget(plan, missing, hourly(plan, missing)) == (plan, ())


def test_what_nothing_is_known_of_cannot_be_checked_and_a_note_says_so(plan_with):
    plan = plan_with({"cpu_hours": 1})
    nothing = Estimate({}, None, None, None, 1, Machine(cpus=1), None, "")
    assert apply_budget(plan, plan.trials, nothing) == (
        plan,
        ("the budget could not be checked beforehand; the run stops when it is spent",),
    )
    counted = plan_with({"trials": 3})
    with pytest.raises(HarnessError, match="15 trials of 3"):
        apply_budget(counted, counted.trials, nothing)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"money": 5}, "money needs a price"),
        ({"price_per_gpu_hour": 2}, "a price needs a `currency`, such as EUR"),
        ({"hours": 0}, "greater than 0"),
        ({"currency": "euro"}, "pattern"),
        ({"gpu_hour": 1}, "did you mean 'gpu_hours'?"),
        ({"when_over": "stop"}, "expected 'refuse' or 'trim'"),
    ],
)
def test_a_budget_that_means_nothing_is_refused(budget, message):
    with pytest.raises(Mistakes, match=message):
        check(Budget, budget)


def test_a_meter_counts_trials_that_run_at_once_by_their_resources():
    now = [100.0]
    budget = Budget(gpu_hours=1, price_per_gpu_hour=3.0, currency="USD")
    meter = Meter(budget, clock=lambda: now[0])
    half = Allotment(cpus=2, gpus=0.5)
    meter.begin("a", half)
    now[0] += HOUR
    meter.begin("b", half)
    now[0] += HOUR / 2
    meter.end("a")  # 1.5 hours
    now[0] += HOUR / 4
    spent = meter.spent()  # and 0.75 hours of b, which still runs
    assert spent.seconds == 1.75 * HOUR
    assert spent.gpu_hours == 2.25 * 0.5
    assert spent.cpu_hours == 2.25 * 2
    assert spent.money == pytest.approx(2.25 * 0.5 * 3.0)
    assert meter.over() == "the budget of 1 GPU hours is spent"
    meter.end("never begun")
    assert meter.spent() == spent


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"hours": 2}, "the budget of 2 hours is spent"),
        ({"cpu_hours": 4}, "the budget of 4 CPU hours is spent"),
        ({"money": 1.5, "price_per_cpu_hour": 0.4, "currency": "EUR"}, "the budget of 1.5 EUR is spent"),
    ],
)
def test_every_limit_is_watched(budget, words):
    now = [0.0]
    meter = Meter(Budget(**budget), clock=lambda: now[0])
    meter.begin("a", Allotment(cpus=2))
    now[0] += 1.8 * HOUR
    assert meter.over() is None
    now[0] += 0.2 * HOUR
    assert meter.over() == words


def test_the_watch_stops_a_run_once_and_leaves_no_thread(monkeypatch):
    monkeypatch.setattr("harness.cost.spending.LOOK_SECONDS", 0.01)
    stopped = threading.Event()
    reasons = []

    def stop(reason):
        reasons.append(reason)
        stopped.set()

    before = threading.active_count()
    meter = Meter(Budget(hours=1e-9))
    with watching(meter, stop):
        assert stopped.wait(5)
    assert len(reasons) == 1
    assert threading.active_count() == before

"""Which waiting trial begins next: judged by the schedules that come of it."""

import heapq
import random
import statistics

import pytest

from harness.execute.order import Candidate, in_order

WITHIN = 1.15  # of LPT; the largest on the 600 random sets of trials below is 1.11


def longest_first(jobs, slots):
    return max(range(len(jobs)), key=lambda index: jobs[index][0])


def ours(jobs, slots):
    return in_order([Candidate(seconds, seed, 1 / slots) for seconds, seed in jobs])[0]


def simulate(jobs, slots, choose):
    """Return when the last trial ends, and the order that trials begin in; `jobs` are (seconds, seed)."""
    waiting, free, order, end = list(jobs), [0.0] * slots, [], 0.0
    while waiting:
        now = heapq.heappop(free)
        job = waiting.pop(choose(waiting, slots))
        order.append(job)
        heapq.heappush(free, now + job[0])
        end = max(end, now + job[0])
    return end, order


def drawn(kind, generator, variants):
    draws = {
        "uniform": lambda: generator.uniform(1, 10),
        "skewed": lambda: generator.lognormvariate(0, 1.2),
        "equal": lambda: 1.0,
    }
    lengths = [draws.get(kind, draws["equal"])() for _ in range(variants)]
    if kind == "one long":
        lengths[-1] = generator.uniform(5, 60)
    return lengths


@pytest.mark.parametrize("slots", [2, 4, 8])
@pytest.mark.parametrize("kind", ["uniform", "skewed", "one long", "equal"])
def test_a_run_ends_about_as_early_as_with_the_longest_first_throughout(kind, slots):
    generator = random.Random(f"{kind} {slots}")
    ratios, in_plan_order = [], []
    for _ in range(50):
        lengths = drawn(kind, generator, generator.randint(3, 20))
        jobs = [(length, seed) for seed in range(generator.choice([1, 3, 5])) for length in lengths]
        best = simulate(jobs, slots, longest_first)[0]
        ratios.append(simulate(jobs, slots, ours)[0] / best)
        in_plan_order.append(simulate(jobs, slots, lambda jobs, slots: 0)[0] / best)
    assert max(ratios) < WITHIN
    assert statistics.fmean(ratios) < 1.02
    assert statistics.fmean(ratios) <= statistics.fmean(in_plan_order)


def test_a_long_trial_at_the_end_of_the_plan_leaves_no_idle_tail():
    jobs = [(1.0, 0)] * 30 + [(30.0, 1)]  # two slots: 30 seconds each, and nothing is lost
    assert simulate(jobs, 2, lambda jobs, slots: 0)[0] == 45.0
    assert simulate(jobs, 2, ours)[0] <= 31.0


def test_several_long_trials_of_the_last_seed_begin_in_time():
    jobs = [(1.0, seed) for seed in range(4) for _ in range(8)] + [(8.0, 4)] * 4
    # 64 seconds of work in four slots
    assert simulate(jobs, 4, ours)[0] <= 17.0


def test_no_run_takes_longer_than_the_bound_for_schedules_without_idle_slots():
    for seed in range(200):
        generator = random.Random(seed)
        slots = generator.randint(1, 6)
        jobs = [(generator.choice([1.0, 1.0, 7.0, 20.0]), generator.randint(0, 3)) for _ in range(25)]
        at_best = max(sum(length for length, _ in jobs) / slots, max(length for length, _ in jobs))
        assert simulate(jobs, slots, ours)[0] <= (2 - 1 / slots) * at_best + 1e-9


def test_seeds_are_done_one_after_the_other_in_the_ordinary_case():
    lengths = [3.0, 4.0, 5.0, 6.0, 3.5]
    jobs = [(length, seed) for seed in range(5) for length in lengths]
    _, order = simulate(jobs, 2, ours)
    assert order[:20] == [(length, seed) for seed in range(4) for length in (6.0, 5.0, 4.0, 3.5, 3.0)]


def test_trials_that_nothing_is_known_of_count_as_the_mean_of_the_others():
    waiting = [Candidate(1.0, 0, 0.01), Candidate(None, 0, 0.01), Candidate(9.0, 0, 0.01)]
    assert in_order(waiting) == [2, 1, 0]


def test_where_nothing_is_known_the_plan_is_kept():
    assert in_order([Candidate(None, seed, 0.5) for seed in (0, 0, 1, 1)]) == [0, 1, 2, 3]
    assert in_order([Candidate(2.0, seed, 0.5) for seed in (0, 0, 1, 1)]) == [0, 1, 2, 3]
    assert in_order([]) == []


def test_a_trial_that_takes_the_whole_machine_weighs_as_much_as_all_that_run_beside_each_other():
    # Eight trials of 1 s share the machine at once; the wide one of the late seed takes all of it for 3 s.
    narrow = [Candidate(1.0, 0, 1 / 8)] * 8
    assert in_order([*narrow, Candidate(3.0, 1, 1.0)])[0] == 0  # 4 s are waiting
    assert in_order([*narrow[:1], Candidate(3.0, 1, 0.5)])[0] == 1  # 1.6 s are waiting

"""Steps and creeps in a series: against brute force, scipy, hand-written series and simulation."""

import numpy as np
import pytest
from scipy import stats

from harness.tracking.history.changes import MIN_CREEP, find_changes
from harness.tracking.history.e_divisive import MIN_SEGMENT, best_split, e_divisive
from tests.support.simulated_series import flat_series, ramp_series, step_series


def energy(x, y):
    """Q of Matteson and James (2014), equations 6 and 7, alpha = 1: written out with loops."""
    m, n = len(x), len(y)
    between = sum(abs(a - b) for a in x for b in y) * 2 / (m * n)
    within = [
        sum(abs(z[i] - z[k]) for i in range(len(z)) for k in range(i + 1, len(z)))
        / (len(z) * (len(z) - 1) / 2)
        for z in (x, y)
    ]
    return m * n / (m + n) * (between - sum(within))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_split_is_that_of_brute_force(seed):
    values = np.random.default_rng(seed).normal(size=17)
    start, stop = 2, 16
    scores = {
        (place, end): energy(values[start:place], values[place:end])
        for place in range(start + MIN_SEGMENT, stop - MIN_SEGMENT + 1)
        for end in range(place + MIN_SEGMENT, stop + 1)
    }
    (place, _), score = max(scores.items(), key=lambda item: item[1])
    assert best_split(values, start, stop) == (place, pytest.approx(score, rel=1e-12))


def test_the_p_of_a_split_is_the_share_of_permutations_that_reach_it():
    values = np.random.default_rng(3).normal(size=12)
    values[6:] += 2.0
    [first] = [split for split in e_divisive(values, level=0.3) if split.at == best_split(values, 0, 12)[0]]
    generator = np.random.default_rng(99)
    observed = best_split(values, 0, 12)[1]
    drawn = [best_split(generator.permutation(values), 0, 12)[1] for _ in range(2000)]
    share = np.mean(np.array(drawn) >= observed)
    assert first.p == pytest.approx(
        share, abs=4 * np.sqrt(share * (1 - share) * (1 / 2000 + 1 / 999)) + 0.001
    )


def test_a_step_has_its_place_its_levels_and_the_pooled_t_interval():
    values = np.random.default_rng(1).normal(size=30)
    values[18:] += 6.0
    [change] = find_changes(values).changes
    assert (change.shape, change.start, change.end) == ("step", 17, 18)
    expected = stats.ttest_ind(values[18:], values[:18]).confidence_interval(0.95)
    assert (change.low, change.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (change.before, change.after) == pytest.approx((values[:18].mean(), values[18:].mean()))
    assert change.size == pytest.approx(change.after - change.before)
    assert change.p == 0.001  # no permutation reaches it: 1 / (999 + 1)


def test_a_change_and_the_change_back_are_both_found():
    values = np.random.default_rng(2).normal(size=36)
    values[12:24] += 5.0
    changes = find_changes(values).changes
    assert [(change.shape, change.end) for change in changes] == [("step", 12), ("step", 24)]
    assert changes[0].size > 0 > changes[1].size


def test_a_creep_is_the_least_squares_ramp():
    values = ramp_series(np.random.default_rng(5), total=8.0, start=6, width=18)
    [change] = find_changes(values).changes
    assert change.shape == "creep"
    fits = {}
    for first in range(30):
        for last in range(first + MIN_CREEP, 30):
            way = np.clip((np.arange(30) - first) / (last - first), 0, 1)
            design = np.column_stack([np.ones(30), way])
            coefficients, squares, *_ = np.linalg.lstsq(design, values, rcond=None)
            fits[first, last] = float(squares[0]), coefficients
    (first, last), (_, (level, size)) = min(fits.items(), key=lambda item: item[1][0])
    assert (change.start, change.end) == (first, last)
    assert (change.before, change.size) == (pytest.approx(level), pytest.approx(size))
    assert change.low < 8.0 < change.high
    assert change.p == pytest.approx(stats.kendalltau(np.arange(30), values).pvalue)


def test_levels_follow_the_changes_and_cover_every_point():
    step = find_changes([0.0, 0.1] * 6 + [5.0, 5.1] * 6)
    assert [(line.start, line.stop) for line in step.levels] == [(0, 12), (12, 24)]
    assert [line.first for line in step.levels] == pytest.approx([0.05, 5.05])
    creep = find_changes(ramp_series(np.random.default_rng(5), total=8.0, start=6, width=18))
    [change] = creep.changes
    assert [(line.start, line.stop) for line in creep.levels] == [
        (0, change.start + 1),
        (change.start, change.end + 1),
        (change.end, 30),
    ]
    assert creep.levels[1].last - creep.levels[1].first == pytest.approx(change.size)


def test_the_same_value_at_every_commit_is_no_change():
    found = find_changes([0.1] * 30)
    assert (found.changes, found.noise) == ((), 0.0)


def test_a_step_without_noise_has_no_interval():
    [change] = find_changes([0.1] * 12 + [0.3] * 9).changes
    assert (change.shape, change.end, change.low, change.high) == ("step", 12, None, None)
    assert change.size == pytest.approx(0.2)


def test_a_ramp_without_noise_is_one_creep():
    [change] = find_changes(np.clip(np.arange(30) - 5.0, 0, 15)).changes
    assert (change.shape, change.start, change.end, change.size) == ("creep", 5, 20, pytest.approx(15.0))


def test_a_change_below_what_is_asked_for_is_none():
    values = step_series(np.random.default_rng(8), size=5.0, at=15)
    assert find_changes(values, at_least=4.0).changes
    assert find_changes(values, at_least=7.0).changes == ()
    assert find_changes(values, at_least=7.0).bound == 7.0


def test_without_a_bound_a_change_below_the_noise_is_none():
    generator = np.random.default_rng(11)
    values = generator.normal(size=200)
    values[100:] += 0.7
    assert e_divisive(values)  # 200 points are enough to be certain of it
    found = find_changes(values)
    assert found.changes == ()
    assert found.bound == pytest.approx(values.std(ddof=1))


@pytest.mark.parametrize(("scale", "shift"), [(1e-4, 0.0), (250.0, -3.0)])
def test_unit_and_origin_do_not_matter(scale, shift):
    values = step_series(np.random.default_rng(4), size=5.0, at=10)
    places = [(change.shape, change.end) for change in find_changes(values).changes]
    assert places
    assert [(change.shape, change.end) for change in find_changes(scale * values + shift).changes] == places


def test_the_same_series_always_gives_the_same_answer():
    values = step_series(np.random.default_rng(4), size=2.0, at=15)
    assert find_changes(values) == find_changes(values.copy())


# Short forms of tests/calibration/test_history_calibration.py, with room for chance.


def test_flat_series_have_at_most_two_in_a_hundred_false_changes():
    generator = np.random.default_rng(21)
    false = sum(bool(find_changes(flat_series(generator)).changes) for _ in range(300))
    assert false <= stats.binom.ppf(0.999, 300, 0.02)


def test_steps_of_four_sigma_are_found_at_their_place():
    generator = np.random.default_rng(22)
    found = 0
    for _ in range(50):
        at = int(generator.integers(5, 26))
        changes = find_changes(step_series(generator, size=4.0, at=at)).changes
        found += any(change.shape == "step" and abs(change.end - at) <= 2 for change in changes)
    assert found >= stats.binom.ppf(0.001, 50, 0.95)


def test_ramps_are_creeps_and_not_steps():
    generator = np.random.default_rng(23)
    shapes = []
    for _ in range(30):
        values = ramp_series(generator, total=6.0, start=int(generator.integers(0, 10)), width=20)
        shapes.append({change.shape for change in find_changes(values).changes})
    assert shapes.count({"creep"}) >= stats.binom.ppf(0.001, 30, 0.9)

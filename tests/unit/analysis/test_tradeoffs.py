"""Trade-offs: standings known beforehand, fronts by brute force, Fieller by inverting the t test."""

from __future__ import annotations

import numpy as np
import pytest
from hand_record import ACCURACY, DELTA_E, HandRecord, build
from scipy import optimize
from scipy import stats as scipy_stats

from harness.analysis.costs import COST_INFOS, compare_cost_pairs, compare_costs, format_cost, mean_costs
from harness.analysis.effects import best_variant
from harness.analysis.tradeoffs import TRADED, Position, TradeOff, fieller, trade_off, trade_offs

NOISE = np.array([-0.2, 0.1, 0.0, 0.2, -0.1])
OTHER = np.array([0.1, -0.2, 0.2, 0.0, -0.1])


def errors(**means: float) -> dict[str, list[float]]:
    """ΔE by variant over five seeds, with noise of its own for every second variant."""
    return {
        name: list(mean + (OTHER if index % 2 else NOISE)) for index, (name, mean) in enumerate(means.items())
    }


def sizes(**parameters: int) -> dict[str, dict[str, list[float]]]:
    return {"parameters": {name: [size] * 5 for name, size in parameters.items()}}


def standings(found: TradeOff) -> dict[str, str]:
    return {one.variant: one.standing for one in found.positions}


def of(found: TradeOff, variant: str) -> Position:
    return next(one for one in found.positions if one.variant == variant)


def four() -> HandRecord:
    """a cheap and bad, b dearer and better, c dearer than b and certainly worse, d much as b but dearer."""
    return build(
        {"delta_e": errors(a=20.0, b=10.0, c=15.0, d=10.02)}, costs=sizes(a=100, b=200, c=300, d=250)
    )


def test_standings_of_an_exact_cost() -> None:
    found = trade_off(four(), "parameters")
    assert standings(found) == {"a": "front", "b": "front", "c": "dominated", "d": "open"}
    assert of(found, "c").dominated_by == ("b", "d")
    assert of(found, "d").behind == ("b",)
    assert of(found, "d").dominated_by == of(found, "a").dominated_by == ()
    assert [one.variant for one in found.front] == ["a", "b"]
    assert found.varies


def test_what_is_better_and_dearer_does_not_dominate() -> None:
    """c is a little behind x, which is cheaper; b is certainly better than c, and dearer."""
    record = build(
        {"delta_e": errors(a=20.0, x=15.0, b=10.0, c=15.01)}, costs=sizes(a=100, x=150, b=300, c=200)
    )
    found = trade_off(record, "parameters")
    assert standings(found) == {"a": "front", "x": "front", "b": "front", "c": "open"}
    assert of(found, "c").behind == ("x",)


def test_of_two_variants_with_one_value_the_cheaper_is_on_the_front() -> None:
    found = build({"delta_e": {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]}}, costs=sizes(a=200, b=100))
    assert standings(trade_off(found, "parameters")) == {"a": "open", "b": "front"}


def test_variants_alike_in_both_are_all_on_the_front() -> None:
    found = build({"delta_e": {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]}}, costs=sizes(a=100, b=100))
    trade = trade_off(found, "parameters")
    assert standings(trade) == {"a": "front", "b": "front"}
    assert not trade.varies


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_that_of_brute_force(seed: int) -> None:
    """Few distinct values of both, so that there are ties."""
    generator = np.random.default_rng(seed)
    names = [f"v{index}" for index in range(7)]
    quality = dict(zip(names, generator.integers(1, 5, 7) / 10, strict=True))
    size = dict(zip(names, generator.integers(1, 5, 7) * 100, strict=True))
    record = build(
        {"colour_accuracy": {name: [quality[name]] * 3 for name in names}},
        infos=[ACCURACY],
        costs={"parameters": {name: [float(size[name])] * 3 for name in names}},
    )
    front = {
        name
        for name in names
        if not any(
            (quality[other] >= quality[name] and size[other] < size[name])
            or (quality[other] > quality[name] and size[other] <= size[name])
            for other in names
        )
    }
    found = trade_off(record, "parameters")
    assert {one.variant for one in found.positions if one.standing == "front"} == front
    expenses = [one.cost.value for one in found.front]
    assert expenses == sorted(expenses)


def timed(**seconds: list[float]) -> HandRecord:
    return build({"delta_e": errors(a=20.0, b=10.0, c=15.0)}, train_seconds=seconds)


def test_a_measured_cost_dominates_unless_it_is_more_by_verdict() -> None:
    same = [10.0, 11.0, 9.5, 10.2, 10.6]
    noisy = [12.0, 9.0, 11.5, 10.4, 9.9]  # 4 % more than 10.3 in the mean, and not by verdict
    dear = [20.0, 22.0, 19.0, 20.4, 21.2]
    cheap = [9.0, 10.0, 8.6, 9.2, 9.5]
    assert standings(trade_off(timed(a=same, b=same, c=dear), "train_seconds"))["c"] == "dominated"
    # b costs more than c by verdict, and a, which costs less, is worse: c is on the front
    assert standings(trade_off(timed(a=same, b=dear, c=cheap), "train_seconds"))["c"] == "front"
    # behind a in neither: b is a little dearer in the mean, so that c is on the front of the means
    assert standings(trade_off(timed(a=dear, b=noisy, c=same), "train_seconds"))["c"] == "front"


def test_more_throughput_is_the_better_side() -> None:
    record = timed(a=[10.0] * 5, b=[10.0, 11.0, 9.5, 10.2, 10.6], c=[20.0, 22.0, 19.0, 20.4, 21.2])
    found = trade_off(record, "images_per_second")
    assert standings(found)["c"] == "dominated"
    assert "b" in [one.variant for one in found.front]


def test_two_seeds_leave_the_ones_behind_open() -> None:
    finals = {"delta_e": {"a": [20.0, 21.0], "b": [10.0, 11.0]}}
    record = build(finals, costs={"parameters": {"a": [200.0] * 2, "b": [100.0] * 2}})
    found = trade_off(record, "parameters")
    assert standings(found) == {"a": "open", "b": "front"}
    assert of(found, "b").price.reason == "no pairs"


def test_a_measured_cost_that_no_two_variants_differ_in_does_not_vary() -> None:
    same, noisy = [10.0, 11.0, 9.5, 10.2, 10.6], [12.0, 9.0, 11.5, 10.4, 9.9]
    assert not trade_off(timed(a=same, b=noisy, c=same), "train_seconds").varies
    assert trade_off(timed(a=same, b=noisy, c=[20.0] * 5), "train_seconds").varies


def test_a_variant_without_values_or_costs_has_no_position() -> None:
    lost = {("b", seed): "failed" for seed in range(10, 15)}
    record = build({"delta_e": errors(a=20.0, b=10.0, c=15.0)}, status=lost, costs=sizes(a=1, b=2, c=3))
    assert [one.variant for one in trade_off(record, "parameters").positions] == ["a", "c"]


def test_costs_that_nobody_recorded_are_left_out() -> None:
    record = build({"delta_e": errors(a=20.0, b=10.0)}, costs=sizes(a=1, b=2))
    found = {one.cost for one in trade_offs(record)}
    assert found == {"parameters", "forward_flops", "train_seconds", "cpu_hours"}
    assert [one.cost for one in trade_offs(record)] == [cost for cost in TRADED if cost in found]


# --- the price of a point


def inverted(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the ratios at which scipy's t test of x - r y has p = 0.05."""

    def excess(ratio: float) -> float:
        return float(scipy_stats.ttest_1samp(x - ratio * y, 0.0).pvalue) - 0.05

    middle = x.mean() / y.mean()
    step = 1e-3 * abs(middle)
    ends = []
    for sign in (-1, 1):
        reach = step
        while excess(middle + sign * reach) > 0:
            reach *= 2
        ends.append(optimize.brentq(excess, middle, middle + sign * reach, xtol=1e-14, rtol=1e-14))
    return ends[0], ends[1]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n", [3, 5, 12])
def test_fieller_is_the_inverted_t_test(seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    y = generator.normal(3.0, 0.4, n)
    x = generator.normal(8.0, 1.0, n) + generator.normal(0, 2) * y
    found = fieller(x, y)
    assert found.value == pytest.approx(x.mean() / y.mean())
    assert (found.low, found.high) == pytest.approx(inverted(x, y), rel=1e-9)


def test_a_numerator_without_noise_gives_the_ends_of_the_improvement_turned_round() -> None:
    y = np.array([2.0, 2.5, 1.8, 2.2, 2.4])
    low, high = scipy_stats.ttest_1samp(y, 0).confidence_interval()
    found = fieller(np.full(5, 100.0), y)
    assert (found.low, found.high) == pytest.approx((100 / high, 100 / low), rel=1e-12)


def test_an_improvement_that_may_be_nothing_has_no_ends() -> None:
    found = fieller([1.0, 1.1, 0.9], [3.0, -1.0, 0.5])
    assert (found.low, found.high) == (None, None)
    assert found.value == pytest.approx(1.0 / (2.5 / 3))


def test_the_same_improvement_in_every_seed_has_no_interval() -> None:
    assert fieller([1.0, 1.1, 0.9], [2.0, 2.0, 2.0]).low is None
    assert fieller([1.0], [2.0]).low is None


def test_folds_widen_the_interval_as_they_widen_that_of_a_difference() -> None:
    """A numerator without noise: the interval is that of the denominator, sqrt(1 / 5 + 1 / 4) wide."""
    y = np.array([2.0, 2.5, 1.8, 2.2, 2.4])
    half = scipy_stats.t.ppf(0.975, 4) * y.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    found = fieller(np.full(5, 100.0), y, folds=5)
    assert (found.low, found.high) == pytest.approx((100 / (y.mean() + half), 100 / (y.mean() - half)))


def test_fieller_holds_the_truth_as_often_as_it_says() -> None:
    """4,000 simulated variants of 5 seeds; bounds of 95 % at 99.9 %. Sets without ends are told by the t test."""
    generator = np.random.default_rng(1)
    count, held = 4000, 0
    for _ in range(count):
        noise = generator.normal(size=(2, 5))
        gain, extra = 3 + noise[0], 4 + 0.6 * noise[0] + noise[1]
        found = fieller(extra, gain)
        if found.low is not None and found.high is not None:
            held += found.low <= 4 / 3 <= found.high
        else:
            held += scipy_stats.ttest_1samp(extra - 4 / 3 * gain, 0).pvalue >= 0.05
    low, high = scipy_stats.binom.interval(0.999, count, 0.95)
    assert low <= held <= high


def test_the_price_of_an_exact_cost() -> None:
    position = of(trade_off(four(), "parameters"), "b")
    improvement = 10.0 + NOISE - OTHER
    low, high = scipy_stats.ttest_1samp(improvement, 0).confidence_interval()
    price = position.price.per_point
    assert price is not None
    assert price.value == pytest.approx(100 / 10)
    assert (price.low, price.high) == pytest.approx((100 / high, 100 / low))


def test_the_price_of_a_measured_cost_is_paired() -> None:
    seconds = {"a": [10.0, 11.0, 9.5, 10.2, 10.6], "b": [20.0, 22.0, 19.0, 20.4, 21.2], "c": [5.0] * 5}
    position = of(trade_off(timed(**seconds), "train_seconds"), "b")
    price = position.price.per_point
    assert price is not None
    expected = inverted(np.subtract(seconds["b"], seconds["a"]), 10.0 + NOISE - OTHER)
    assert (price.low, price.high) == pytest.approx(expected, rel=1e-8)


def test_a_point_of_a_percentage_is_a_percentage_point() -> None:
    record = build(
        {"colour_accuracy": {"a": [0.50, 0.52, 0.51, 0.49], "b": [0.60, 0.63, 0.61, 0.58]}},
        infos=[ACCURACY],
        costs={"parameters": {"a": [100.0] * 4, "b": [150.0] * 4}},
    )
    price = of(trade_off(record, "parameters"), "b").price.per_point
    assert price is not None
    assert price.value == pytest.approx(50 / 10.0)


def test_only_what_is_better_has_a_price() -> None:
    record = build(
        {"delta_e": errors(a=20.0, b=25.0, c=20.01, d=10.0)}, costs=sizes(a=100, b=200, c=300, d=50)
    )
    found = trade_off(record, "parameters")
    reasons = {one.variant: one.price.reason for one in found.positions}
    assert reasons == {"a": "reference", "b": "not better", "c": "not better", "d": None}
    price = of(found, "d").price.per_point
    assert price is not None
    assert price.value == pytest.approx(-50 / 10)  # better and smaller: a point saves five parameters


def test_a_price_needs_seeds_in_which_the_cost_is_known() -> None:
    latency = {"latency_seconds": {"a": [0.1, 0.1, None, None, None], "b": [None, None, 0.2, 0.2, 0.2]}}
    record = build({"delta_e": errors(a=20.0, b=10.0)}, costs=latency)
    assert of(trade_off(record, "latency_seconds"), "b").price.reason == "no cost"


# --- costs


def test_exact_costs_are_compared_without_a_test_and_from_one_pair_on() -> None:
    record = build({"delta_e": {"a": [1.0], "b": [2.0], "c": [3.0]}}, costs=sizes(a=100, b=150, c=100))
    found = {(one.kind, one.of): one for one in compare_costs(record, "parameters")}
    assert found["reference", "b"].ratio == 1.5
    assert found["reference", "b"].verdict == "more"
    assert found["reference", "c"].verdict == "same"
    assert found["previous", "c"].verdict == "less"
    assert {one.p_adjusted for one in found.values()} == {None}
    assert mean_costs(record, "parameters")["b"].value == 150


def test_exact_costs_count_trials_of_every_machine_and_resumed_ones() -> None:
    record = four()
    resumed = record.trials["seed"] == 10
    record.trials = record.trials.assign(
        host=record.trials["host"].mask(record.trials["seed"] > 11, "two"),
        resumed_from=np.where(resumed, 1.0, np.nan),
    )
    assert mean_costs(record, "parameters")["b"].n == 5
    assert mean_costs(record, "train_seconds")["b"].n == 3


def test_a_measured_mean_has_an_interval_on_logarithms() -> None:
    seconds = [10.0, 11.0, 9.5, 10.2, 10.6]
    mean = mean_costs(timed(a=seconds, b=seconds, c=seconds), "train_seconds")["a"]
    low, high = scipy_stats.t.interval(0.95, 4, np.log(seconds).mean(), scipy_stats.sem(np.log(seconds)))
    assert (mean.low, mean.high) == pytest.approx((np.exp(low), np.exp(high)))


def test_pairs_of_costs_are_corrected_as_one_family() -> None:
    generator = np.random.default_rng(0)
    seconds = {
        name: list(np.exp(generator.normal(at, 0.1, 5)))
        for name, at in zip("abc", (0, 0.1, 0.3), strict=True)
    }
    found = compare_cost_pairs(timed(**seconds), "train_seconds")
    assert [(one.of, one.versus) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    logs = {name: np.log(values) for name, values in seconds.items()}
    p = [scipy_stats.ttest_rel(logs[one.of], logs[one.versus]).pvalue for one in found]
    expected = scipy_stats.false_discovery_control(p)
    assert [one.p_adjusted for one in found] == pytest.approx(list(expected))


def test_hours_are_those_of_threads_on_cpu_and_of_gpus_on_gpus() -> None:
    record = build({"delta_e": errors(a=20.0, b=10.0)}, train_seconds={"a": [3600.0] * 5, "b": [1800.0] * 5})
    record.trials = record.trials.assign(threads=4)
    assert mean_costs(record, "cpu_hours")["b"].value == pytest.approx(2.0)
    assert mean_costs(record, "gpu_hours")["b"].value is None
    record.trials = record.trials.assign(device="Some GPU")
    resources = record.plan.resources.model_copy(update={"gpus": 0.5})
    record.plan = record.plan.model_copy(update={"resources": resources})
    assert mean_costs(record, "cpu_hours")["b"].value is None
    assert mean_costs(record, "gpu_hours")["a"].value == pytest.approx(0.5)


def test_hours_count_what_each_trial_was_allotted_over_all_its_processes() -> None:
    record = build({"delta_e": errors(a=20.0, b=10.0)}, train_seconds={"a": [3600.0] * 5, "b": [3600.0] * 5})
    of_b = record.trials["variant"] == "b"
    record.trials = record.trials.assign(threads=4, world_size=of_b.map({True: 2, False: None}))
    assert mean_costs(record, "cpu_hours")["a"].value == pytest.approx(
        4.0
    )  # a record of before has one process
    assert mean_costs(record, "cpu_hours")["b"].value == pytest.approx(8.0)
    record.trials = record.trials.assign(device="Some GPU", gpus=of_b.map({True: 0.25, False: None}))
    assert mean_costs(record, "gpu_hours")["b"].value == pytest.approx(0.25)
    assert mean_costs(record, "gpu_hours")["a"].value is None  # neither its record nor its plan says
    resources = record.plan.resources.model_copy(update={"gpus": 2.0})
    record.plan = record.plan.model_copy(update={"resources": resources})
    assert mean_costs(record, "gpu_hours")["a"].value == pytest.approx(2.0)
    assert mean_costs(record, "gpu_hours")["b"].value == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("cost", "value", "text"),
    [
        ("parameters", 68_148_747, "68.1 M"),
        ("parameters", 999_600, "1000 k"),
        ("parameters", 840, "840"),
        ("parameters", 0, "0"),
        ("parameters", -2_500, "−2.5 k"),
        ("forward_flops", 1.2e9, "1.2 G"),
        ("latency_seconds", 0.001336, "1.34 ms"),
        ("latency_seconds", 0.5, "500 ms"),
        ("train_seconds", 250.0, "4 min 10 s"),
        ("peak_memory_bytes", 512 * 1024**2, "512 MiB"),
        ("cpu_hours", 1.16, "1.16 CPU h"),
        ("cpu_hours", 0.16, "9.60 CPU min"),
        ("gpu_hours", 0.001, "3.60 GPU s"),
        ("images_per_second", 325.4, "325 images/s"),
        ("train_seconds", 0.0, "0 ms"),
    ],
)
def test_costs_are_written_with_their_unit(cost, value, text) -> None:
    assert format_cost(cost, value) == text


def test_every_cost_is_defined_once_under_its_name() -> None:
    assert all(info.name == name for name, info in COST_INFOS.items())
    assert {name for name, info in COST_INFOS.items() if info.direction == "higher"} == {"images_per_second"}
    assert {name for name, info in COST_INFOS.items() if not info.measured} == {
        "parameters",
        "trainable_parameters",
        "forward_flops",
    }
    assert set(TRADED) < set(COST_INFOS)


def test_means_over_easy_seeds_do_not_put_what_is_worse_by_verdict_on_the_front() -> None:
    """b is ahead of a on the seeds of both, at the same cost, and has the worse mean."""
    values = {"c": [12.0, 12.1, 11.8, 16.0, 16.3], "a": [5.0, 5.1, 4.9, None, None]}
    record = build({"delta_e": {**values, "b": [4.0, 4.15, 3.95, 9.0, 9.2]}})
    found = trade_off(record, "parameters")
    assert standings(found) == {"c": "dominated", "a": "dominated", "b": "front"}
    assert (of(found, "a").dominated_by, of(found, "b").behind) == (("b",), ())


def test_the_best_variant_is_always_on_the_front() -> None:
    best = best_variant(four())
    assert best is not None
    assert of(trade_off(four(), "parameters"), best.variant).standing == "front"
    assert DELTA_E.direction == "lower"

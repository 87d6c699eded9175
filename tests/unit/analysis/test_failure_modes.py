"""Failure modes on tables of images whose failures were put there by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hand_record import DELTA_E, PSNR, HandRecord, build
from scipy import stats as scipy_stats

from harness.analysis.failure_modes import FailureModes, Gap, failure_modes, failure_modes_of
from harness.analysis.failure_modes.frequency import order_p
from harness.config import MetricInfo
from harness.errors import HarnessError
from tests.support.agreement import agrees

COLOURS = ("blue", "green", "purple", "red")
BORDER = DELTA_E.model_copy(update={"name": "delta_e_border", "title": "Colour error at the edge"})
INNER = DELTA_E.model_copy(update={"name": "delta_e_inner", "title": "Colour error inside"})
SEEDS = (10, 11, 12, 13, 14)
Fill = Callable[[np.random.Generator, pd.DataFrame], dict[str, Any]]


def table(fill: Fill, *, seeds: int = 5, per_colour: int = 12, seed: int = 0) -> pd.DataFrame:
    """A row an image and trial of the variant mse; `fill` gives further columns from index and colour."""
    rng = np.random.default_rng(seed)
    made = []
    for number in SEEDS[:seeds]:
        index = np.arange(per_colour * len(COLOURS))
        rows = pd.DataFrame({"index": index, "label/colour": [COLOURS[one % 4] for one in index]})
        rows = rows.assign(trial_id=f"mse-{number}", attempt=1)
        made.append(rows.assign(**fill(rng, rows)))
    return pd.concat(made, ignore_index=True)


def record_of(images: pd.DataFrame, infos: tuple[MetricInfo, ...] = (DELTA_E,), **options: Any) -> HandRecord:
    count = images["trial_id"].nunique() if len(images) else 3
    record = build({"delta_e": {"mse": [5.0] * count}}, infos=infos, **options)
    record.image_rows = images
    return record


def modes(images: pd.DataFrame, infos: tuple[MetricInfo, ...] = (DELTA_E,), **options: Any) -> FailureModes:
    return failure_modes(record_of(images, infos, **options), "mse")


def bad_red(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
    return {"delta_e": 8 + 5 * (rows["label/colour"] == "red") + rng.normal(0, 1, len(rows))}


def label(found: FailureModes, name: str) -> Gap:
    return next(gap for gap in found.labels if gap.of == name)


# --- labels


def test_the_worst_label_comes_first_with_its_gap_to_the_others() -> None:
    found = modes(table(bad_red))
    worst = found.labels[0]
    assert (worst.of, worst.versus, worst.verdict) == ("colour=red", "other colours", "worse")
    assert worst.difference == pytest.approx(5, abs=0.4)
    assert worst.improvement == -worst.difference
    assert (worst.n, worst.images, worst.images_versus, len(worst.trials)) == (5, 12, 36, 5)
    assert [gap.improvement for gap in found.labels] == sorted(gap.improvement or 0 for gap in found.labels)
    assert (found.images, found.n, found.note) == (48, 5, "")
    assert worst.sentence.startswith("ΔE 13.")
    assert " on colour red against " in worst.sentence
    assert "5 seeds, 12 images against 36, p < 0.0001 (Holm)" in worst.sentence


def test_both_tests_are_those_of_scipy_and_the_larger_p_counts() -> None:
    images = table(bad_red)
    gap = label(modes(images), "colour=red")
    is_red = images["label/colour"] == "red"
    by_seed = [part.groupby("trial_id")["delta_e"].mean() for part in (images[is_red], images[~is_red])]
    by_image = [part.groupby("index")["delta_e"].mean() for part in (images[is_red], images[~is_red])]
    over_seeds = scipy_stats.ttest_rel(*by_seed).pvalue
    over_images = scipy_stats.ttest_ind(*by_image, equal_var=False).pvalue
    assert (gap.p_seeds, gap.p_images) == agrees((over_seeds, over_images))
    low, high = scipy_stats.ttest_rel(*by_seed).confidence_interval()
    assert (gap.low, gap.high) == agrees((low, high))
    assert gap.p_adjusted == agrees(4 * max(over_seeds, over_images))


def test_one_hard_picture_is_no_failure_of_its_label() -> None:
    def one_hard(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
        return {"delta_e": 8 + 60.0 * (rows["index"] == 3) + rng.normal(0, 0.1, len(rows))}

    gap = label(modes(table(one_hard)), "colour=red")
    assert gap.p_seeds is not None and gap.p_seeds < 1e-6  # every seed says so
    assert gap.verdict == "inconclusive"  # of one image in twelve


def test_one_bad_seed_is_no_failure_of_its_label() -> None:
    def one_seed(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
        bad = (rows["trial_id"] == "mse-10") & (rows["label/colour"] == "red")
        return {"delta_e": 8 + 60.0 * bad + rng.normal(0, 0.1, len(rows))}

    gap = label(modes(table(one_seed)), "colour=red")
    assert gap.p_images is not None and gap.p_images < 1e-6  # every image says so
    assert gap.verdict == "inconclusive"


def test_higher_is_better_turns_the_sign() -> None:
    def psnr(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
        return {"psnr": 20 + 5 * (rows["label/colour"] == "red") + rng.normal(0, 1, len(rows))}

    images = table(psnr)
    record = build({"psnr": {"mse": [20.0] * 5}}, infos=(PSNR,))
    record.image_rows = images
    found = failure_modes(record, "mse")
    assert (found.labels[-1].of, found.labels[-1].verdict) == ("colour=red", "better")


def test_a_margin_makes_small_gaps_equivalent() -> None:
    found = modes(table(bad_red), margins={"delta_e": 8.0})
    assert {gap.verdict for gap in found.labels} == {"equivalent"}


def test_two_seeds_or_two_images_are_described() -> None:
    few = label(modes(table(bad_red, seeds=2)), "colour=red")
    assert (few.verdict, few.p_seeds, few.p_adjusted) == ("described", None, None)
    assert few.difference == pytest.approx(5, abs=1)
    rare = label(modes(table(bad_red, per_colour=2)), "colour=red")
    assert (rare.verdict, rare.p_images, rare.images) == ("described", None, 2)


def test_equal_labels_are_called_different_in_at_most_five_percent() -> None:
    wrong, rounds = 0, 40
    for seed in range(rounds):
        shift = np.random.default_rng(1000 + seed).normal(0, 1, 24)  # how hard each image is, in all seeds
        images = table(
            lambda rng, rows, shift=shift: {"delta_e": 8 + shift + rng.normal(0, 0.3, len(rows))},
            per_colour=6,
            seed=seed,
        )
        wrong += any(gap.verdict in ("better", "worse") for gap in modes(images).labels)
    assert wrong <= scipy_stats.binom.ppf(0.999, rounds, 0.05)


# --- confusion


def confused(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
    """Half of the purple is shown as blue, one green in twelve as brown, of one red nothing is known."""
    shown = rows["label/colour"].astype(object).to_numpy(copy=True)
    purple = np.flatnonzero(shown == "purple")
    shown[purple[:6]] = "blue"
    shown[np.flatnonzero(shown == "green")[0]] = "brown"
    shown[np.flatnonzero(shown == "red")[0]] = None
    return {"delta_e": rng.normal(8, 1, len(rows)), "found/colour": shown}


def test_confusions_are_counted_over_seeds() -> None:
    (found,) = modes(table(confused)).confusions
    assert found.labels == COLOURS
    assert found.found == (*COLOURS, "brown")
    assert found.counts == {
        "blue": {"blue": 60},
        "green": {"green": 55, "brown": 5},
        "purple": {"blue": 30, "purple": 30},
        "red": {"red": 55},
    }
    assert found.shares["purple"] == {"blue": 0.5, "purple": 0.5}
    assert found.undefined == {"blue": 0, "green": 0, "purple": 0, "red": 5}
    assert found.right == agrees(40 / 47)
    assert (found.n, found.images, found.right_low) == (5, 47, None)  # all seeds alike: no interval
    first, second = found.pairs
    assert (first.label, first.found, first.count, first.of, first.share) == ("purple", "blue", 30, 60, 0.5)
    assert (second.label, second.found, second.count) == ("green", "brown", 5)
    assert first.sentence == "purple is shown as blue in 30 of 60 images: 50%, 5 seeds"


def test_the_share_of_a_confused_pair_has_an_interval_over_seeds() -> None:
    def some(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
        shown = rows["label/colour"].astype(object).to_numpy(copy=True)
        shown[np.flatnonzero(shown == "purple")[: SEEDS.index(int(rows["trial_id"][0][4:]))]] = "blue"
        return {"delta_e": rng.normal(8, 1, len(rows)), "found/colour": shown}

    (pair,) = modes(table(some)).confusions[0].pairs
    shares = np.arange(5) / 12
    low, high = scipy_stats.t.interval(0.95, 4, shares.mean(), scipy_stats.sem(shares))
    assert (pair.share, pair.low, pair.high) == agrees((shares.mean(), max(low, 0), high))


def test_without_found_columns_there_is_no_confusion() -> None:
    assert modes(table(bad_red)).confusions == ()


# --- regions


def test_metrics_that_come_in_pairs_are_compared_on_the_images_that_have_both() -> None:
    def edges(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
        inner = rng.normal(8, 2, len(rows))
        border = inner + 1 + rng.normal(0, 0.2, len(rows))
        border[::2] = np.nan  # these are cut by no edge
        inner[::2] += 100
        return {"delta_e": inner, "delta_e_inner": inner, "delta_e_border": border}

    (gap,) = modes(table(edges), (DELTA_E, BORDER, INNER)).regions
    assert (gap.metric, gap.metric_versus) == ("delta_e_border", "delta_e_inner")
    assert (gap.of, gap.verdict, gap.images) == ("near the image edge", "worse", 24)
    assert gap.difference == pytest.approx(1, abs=0.05)
    assert gap.mean_versus == pytest.approx(8, abs=0.5)
    assert "ΔE 9" in gap.sentence and " near the image edge against " in gap.sentence


def test_of_two_labels_the_rarer_is_compared_with_the_other() -> None:
    def overlaps(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
        over = np.asarray(rows["index"] % 3 == 0)
        labels = np.where(over, "overlapping", "alone")
        return {"delta_e": 8 + 3 * over + rng.normal(0, 0.5, len(rows)), "label/overlap": labels}

    found = modes(table(overlaps))
    (gap,) = found.regions
    assert (gap.of, gap.versus, gap.kind) == ("overlap=overlapping", "overlap=alone", "overlap")
    assert (gap.verdict, gap.images, gap.images_versus) == ("worse", 16, 32)
    assert {one.kind for one in found.labels} == {"colour"}


# --- rare and frequent


COUNTS = dict(zip(COLOURS, (400, 300, 250, 50), strict=True))


def with_counts(record: HandRecord, counts: dict[str, int]) -> HandRecord:
    row = record.metrics.iloc[0].to_dict() | {"split": "train", "metric": "samples", "epoch": 2}
    told = [
        row | {"trial_id": trial, "label": f"colour={name}", "value": float(count), "count": count}
        for trial in record.trials["trial_id"]
        for name, count in counts.items()
    ]
    record.metrics = pd.concat([record.metrics, pd.DataFrame(told)], ignore_index=True)
    return record


def by_frequency(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, Any]:
    seen = rows["label/colour"].map(COUNTS)
    return {"delta_e": 12 - seen / 100 + rng.normal(0, 0.2, len(rows))}


def test_frequencies_are_those_of_training() -> None:
    found = failure_modes(with_counts(record_of(table(by_frequency)), COUNTS), "mse")
    (one,) = found.frequencies
    assert (one.kind, one.source, one.counts) == ("colour", "training", COUNTS)
    assert one.correlation == 1.0
    assert one.p_labels == agrees(2 / 24)  # four labels have 24 orders
    assert one.verdict == "inconclusive"  # which no number of seeds can mend
    assert one.rare is not None and one.rare.of == "rare colours (red)"  # below 125, half of an equal share
    assert one.rare.verdict == "worse"
    assert "blue 400 to red 50 training images" in one.sentence


def test_without_them_the_validation_images_are_counted() -> None:
    images = table(by_frequency)
    images = images[(images["label/colour"] != "red") | (images["index"] < 16)]
    (one,) = modes(images).frequencies
    assert (one.source, one.counts) == ("validation", {"blue": 12, "green": 12, "purple": 12, "red": 4})


def test_labels_that_are_all_as_frequent_say_nothing_of_frequency() -> None:
    assert modes(table(by_frequency)).frequencies == ()


def test_the_order_of_many_labels_is_tested_by_drawn_orders() -> None:
    counts = np.arange(12.0)
    assert order_p(counts, counts) == agrees(1 / 10_000)
    rng = np.random.default_rng(0)
    p_values = [order_p(counts, rng.normal(size=12)) for _ in range(200)]
    reference = [0.05, 0.95]
    assert np.quantile(p_values, reference) == pytest.approx(reference, abs=0.05)


def test_six_labels_are_tested_by_all_orders_as_scipy_does() -> None:
    counts, means = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 1, 4, 3, 6, 5])

    def statistic(one: np.ndarray) -> float:
        return float(scipy_stats.spearmanr(one, means).statistic)

    exact = scipy_stats.permutation_test(
        (counts,), statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert order_p(counts, means) == agrees(exact.pvalue)


# --- what may be absent


def test_an_old_store_without_tables_has_no_findings_and_says_so() -> None:
    found = modes(pd.DataFrame())
    assert (found.labels, found.confusions, found.regions, found.frequencies) == ((), (), (), ())
    assert found.note.startswith("no table of validation images")


def test_trials_that_are_not_whole_do_not_count() -> None:
    record = record_of(table(bad_red), status={("mse", 11): "failed"})
    found = failure_modes(record, "mse")
    assert (found.n, found.trials) == (4, ("mse-10", "mse-12", "mse-13", "mse-14"))


def test_values_that_are_not_defined_are_left_out() -> None:
    images = table(bad_red)
    images.loc[images["index"] == 3, "delta_e"] = np.nan
    gap = label(modes(images), "colour=red")
    assert (gap.images, gap.images_versus) == (11, 36)
    assert gap.mean_of == pytest.approx(13, abs=0.4)


def test_folds_have_images_of_their_own() -> None:
    images = table(bad_red, seeds=3)
    folds = {f"mse-{seed}": index for index, seed in enumerate(SEEDS[:3])}
    images["index"] += 100 * images["trial_id"].map(folds)
    images["trial_id"] = "mse-10-" + images["trial_id"].map(folds).astype(str)
    record = build({"delta_e": {"mse": [5.0] * 3}}, folds=3)
    record.image_rows = images
    found = failure_modes(record, "mse")
    assert (found.images, found.n, found.labels[0].of) == (144, 3, "colour=red")
    assert found.labels[0].verdict == "worse"
    assert found.labels[0].images == 36


def test_several_variants_are_told_apart() -> None:
    record = build({"delta_e": {"mse": [5.0] * 3, "lab": [4.0] * 3}})
    images = table(bad_red, seeds=3)
    other = images.assign(trial_id=images["trial_id"].str.replace("mse", "lab"), delta_e=1.0)
    record.image_rows = pd.concat([images, other], ignore_index=True)
    found = failure_modes_of(record, ["lab", "mse"])
    assert found["lab"].labels[0].mean_of == 1.0
    assert found["mse"] == failure_modes(record, "mse")


def test_a_metric_that_nobody_records_is_refused() -> None:
    with pytest.raises(HarnessError, match="no metric 'delta_f'"):
        failure_modes(record_of(table(bad_red)), "mse", "delta_f")

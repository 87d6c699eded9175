"""Which values enter analysis, and how what is absent is said."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hand_record import ACCURACY, DELTA_E, LPIPS_RAND, PSNR, HandRecord, build

from harness.analysis.costs import cost_values
from harness.analysis.dynamics import describe_dynamics
from harness.analysis.values import (
    Absence,
    Missing,
    Replicate,
    absences,
    by_label,
    final_values,
    missing,
    replicate_table,
    resolve_metric,
    whole_trials,
)
from harness.errors import HarnessError

THREE = {"mse": [20.0, 21.0, 22.0], "lab": [8.0, 9.0, 10.0]}


def test_the_value_is_that_of_the_last_epoch() -> None:
    found = final_values(build({"delta_e": THREE}), "delta_e")
    assert list(found.itertuples(index=False, name=None)) == [
        ("mse", 10, None, "mse-10", 2, 20.0),
        ("mse", 11, None, "mse-11", 2, 21.0),
        ("mse", 12, None, "mse-12", 2, 22.0),
        ("lab", 10, None, "lab-10", 2, 8.0),
        ("lab", 11, None, "lab-11", 2, 9.0),
        ("lab", 12, None, "lab-12", 2, 10.0),
    ]


def test_an_earlier_epoch_never_stands_in_for_the_last() -> None:
    record = build({"delta_e": THREE})
    last = (record.metrics["trial_id"] == "lab-11") & (record.metrics["epoch"] == 2)
    record.metrics = record.metrics[~last]
    found = final_values(record, "delta_e")
    assert list(found.loc[found["variant"] == "lab", "seed"]) == [10, 12]
    assert missing(record) == [Missing("lab", 11, None, "lab-11", "delta_e", "no value at the last epoch")]


@pytest.mark.parametrize("status", ["failed", "interrupted", "running", "lost", "absent"])
def test_only_complete_trials_count(status: str) -> None:
    record = build({"delta_e": THREE}, status={("mse", 11): status})
    found = final_values(record, "delta_e")
    assert list(found.loc[found["variant"] == "mse", "seed"]) == [10, 12]
    reason = {"failed": "failed: ValueError", "absent": "not run"}.get(status, status)
    assert missing(record) == [Missing("mse", 11, None, "mse-11", None, reason)]


@pytest.mark.parametrize("status", ["frozen", "stopped by a rule to come"])
def test_a_status_that_is_not_known_leaves_the_trial_out_and_is_named(status: str) -> None:
    record = build({"delta_e": THREE}, status={("mse", 11): status})
    assert list(final_values(record, "delta_e")["seed"]) == [10, 12, 10, 11, 12]
    assert [item.reason for item in missing(record)] == [status]


def test_a_pruned_trial_is_left_out_and_says_where_it_ended() -> None:
    record = build({"delta_e": THREE}, status={("mse", 11): "pruned"})
    record.trials.loc[record.trials["trial_id"] == "mse-11", "epochs_done"] = 4
    assert list(final_values(record, "delta_e")["seed"]) == [10, 12, 10, 11, 12]
    assert [item.reason for item in missing(record)] == ["pruned at epoch 4"]


def planned_for(record: HandRecord, **train: int | None) -> HandRecord:
    trials = [trial.model_copy(update={"spec": {"train": train}}) for trial in record.plan.trials]
    record.plan = record.plan.model_copy(update={"trials": tuple(trials)})
    return record


def test_a_trial_cut_short_never_counts_as_whole() -> None:
    record = planned_for(build({"delta_e": THREE}), epochs=10, early_stopping=None)
    record.trials.loc[record.trials["trial_id"] != "lab-11", "epochs_done"] = 10
    record.metrics.loc[record.metrics["trial_id"] != "lab-11", "epoch"] += 8
    assert list(final_values(record, "delta_e")["trial_id"]) == [
        "mse-10",
        "mse-11",
        "mse-12",
        "lab-10",
        "lab-12",
    ]
    assert missing(record) == [Missing("lab", 11, None, "lab-11", None, "cut short: 2 of 10 epochs")]
    assert [trial for trial in whole_trials(record)["trial_id"] if "11" in trial] == ["mse-11"]
    assert len(cost_values(record, "train_seconds")) == 5
    (mse, lab) = describe_dynamics(record)
    assert (mse.n, lab.n) == (3, 2)


def test_a_trial_that_stopped_early_as_configured_is_whole() -> None:
    record = planned_for(build({"delta_e": THREE}), epochs=10, early_stopping=3)
    assert missing(record) == []
    assert len(final_values(record, "delta_e")) == 6


def test_what_is_missing_for_one_reason_stands_together() -> None:
    finals = {
        "delta_e": {"mse": [1.0, math.nan, 3.0, 4.0], "lab": [1.0, 2.0, 3.0, 4.0]},
        "psnr": {"mse": [1.0, math.nan, 3.0, None], "lab": [None] * 4},
    }
    record = build(finals, infos=[DELTA_E, PSNR], status={("lab", 10): "lost", ("lab", 12): "lost"})
    seeds = [Replicate(seed) for seed in (10, 11, 12, 13)]
    assert absences(record) == [
        Absence("mse", (seeds[1],), ("delta_e", "psnr"), "the value is nan"),
        Absence("mse", (seeds[3],), ("psnr",), "no value at the last epoch"),
        Absence("lab", (seeds[0], seeds[2]), (), "lost"),
        Absence("lab", (seeds[1], seeds[3]), ("psnr",), "no value at the last epoch"),
    ]


def test_nothing_is_missing_from_a_whole_run() -> None:
    assert missing(build({"delta_e": THREE})) == []


def test_another_attempt_of_a_trial_is_not_mixed_in() -> None:
    record = build({"delta_e": THREE})
    record.metrics = pd.concat([record.metrics, record.metrics.assign(attempt=2, value=-1.0)])
    assert final_values(record, "delta_e")["value"].min() == 8.0


def test_an_infinite_value_is_left_out_and_said() -> None:
    record = build({"psnr": {"mse": [30.0, math.inf, 31.0], "lab": [30.0, math.nan, 31.0]}}, infos=[PSNR])
    assert list(final_values(record, "psnr")["seed"]) == [10, 12, 10, 12]
    assert [(item.variant, item.reason) for item in missing(record)] == [
        ("mse", "the value is inf"),
        ("lab", "the value is nan"),
    ]


def test_a_metric_that_one_variant_lacks_is_said() -> None:
    record = build(
        {"delta_e": THREE, "psnr": {"mse": [30.0, 31.0, 32.0], "lab": [None, None, None]}},
        infos=[DELTA_E, PSNR],
    )
    assert {(item.variant, item.metric) for item in missing(record)} == {("lab", "psnr")}
    assert len(missing(record)) == 3


def test_a_shared_trial_stands_under_each_of_its_variants() -> None:
    finals = {"delta_e": {**THREE, "same": [None] * 3}}
    record = build(finals, shared={"same": "mse"})
    found = final_values(record, "delta_e")
    assert list(found.loc[found["variant"] == "same", "value"]) == [20.0, 21.0, 22.0]
    assert set(found.loc[found["variant"] == "same", "trial_id"]) == {"mse-10", "mse-11", "mse-12"}


def test_pairs_keep_the_seeds_that_both_have() -> None:
    finals = {"delta_e": {"mse": [20.0, None, 22.0, 23.0], "lab": [8.0, 9.0, None, 11.0]}}
    pair = replicate_table(build(finals), "delta_e").pair("lab", "mse")
    assert pair.replicates == ((10, None), (13, None))
    assert (list(pair.a), list(pair.b)) == ([8.0, 11.0], [20.0, 23.0])
    assert pair.trials == ("lab-10", "lab-13", "mse-10", "mse-13")


def test_the_order_of_rows_in_the_store_does_not_matter() -> None:
    record, shuffled = build({"delta_e": THREE}), build({"delta_e": THREE})
    shuffled.metrics = shuffled.metrics.sample(frac=1, random_state=1)
    shuffled.trials = shuffled.trials.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(final_values(record, "delta_e"), final_values(shuffled, "delta_e"))


def test_parts_and_the_whole_are_not_mixed() -> None:
    record = build(
        {"delta_e": THREE, "delta_e@colour=red": {"mse": [1.0, 2.0, 3.0], "lab": [4.0, 5.0, None]}}
    )
    assert list(final_values(record, "delta_e")["value"]) == [20.0, 21.0, 22.0, 8.0, 9.0, 10.0]
    assert list(final_values(record, "delta_e", label="colour=red")["value"]) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_means_by_label() -> None:
    record = build(
        {
            "delta_e": THREE,
            "delta_e@colour=red": {"mse": [1.0, 2.0, 3.0], "lab": [4.0, 5.0, None]},
            "delta_e@colour=blue": {"mse": [6.0, 6.0, 6.0], "lab": [7.0, 9.0, 8.0]},
            "delta_e@shape=star": {"mse": [0.0, 0.0, 0.0], "lab": [0.0, 0.0, 0.0]},
        }
    )
    assert list(by_label(record, "delta_e").itertuples(index=False, name=None)) == [
        ("mse", "blue", 6.0, 3),
        ("mse", "red", 2.0, 3),
        ("lab", "blue", 8.0, 3),
        ("lab", "red", 4.5, 2),
    ]
    assert list(by_label(record, "delta_e", "shape")["label"]) == ["star", "star"]
    assert by_label(record, "delta_e", "size").empty


def test_a_metric_is_found_under_the_name_of_its_stand_in() -> None:
    plan = build({"lpips_rand": THREE}, infos=[LPIPS_RAND, ACCURACY]).plan
    assert resolve_metric(plan, "lpips") == resolve_metric(plan, "lpips_rand") == "lpips_rand"
    with pytest.raises(HarnessError, match="no metric 'colour_acuracy'; did you mean 'colour_accuracy'"):
        resolve_metric(plan, "colour_acuracy")


def test_a_run_without_any_result_is_all_missing() -> None:
    record = build({"delta_e": THREE})
    record.trials, record.metrics = record.trials[:0], record.metrics[:0]
    assert final_values(record, "delta_e").empty
    assert {item.reason for item in missing(record)} == {"not run"}
    assert len(missing(record)) == 6

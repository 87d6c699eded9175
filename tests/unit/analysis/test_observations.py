"""Generated sentences, costs, and what analysis needs to run."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from hand_record import ACCURACY, DELTA_E, SHARPNESS, HandRecord, build, curves
from scipy import stats as scipy_stats

from harness.analysis.costs import compare_costs, cost_values, mean_costs
from harness.analysis.effects import compare_all
from harness.analysis.observations import all_observations, observations
from harness.analysis.values import missing

MSE = [21.0, 22.5, 20.0, 23.0, 21.5]
SSIM = [21.2, 22.4, 20.1, 23.2, 21.3]
LAB = [11.1, 12.2, 10.3, 12.9, 11.5]
SECONDS = {"mse": [38.0, 39, 38, 37, 40], "ssim": [39.0, 38, 39, 38, 40], "lab": [76.0, 79, 75, 75, 80]}


def record(**rest: object) -> HandRecord:
    return build(
        {
            "delta_e": {"mse": MSE, "ssim": SSIM, "lab": LAB},
            "edge_sharpness": {"mse": [0.8] * 5, "ssim": [0.81] * 5, "lab": [0.8, 0.84, 0.78, 0.86, 0.8]},
        },
        infos=[DELTA_E, SHARPNESS],
        train_seconds=SECONDS,
        **rest,  # type: ignore[arg-type]
    )


def sentences(found: HandRecord, variant: str, theme: str) -> list[str]:
    return [one.sentence for one in observations(found, variant) if one.theme == theme]


def test_a_verdict_is_said_with_its_numbers() -> None:
    assert sentences(record(), "lab", "colour") == [
        "ΔE 11.6, better than SSIM by 10.0 [9.8, 10.3] (p < 0.0001).",
        "ΔE 11.6, better than MSE by 10.0 [9.7, 10.3] (p < 0.0001).",
    ]


def test_worse_turns_the_interval_the_same_way() -> None:
    found = build({"delta_e": {"lab": LAB, "mse": MSE}})
    assert sentences(found, "mse", "colour") == ["ΔE 21.6, worse than LAB by 10.0 [9.7, 10.3] (p < 0.0001)."]


def test_nothing_found_says_what_could_have_been() -> None:
    # Differences 0.2, -0.1, 0.1, 0.2, -0.2: mean 0.04, sd 0.182; the family has two comparisons.
    assert sentences(record(), "ssim", "colour") == [
        "ΔE: inconclusive against MSE (0.0 [−0.2, +0.3]; could have seen 0.4)."
    ]


def test_the_same_difference_in_every_seed_is_said_as_such() -> None:
    assert sentences(record(), "ssim", "structure") == [
        "Edge sharpness: inconclusive against MSE (+0.01 in every seed, p = 0.12)."
    ]


def test_equivalence_names_its_margin() -> None:
    found = sentences(record(margins={"delta_e": 1.0}), "ssim", "colour")
    assert found == ["ΔE 21.6, equivalent to MSE within 1.0 (0.0 [−0.2, +0.3], p = 0.0003)."]


def test_two_seeds_are_described() -> None:
    found = build({"delta_e": {"mse": [20.0, 21.0], "lab": [10.0, 11.0]}})
    assert sentences(found, "lab", "colour") == [
        "ΔE 10.5, −10.0 against MSE: 2 paired seeds, described and not judged."
    ]


def test_the_reference_is_described_by_its_interval() -> None:
    assert sentences(record(), "mse", "colour") == ["ΔE 21.6 [20.1, 23.1], 5 seeds."]
    single = build({"colour_accuracy": {"mse": [0.5], "lab": [0.9]}}, infos=[ACCURACY])
    assert sentences(single, "mse", "colour") == ["Right colour 50%, 1 seed."]


def test_variants_that_share_their_trials_are_called_the_same() -> None:
    found = build({"delta_e": {"mse": MSE, "same": [None] * 5}}, shared={"same": "mse"})
    assert sentences(found, "same", "colour") == ["ΔE 21.6: the same trials as MSE."]


def test_every_observation_links_to_its_trials() -> None:
    found = all_observations(record())
    assert list(found) == ["mse", "ssim", "lab"]
    assert all(one.trials for seen in found.values() for one in seen)
    first = found["lab"][0]
    assert first.comparison is not None and first.trials == first.comparison.trials


def test_a_variant_without_results_has_no_observations() -> None:
    lost = {("lab", seed): "lost" for seed in range(10, 15)}
    assert observations(record(status=lost), "lab") == []


def test_convergence_is_said_in_the_metrics_own_direction() -> None:
    # Late changes -1.8, -2.0, -2.4: mean -2.07, half width 4.303 * 0.306 / sqrt(3) = 0.759.
    falling = [list(30 - step * np.arange(8.0)) for step in (0.9, 1.0, 1.2)]
    assert sentences(curves({"mse": falling}), "mse", "convergence") == [
        "Still improving at the end: ΔE −2.1 [−2.8, −1.3] over the last quarter (p = 0.007), "
        "best at epoch 8 of 8."
    ]


def test_cost_ratios_are_geometric_and_paired() -> None:
    found = next(
        one for one in compare_costs(record(), "train_seconds") if (one.of, one.kind) == ("lab", "reference")
    )
    logarithms = np.log(SECONDS["lab"]) - np.log(SECONDS["mse"])
    reference = scipy_stats.ttest_1samp(logarithms, 0)
    assert found.ratio == pytest.approx(np.exp(logarithms.mean()))
    assert (found.low, found.high) == pytest.approx(tuple(np.exp(reference.confidence_interval())), rel=1e-9)
    assert found.verdict == "more"
    assert sentences(record(), "lab", "performance")[1] == (
        "Training time 77 s, 2.01 [1.98, 2.03] times that of MSE (p < 0.0001)."
    )


def test_two_seeds_give_a_ratio_without_verdict() -> None:
    found = build(
        {"delta_e": {"mse": [20.0, 21.0], "lab": [10.0, 11.0]}},
        train_seconds={"mse": [10.0, 11.0], "lab": [20.0, 22.0]},
    )
    assert {one.verdict for one in compare_costs(found, "train_seconds")} == {"described"}
    assert sentences(found, "lab", "performance")[0] == (
        "Training time 21 s, 2.00 times that of MSE: 2 paired seeds, described and not judged."
    )


def test_costs_are_compared_between_whole_trials_of_one_machine() -> None:
    found = record()
    elsewhere, resumed = found.trials["trial_id"] == "mse-10", found.trials["trial_id"] == "mse-11"
    found.trials = found.trials.assign(
        host=found.trials["host"].mask(elsewhere, "two"),
        resumed_from=pd.Series(np.nan).reindex(resumed.index).mask(resumed, 1),
    )
    kept = cost_values(found, "train_seconds")
    assert list(kept.loc[kept["variant"] == "mse", "seed"]) == [12, 13, 14]
    assert mean_costs(found, "train_seconds")["mse"].value == pytest.approx((38 * 37 * 40) ** (1 / 3))


def test_costs_without_any_complete_trial() -> None:
    found = record()
    found.trials = found.trials.assign(status="running")
    assert mean_costs(found, "train_seconds")["mse"].value is None
    assert {one.n for one in compare_costs(found, "images_per_second")} == {0}


def test_analysis_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys, pkgutil, importlib, harness.analysis as package\n"
        "names = [found.name for found in pkgutil.iter_modules(package.__path__)]\n"
        "assert {'stats', 'effects', 'claims', 'observations'} <= set(names)\n"
        "[importlib.import_module(f'harness.analysis.{name}') for name in names]\n"
        "heavy = {'torch', 'ray', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("variants", "seeds"), [(100, 10), (20, 50)])
def test_a_thousand_trials_are_answered_quickly(variants: int, seeds: int) -> None:
    rng = np.random.default_rng(0)
    found = build({"delta_e": {f"v{index}": list(rng.normal(20, 1, seeds)) for index in range(variants)}})
    started = time.process_time()
    assert len(compare_all(found, "delta_e")) == 2 * (variants - 1)
    assert missing(found) == []
    assert time.process_time() - started < 2, "about 0.15 s on the machine where this was written"

"""Per-image intervals against scipy, and what they are taken over."""

from __future__ import annotations

import numpy as np
import pytest
from hand_record import ACCURACY, DELTA_E, HandRecord, build
from scipy import stats as scipy_stats

from harness.analysis.precision import image_precision
from harness.errors import HarnessError


def record(sd: dict[str, float | None], count: dict[str, int]) -> HandRecord:
    """Two variants of two seeds; spread and count by trial, at the last of two epochs."""
    found = build(
        {
            "delta_e": {"a": [20.0, 21.0], "b": [10.0, 11.0]},
            "colour_accuracy": {"a": [0.5] * 2, "b": [0.6] * 2},
        },
        infos=[DELTA_E, ACCURACY],
    )
    last = found.metrics["epoch"] == 2
    found.metrics = found.metrics.assign(
        sd=found.metrics["trial_id"].map(sd).where(last, 99.0),
        count=found.metrics["trial_id"].map(count).where(last, 3),
    )
    return found


SD = {"a-10": 2.0, "a-11": 4.0, "b-10": 3.0, "b-11": None}
COUNT = {"a-10": 16, "a-11": 9, "b-10": 16, "b-11": 16}


def half_width(sd: float, count: int) -> float:
    """From scipy's interval of a sample with just this mean and spread."""
    sample = np.linspace(-1, 1, count)
    sample *= sd / sample.std(ddof=1)
    return float(scipy_stats.ttest_1samp(sample, 0).confidence_interval().high)


def test_the_half_width_is_that_of_the_t_interval_of_one_trial_averaged_over_trials() -> None:
    a, b = image_precision(record(SD, COUNT), "delta_e")
    assert a.half_width == pytest.approx((half_width(2.0, 16) + half_width(4.0, 9)) / 2)
    assert (a.images, a.sd, a.trials) == ((9, 16), 3.0, ("a-10", "a-11"))
    assert b.half_width == pytest.approx(half_width(3.0, 16))


def test_a_trial_without_a_spread_is_not_among_the_trials() -> None:
    _, b = image_precision(record(SD, COUNT), "delta_e")
    assert b.trials == ("b-10",)
    assert b.images == (16, 16)


def test_a_store_of_before_has_no_per_image_intervals() -> None:
    for found in image_precision(record(dict.fromkeys(SD), COUNT), "delta_e"):
        assert (found.half_width, found.images, found.sd, found.trials) == (None, None, None, ())


def test_an_unknown_metric_is_refused_by_name() -> None:
    with pytest.raises(HarnessError, match="records no metric 'delta_f'"):
        image_precision(record(SD, COUNT), "delta_f")

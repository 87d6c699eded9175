"""How numbers are written."""

from __future__ import annotations

import pytest
from hand_record import ACCURACY, DELTA_E, PSNR, SHARPNESS

from harness.analysis.values import Replicate
from harness.analysis.wording import (
    format_difference,
    format_duration,
    format_effect,
    format_half_width,
    format_interval,
    format_number,
    format_p,
    format_replicates,
    format_seeds,
    format_significant,
    format_value,
    metric_name,
)


def test_values_carry_decimals_percent_and_unit() -> None:
    assert format_value(DELTA_E, 8.649) == "8.6"
    assert format_value(PSNR, 22.0) == "22.0 dB"
    assert format_number(PSNR, 22.0) == "22.0"
    assert format_value(ACCURACY, 0.524) == "52%"
    assert format_value(DELTA_E, -3.21) == "−3.2"
    assert format_half_width(ACCURACY, 0.031) == "±3"


def test_differences_carry_a_true_sign() -> None:
    assert format_difference(DELTA_E, -11.2) == "−11.2"
    assert format_difference(DELTA_E, 11.2) == "+11.2"
    assert format_difference(DELTA_E, 11.2, signed=False) == "11.2"
    assert format_difference(DELTA_E, 0.0) == "0.0"
    assert format_difference(PSNR, 0.5) == "+0.5 dB"


def test_differences_of_percentages_are_points() -> None:
    assert format_difference(ACCURACY, 0.03) == "+3 points"
    assert format_difference(ACCURACY, -0.01) == "−1 point"


def test_a_small_difference_is_not_rounded_away() -> None:
    assert format_difference(DELTA_E, 0.004) == "+0.004"
    assert format_effect(SHARPNESS, 0.0042, 0.0021, 0.0063) == "+0.004 [+0.002, +0.006]"
    assert format_effect(DELTA_E, -11.2, -12.6, -9.8) == "−11.2 [−12.6, −9.8]"
    assert format_effect(DELTA_E, -11.2, None, None) == "−11.2"


def test_a_difference_near_zero_has_no_sign() -> None:
    assert format_effect(DELTA_E, -0.01, -1.3, 1.2) == "0.0 [−1.3, +1.2]"


def test_intervals() -> None:
    assert format_interval(DELTA_E, -0.4, 2.0) == "[−0.4, +2.0]"
    assert format_interval(DELTA_E, 9.8, 12.6, signed=False) == "[9.8, 12.6]"
    assert format_interval(ACCURACY, 0.01, 0.05) == "[+1, +5]"


@pytest.mark.parametrize(
    ("p", "written"),
    [
        (0.00004, "p < 0.0001"),
        (0.0004, "p = 0.0004"),
        (0.0123, "p = 0.012"),
        (0.34, "p = 0.34"),
        (1.0, "p = 1.00"),
        (0.0496, "p = 0.0496"),
        (0.04999, "p = 0.04999"),
        (0.0502, "p = 0.050"),
    ],
)
def test_p_never_rounds_across_the_level(p: float, written: str) -> None:
    assert format_p(p) == written


def test_p_never_rounds_across_the_level_that_decides() -> None:
    assert (format_p(0.00996, 0.01), format_p(0.0101, 0.01)) == ("p = 0.00996", "p = 0.010")


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.42, "420 ms"),
        (0.996, "1.0 s"),
        (3.21, "3.2 s"),
        (9.96, "10 s"),
        (38.4, "38 s"),
        (99.4, "99 s"),
        (99.6, "1 min 40 s"),
        (250, "4 min 10 s"),
        (240, "4 min"),
        (3599.7, "1 h"),
        (3900, "1 h 5 min"),
        (25 * 3600, "25 h"),
    ],
)
def test_durations(seconds: float, written: str) -> None:
    assert format_duration(seconds) == written


def test_three_significant_digits() -> None:
    assert [format_significant(value) for value in (1.187, 12.44, 325.4, 0.0512, 1840.0)] == [
        "1.19",
        "12.4",
        "325",
        "0.0512",
        "1840",
    ]


def test_replicates_are_seeds_or_folds_of_seeds() -> None:
    def grid(seeds: int, folds: int) -> list[Replicate]:
        return [Replicate(seed, fold) for seed in range(seeds) for fold in range(folds)]

    assert format_replicates([Replicate(3), Replicate(4)]) == "2 seeds"
    assert format_replicates([]) == "0 seeds"
    assert format_replicates(grid(1, 5)) == "5 folds x 1 seed"
    assert format_replicates(grid(3, 5)) == "5 folds x 3 seeds"
    assert format_replicates(grid(3, 5)[:-1]) == "14 folds over 3 seeds"


def test_counts_and_names() -> None:
    assert (format_seeds(1), format_seeds(5)) == ("1 seed", "5 seeds")
    assert [metric_name(info) for info in (DELTA_E, PSNR, SHARPNESS, ACCURACY)] == [
        "ΔE",
        "PSNR",
        "Edge sharpness",
        "Right colour",
    ]

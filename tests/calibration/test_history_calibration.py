"""Error rates of changes in a history, over thousands of simulated series of 30 commits.

docs/regression.md, "History", has the measured rates.
"""

import numpy as np
import pytest

from harness.tracking.history.changes import find_changes
from tests.support.simulated_series import (
    LENGTH,
    autocorrelated_series,
    flat_series,
    ramp_series,
    step_series,
)


def share(hits):
    hits = list(hits)
    return sum(hits) / len(hits)


def test_flat_series_have_a_false_change_in_at_most_two_of_a_hundred():
    generator = np.random.default_rng(1)
    assert share(bool(find_changes(flat_series(generator)).changes) for _ in range(4000)) <= 0.02


@pytest.mark.parametrize("length", [10, 15, 60])
def test_shorter_and_longer_flat_series_have_no_more(length):
    generator = np.random.default_rng(2)
    assert share(bool(find_changes(flat_series(generator, length)).changes) for _ in range(2000)) <= 0.02


def test_steps_of_four_sigma_are_found_within_two_commits_of_their_place():
    generator = np.random.default_rng(3)

    def is_found():
        at = int(generator.integers(5, LENGTH - 4))
        changes = find_changes(step_series(generator, size=4.0, at=at)).changes
        return any(change.shape == "step" and abs(change.end - at) <= 2 for change in changes)

    assert share(is_found() for _ in range(2000)) >= 0.95


@pytest.mark.parametrize(("total", "least"), [(4.0, 0.75), (5.0, 0.85), (6.0, 0.9)])
def test_ramps_over_twenty_commits_are_creeps_and_nothing_else(total, least):
    generator = np.random.default_rng(4)

    def is_creep():
        start = int(generator.integers(0, LENGTH - 20))
        changes = find_changes(ramp_series(generator, total=total, start=start, width=20)).changes
        return {change.shape for change in changes} == {"creep"}

    assert share(is_creep() for _ in range(1000)) >= least


def test_heavy_tails_do_not_raise_false_changes():
    generator = np.random.default_rng(5)
    assert share(bool(find_changes(generator.standard_t(3, LENGTH)).changes) for _ in range(2000)) <= 0.02


@pytest.mark.parametrize("correlation", [0.2, 0.4])
def test_noise_that_remembers_the_commit_before_does_raise_them(correlation, record_property):
    """A known limit, told in the docs: permutations take points for exchangeable."""
    generator = np.random.default_rng(6)
    rate = share(
        bool(find_changes(autocorrelated_series(generator, correlation=correlation)).changes)
        for _ in range(1000)
    )
    record_property("false changes", rate)
    assert 0.02 < rate < 0.5

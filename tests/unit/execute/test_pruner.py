import pytest

from harness.execute.ray_tune.pruner import Pruner
from harness.pruning import Pruning

HALVING = Pruning(scheduler="asha", reduction_factor=2)


def told(pruner, *epochs):
    """Tell values as (trial, epoch, value) and return the trials that are to end, in turn."""
    return [trial for trial, epoch, value in epochs if pruner.is_to_end(trial, epoch, value)]


@pytest.mark.parametrize(("direction", "sign"), [("lower", 1), ("higher", -1)])
def test_asha_ends_what_is_worse_than_the_better_half_of_those_that_came_so_far(direction, sign):
    pruner = Pruner(HALVING, direction, epochs=8)
    first = [("a", 1, 1.0), ("b", 1, 2.0), ("c", 1, 0.5), ("d", 1, 1.2)]
    # By the median of those before: b against 1, c against 1.5, d against 1 (of 0.5, 1 and 2).
    assert told(pruner, *[(trial, epoch, sign * value) for trial, epoch, value in first]) == ["b", "d"]
    second = [("a", 2, 0.9), ("c", 2, 0.95)]
    assert told(pruner, *[(trial, epoch, sign * value) for trial, epoch, value in second]) == ["c"]


def test_median_ends_what_never_was_as_good_as_the_others_are_on_average():
    pruner = Pruner(Pruning(scheduler="median", fewest_trials=2), "lower", epochs=4)
    epochs = [("a", 1, 1.0), ("b", 1, 3.0), ("c", 1, 1.9), ("d", 1, 2.1)]
    # c against 2, the median of 1 and 3; d against 1.9, that of 1, 1.9 and 3.
    assert told(pruner, *epochs) == ["d"]


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_nothing_ends_in_the_epochs_of_grace(scheduler):
    pruner = Pruner(Pruning(scheduler=scheduler, grace_epochs=3, fewest_trials=1), "lower", epochs=8)
    early = [(trial, epoch, value) for epoch in (1, 2) for trial, value in (("a", 1.0), ("b", 9.0))]
    assert told(pruner, *early) == []
    assert told(pruner, ("a", 3, 1.0), ("b", 3, 9.0)) == ["b"]


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_trial_is_asked_once_and_a_second_attempt_of_it_counts_once(scheduler):
    pruner = Pruner(Pruning(scheduler=scheduler, reduction_factor=2, fewest_trials=1), "lower", epochs=8)
    assert told(pruner, ("a", 1, 1.0), ("b", 1, 2.0), ("b", 2, 2.0)) == ["b"]
    again = Pruner(Pruning(scheduler=scheduler, reduction_factor=2, fewest_trials=1), "lower", epochs=8)
    assert told(again, ("a", 1, 1.0), ("a", 1, 5.0), ("a", 1, 5.0), ("b", 1, 2.0)) == ["b"]


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_after_a_restart_the_epochs_of_before_count_as_if_told_now(scheduler):
    pruning = Pruning(scheduler=scheduler, reduction_factor=2, fewest_trials=1)
    pruner = Pruner(pruning, "lower", epochs=8)
    pruner.replay("a", [(1, 1.0), (2, 0.8)])
    pruner.replay("b", [(1, 2.0)])
    assert told(pruner, ("c", 1, 1.8)) == ["c"]
    assert told(pruner, ("b", 2, 1.9), ("b", 3, 1.9)) == ["b"]  # the restart fell between verdict and end

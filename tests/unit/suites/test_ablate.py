import copy

import pytest

from harness.ablate import Patch, apply_patch, cumulative, differences, one_at_a_time
from harness.errors import HarnessError

BASE = {"loss": {"mse": 1.0}, "model": {"name": "unet", "depth": 3}}
LEVELS = {
    "mse": Patch(),
    "lpips": Patch(set={"loss.lpips": 0.5}),
    "lab": Patch(set={"loss.lab_l1": 0.3}),
}


def test_cumulative_puts_each_level_on_top_of_the_one_before():
    steps = cumulative(BASE, LEVELS)
    assert [step.configuration["loss"] for step in steps] == [
        {"mse": 1.0},
        {"mse": 1.0, "lpips": 0.5},
        {"mse": 1.0, "lpips": 0.5, "lab_l1": 0.3},
    ]
    assert [step.previous for step in steps] == [None, "mse", "lpips"]
    assert steps[-1].changed_by == ("mse", "lpips", "lab")


def test_one_at_a_time_puts_each_level_on_the_base():
    steps = one_at_a_time(BASE, LEVELS)
    assert [step.configuration["loss"] for step in steps] == [
        {"mse": 1.0},
        {"mse": 1.0, "lpips": 0.5},
        {"mse": 1.0, "lab_l1": 0.3},
    ]
    assert {step.previous for step in steps} == {None}


def test_designs_leave_the_base_as_it_was():
    before = copy.deepcopy(BASE)
    for step in [*cumulative(BASE, LEVELS), *one_at_a_time(BASE, LEVELS)]:
        step.configuration["loss"]["mse"] = 99
    assert before == BASE


def test_drop_comes_before_set():
    patched = apply_patch(BASE, Patch(set={"loss.l1": 1.0}, drop=["loss.mse"]))
    assert patched["loss"] == {"l1": 1.0}


def test_dropping_what_is_not_there_is_an_error():
    with pytest.raises(HarnessError, match=r"nothing to drop at loss\.ssim"):
        apply_patch(BASE, Patch(drop=["loss.ssim"]))


def test_differences_name_what_is_changed_new_and_gone():
    other = {"loss": {"l1": 1.0}, "model": {"name": "unet", "depth": 4}}
    assert differences(BASE, other) == {"loss.mse": None, "loss.l1": 1.0, "model.depth": 4}

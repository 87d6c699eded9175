import copy

import pytest

from harness.ablate import Patch, PatchError, apply_patch, differences, matches
from harness.errors import HarnessError

BASE = {
    "loss": {"mse": 1.0, "lpips": 0.5},
    "model": {"name": "unet", "depth": 3, "widths": [8, 16]},
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"batch_size": 5, "augment": ["hflip", {"name": "blur", "sigma": 2}]},
}


@pytest.fixture(autouse=True)
def base_stays_as_it_was():
    before = copy.deepcopy(BASE)
    yield
    assert before == BASE


def patched(**operators):
    return apply_patch(BASE, Patch(**operators))


def test_set_replaces_and_makes_the_mappings_on_the_way():
    found = patched(set={"loss.mse": 2.0, "schedule.name": "step", "train.augment.blur.sigma": 3})
    assert found["loss"] == {"mse": 2.0, "lpips": 0.5}
    assert found["schedule"] == {"name": "step"}
    assert found["train"]["augment"] == ["hflip", {"name": "blur", "sigma": 3}]


def test_drop_removes_keys_and_elements_of_lists_by_their_name():
    found = patched(drop=["loss.lpips", "train.augment.hflip"])
    assert found["loss"] == {"mse": 1.0}
    assert found["train"]["augment"] == [{"name": "blur", "sigma": 2}]
    assert patched(drop=["train.augment.1"])["train"]["augment"] == ["hflip"]


def test_drop_comes_before_set():
    assert patched(set={"loss.l1": 1.0}, drop=["loss.mse", "loss.lpips"])["loss"] == {"l1": 1.0}


def test_add_makes_a_new_setting_or_appends_to_a_list():
    found = patched(add={"loss.ssim": 0.2, "train.augment": ["vflip"], "model.widths": 32})
    assert found["loss"] == {"mse": 1.0, "lpips": 0.5, "ssim": 0.2}
    assert found["train"]["augment"] == ["hflip", {"name": "blur", "sigma": 2}, "vflip"]
    assert found["model"]["widths"] == [8, 16, 32]


def test_swap_replaces_a_component_and_forgets_its_settings():
    assert patched(swap={"optimizer": "sgd"})["optimizer"] == {"name": "sgd"}
    whole = {"name": "sgd", "lr": 0.1}
    assert patched(swap={"optimizer": whole})["optimizer"] == whole


def test_swap_renames_a_loss_term_which_keeps_its_place_and_weight():
    assert list(patched(swap={"loss.mse": "l1"})["loss"].items()) == [("l1", 1.0), ("lpips", 0.5)]
    assert patched(swap={"train.augment.hflip": "vflip"})["train"]["augment"][0] == "vflip"


def test_scale_multiplies_numbers_and_keeps_whole_ones_whole():
    found = patched(scale={"optimizer.lr": 10, "model.widths": 0.4, "train.batch_size": 0.01})
    assert found["optimizer"]["lr"] == pytest.approx(0.1)
    assert found["model"]["widths"] == [3, 6]  # 3.2 and 6.4
    assert found["train"]["batch_size"] == 1


@pytest.mark.parametrize(
    ("operators", "path", "message"),
    [
        ({"drop": ["loss.lpip"]}, "loss.lpip", "nothing to drop at loss.lpip; did you mean 'lpips'?"),
        ({"drop": ["losses.mse"]}, "losses.mse", "there is no losses; did you mean 'loss'?"),
        ({"set": {"optimizer.lr.top": 1}}, "optimizer.lr.top", "optimizer.lr is not a mapping, so it has no 'top'"),
        ({"add": {"loss.mse": 1}}, "loss.mse", "loss.mse is there already; change it with `set`"),
        ({"swap": {"schedule": "step"}}, "schedule", "nothing to swap at schedule"),
        ({"swap": {"loss.mse": "lpips"}}, "loss.mse", "there is a 'lpips' already, beside loss.mse"),
        ({"swap": {"loss.mse": {"a": 1}}}, "loss.mse", "loss.mse has no `name`"),
        ({"scale": {"model.name": 2}}, "model.name", "model.name is no number"),
        ({"scale": {"train.augment": 2}}, "train.augment", "train.augment is no number"),
        ({"set": {"train.augment.vflip": 1}}, "train.augment.vflip", "nothing to set at train.augment.vflip"),
        ({"set": {"loss..mse": 1}}, "loss..mse", "'loss..mse' is no path"),
    ],
)  # fmt: skip
def test_a_patch_that_does_not_fit_says_why(operators, path, message):
    with pytest.raises(PatchError) as caught:
        patched(**operators)
    assert str(caught.value).startswith(message)
    assert caught.value.path == path
    assert caught.value.operator == next(iter(operators))


def test_wildcards_find_keys_and_elements_in_order():
    assert matches(BASE, "loss.*") == [("loss", "mse"), ("loss", "lpips")]
    assert matches(BASE, "train.augment.*") == [("train", "augment", "hflip"), ("train", "augment", "blur")]
    assert matches(BASE, "*.name") == [("model", "name"), ("optimizer", "name")]
    assert matches(BASE, "loss.ssim") == []
    with pytest.raises(HarnessError, match="is no path"):
        matches(BASE, "loss.")


def test_quotes_hold_a_part_of_a_path_together():
    found = patched(set={'loss."my.parts:Blur".weight': 0.5})
    assert found["loss"]["my.parts:Blur"] == {"weight": 0.5}


def test_differences_name_what_is_changed_new_and_gone():
    other = {"loss": {"l1": 1.0}, "model": {"name": "unet", "depth": 4}}
    base = {"loss": {"mse": 1.0}, "model": {"name": "unet", "depth": 3}}
    assert differences(base, other) == {"loss.mse": None, "loss.l1": 1.0, "model.depth": 4}

"""What is wrong with a structure is told before a run, in one line; what it takes is counted."""

import itertools
import os
import random
import threading

import numpy as np
import pytest
import torch

from harness.errors import SuiteError
from harness.planning.build import build_plan
from harness.preflight.check import check_plan
from harness.preflight.structures import micro_batches, structure_key
from harness.specify import respecify
from harness.suite import load_suite
from harness.testing.tiny import TINY

PARTS = "tests.support.preflight_parts"


@pytest.fixture
def plan_of(write_suite):
    """Return a function: levels of the factor, overrides -> plan."""

    def make(*overrides, levels="      mse: {}"):
        text = TINY[: TINY.index("    levels:")] + f"    levels:\n{levels}\nseeds: 2\n"
        text = text.replace("cumulative", "one_at_a_time")
        return build_plan(load_suite(write_suite(text), overrides=overrides))

    return make


def check(plan, seconds=60.0):
    return check_plan(plan, plan.trials, seconds=seconds)


def lines(plan):
    found = [finding.line for finding in check(plan).findings]
    assert all("\n" not in line for line in found)
    return found


def one_conv(plan_of, *overrides, name="OneConv"):
    return plan_of(f"base.model={{name: '{PARTS}:{name}'}}", "base.loss={mse: 1.0}", *overrides)


def test_a_sound_plan_has_facts_of_every_variant_and_no_findings(plan_of):
    plan = plan_of(levels="      mse: {}\n      l1: {set: {loss.l1: 0.5}}")
    result = check(plan)
    assert (result.findings, result.notes, result.structures, result.checked) == ([], [], 2, 2)
    assert set(result.facts) == {"mse", "l1"}


def test_costs_are_those_counted_by_hand(plan_of):
    facts = check(one_conv(plan_of, "base.data.size=[32, 48]", "base.optimizer={name: adamw}")).facts["mse"]
    channels = 3
    pixels = 32 * 48
    assert facts.micro_batch == 16
    assert facts.parameters == facts.trainable_parameters == 3 * channels
    assert facts.forward_flops == 2 * 3 * channels * pixels
    assert facts.step_flops == 2 * facts.forward_flops  # the picture needs no gradient, the weights do
    # the convolution keeps its input, the squared error its difference, in 4 bytes each
    assert facts.activation_bytes == 16 * pixels * (channels + 3) * 4
    assert facts.weight_bytes == 2 * 9 * 4
    assert facts.optimizer_bytes == 2 * 9 * 4
    assert (facts.ema_bytes, facts.loss_bytes) == (0, 0)
    assert facts.memory_bytes == facts.activation_bytes + 4 * 9 * 4


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [("{name: sgd}", 0), ("{name: sgd, momentum: 0.9}", 1), ("{name: adam}", 2), ("{name: adamw}", 2)],
)
def test_an_optimizer_keeps_as_many_copies_of_the_weights_as_it_does(plan_of, optimizer, copies):
    facts = check(one_conv(plan_of, f"base.optimizer={optimizer}")).facts["mse"]
    assert facts.optimizer_bytes == copies * 9 * 4


def test_the_average_of_the_weights_is_one_more_copy(plan_of):
    assert check(one_conv(plan_of, "base.train.ema=0.9")).facts["mse"].ema_bytes == 9 * 4


def test_accumulation_makes_activations_smaller(plan_of):
    whole = check(one_conv(plan_of)).facts["mse"]
    quarter = check(one_conv(plan_of, "base.train.accumulation=4")).facts["mse"]
    assert quarter.activation_bytes == whole.activation_bytes / 4
    assert quarter.step_flops == whole.step_flops


def test_feature_networks_of_the_loss_are_no_activations(plan_of):
    with_network = check(plan_of("base.loss={mse: 1.0, lpips: 0.5}")).facts["mse"]
    assert with_network.loss_bytes == pytest.approx(2_469_696 * 4, rel=0.01)  # features of AlexNet
    assert with_network.step_flops > check(plan_of("base.loss={mse: 1.0}")).facts["mse"].step_flops


@pytest.mark.parametrize(
    ("train", "train_size", "expected"),
    [
        ({"batch_size": 16}, 64, [16]),
        ({"batch_size": 16, "accumulation": 4}, 64, [4]),
        ({"batch_size": 16}, 5, [5]),  # smaller than a batch: one batch of all
        ({"batch_size": 8, "accumulation": 2}, 5, [2, 1]),  # 2, 2, 1
        ({"batch_size": 8, "accumulation": 8}, 3, [1]),
    ],
)
def test_micro_batches_are_those_of_the_loop(plan_of, train, train_size, expected):
    settings = [f"base.train.{key}={value}" for key, value in train.items()]
    spec = respecify(plan_of(f"base.data.train_size={train_size}", *settings).trials[0].spec)
    assert micro_batches(spec) == expected


def test_a_fold_is_left_out_of_what_is_trained_on(plan_of):
    spec = respecify(plan_of("folds=4", "base.data.train_size=10").trials[0].spec)
    assert micro_batches(spec) == [7]  # parts of 3, 3, 2 and 2


def test_structures_differ_in_what_changes_a_shape_alone(plan_of):
    levels = """\
      control: {}
      rate: {set: {optimizer.lr: 0.5, train.epochs: 9}}
      weight: {set: {loss.mse: 0.3}}
      wide: {set: {model.widths: [8, 24]}}"""
    result = check(plan_of(levels=levels))
    assert (result.structures, len(result.facts)) == (2, 4)
    assert result.facts["control"] == result.facts["rate"] == result.facts["weight"] != result.facts["wide"]


@pytest.mark.parametrize(
    "override",
    [
        "base.loss={mse: 1, l1: 1}",
        "base.train.precision=bf16",
        "base.train.batch_size=8",
        "base.data.size=48",
        "base.train.ema=0.9",
        "base.optimizer={name: sgd}",
        "base.model.norm=group",
    ],
)
def test_what_changes_a_shape_makes_another_structure(plan_of, override):
    plain, other = (respecify(plan.trials[0].spec) for plan in (plan_of(), plan_of(override)))
    assert structure_key(plain) != structure_key(other)


def test_batch_norm_over_one_value_is_one_clear_line(plan_of):
    plan = one_conv(plan_of, "base.train.batch_size=1", name="PooledNorm")
    assert lines(plan) == [
        "mse: train.batch_size: BatchNorm needs more than one value per channel when training: "
        "1x1 map at micro-batch 1; use norm: group or a larger batch_size"
    ]


def test_batch_norm_fails_in_the_last_smaller_micro_batch_too(plan_of):
    settings = ["base.data.train_size=5", "base.train.batch_size=8", "base.train.accumulation=2"]
    [line] = lines(one_conv(plan_of, *settings, name="PooledNorm"))
    assert line.endswith("at micro-batch 1; use norm: group or less accumulation")


def test_a_deep_network_at_micro_batch_1_is_refused_before_it_trains(plan_of):
    plan = plan_of("base.model={name: conditional_unet, depth: 6}", "base.train.batch_size=1")
    [line] = lines(plan)
    assert "1x1 map at micro-batch 1" in line


UPERNET = "base.model={name: backbone_head, backbone: vit_tiny_patch16_224, head: upernet, norm: %s}"


def test_upernet_with_batch_norm_at_micro_batch_1_is_refused_and_group_norm_is_not(plan_of):
    at_micro_batch_1 = ["base.train.batch_size=4", "base.train.accumulation=4"]
    assert lines(plan_of(UPERNET % "batch", *at_micro_batch_1)) == [
        "mse: train.batch_size: BatchNorm needs more than one value per channel when training: "
        "1x1 map at micro-batch 1; use norm: group or less accumulation"
    ]
    result = check(plan_of(UPERNET % "group", *at_micro_batch_1))
    assert (result.findings, result.notes) == ([], [])
    assert result.facts["mse"].parameters > 5_000_000


def test_a_size_that_is_no_multiple_of_the_patch_is_one_line(plan_of):
    with pytest.raises(SuiteError) as caught:
        plan_of("base.model={name: backbone_head, backbone: vit_small_patch14_dinov2}", "base.data.size=32")
    problem, _ = str(caught.value).splitlines()
    assert "size 32x32 is not a multiple of the patch 14" in problem


def test_wrong_channels_are_told_in_the_words_of_torch(plan_of):
    [line] = lines(one_conv(plan_of, name="WrongChannels"))
    assert line.startswith("mse: model: the model fails on 32x32 pixels at micro-batch 16: RuntimeError: ")
    assert "channels" in line


def test_a_turn_of_pictures_that_are_not_square_is_one_line(plan_of):
    with pytest.raises(SuiteError) as caught:
        plan_of("base.data.size=[32, 48]", "base.train.augment=[rot90]")
    problem, _ = str(caught.value).splitlines()
    assert "rot90 needs square pictures, got 32 x 48" in problem


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            f"base.loss={{'{PARTS}:Infinite': 1.0}}",
            "loss: the loss 'total' of the untrained model is not finite",
        ),
        (
            f"base.loss={{'{PARTS}:OneForAll': 1.0}}",
            "'one_for_all' gives shape () for 2 samples, expected (2,)",
        ),
        (f"base.data.name={PARTS}:WrongColours", "data: a sample has the colour 10"),
        (
            f"base.data.name={PARTS}:Cropped",
            "data: the data gives 'image' the shape (2, 3, 31, 32), expected",
        ),
    ],
)
def test_faults_that_only_real_samples_show_are_one_line(plan_of, setting, message, monkeypatch):
    [line] = lines(plan_of(setting))
    assert message in line


def test_code_that_reads_values_is_run_all_the_same_and_its_costs_are_unknown(plan_of):
    result = check(one_conv(plan_of, name="ReadsValues"))
    assert (result.findings, result.facts) == ([], {})
    [note] = result.notes
    assert note.startswith("mse: FLOPs and memory are unknown, since the code reads values")


def test_a_step_that_takes_too_long_is_left_out_and_its_samples_are_read_all_the_same(plan_of, monkeypatch):
    monkeypatch.setattr("harness.preflight.check.REAL_STEP_FLOPS", 1e4)
    result = check(one_conv(plan_of))
    assert result.notes == [
        "mse: model and loss were checked by shapes alone, since a real step takes too long here"
    ]
    assert "mse" in result.facts
    assert "a sample has the colour" in lines(plan_of(f"base.data.name={PARTS}:WrongColours"))[0]


def test_every_variant_of_a_broken_structure_is_named_and_the_others_go_on(plan_of):
    levels = f"""\
      sound: {{}}
      broken: {{set: {{"model": {{name: "{PARTS}:WrongChannels"}}}}}}
      slow: {{set: {{"model": {{name: "{PARTS}:WrongChannels"}}, optimizer.lr: 1e-5}}}}"""
    result = check(plan_of(levels=levels))
    [finding] = result.findings
    assert finding.variants == ("broken", "slow")
    assert finding.mistake.path == ("model",)
    assert set(result.facts) == {"sound"}


def test_what_does_not_fit_into_the_time_is_counted(plan_of):
    levels = "\n".join(f"      w{width}: {{set: {{model.widths: [{width}]}}}}" for width in (8, 16, 24, 32))
    plan = plan_of(levels=levels)
    ticks = itertools.count()
    result = check_plan(plan, plan.trials, seconds=1.5, clock=lambda: float(next(ticks)))
    # the base is the fifth; it ends at 1 s, then they are begun at 1 and 2 s, and not at 3 s
    assert (result.checked, result.structures) == (3, 5)
    assert result.summary == "checked 3 of 5 structures in 4.0 s"
    assert result.notes == [f"{result.summary}; the others show what is wrong when they start"]


def test_nothing_of_the_process_changes_and_nothing_is_printed(plan_of, capfd):
    plan = plan_of("base.loss={mse: 1, lpips: 0.5, ssim: 0.2, lab_l1: 0.3}", "base.train.ema=0.9")
    before = _state()
    check(plan)
    check(one_conv(plan_of, "base.train.batch_size=1", name="PooledNorm"))
    after = _state()
    assert after == before
    assert capfd.readouterr() == ("", "")


def _state():
    return (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.get_default_dtype(),
        torch.utils.deterministic.fill_uninitialized_memory,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        threading.active_count(),
    )

"""The bundled ablations: each does what it says on a base that fits, and is refused elsewhere.

The suites and examples of docs/ablations.md are read from there.
"""

import functools
import json
import re
from dataclasses import dataclass, field

import pytest

from harness import catalog
from harness.document import read_document
from harness.errors import SuiteError
from harness.planning.build import plan_suite
from harness.preflight.check import check_plan
from harness.specify import respecify
from harness.train.trial import run_trial
from tests.support import ablation_pages
from tests.support.memory_sink import MemorySink

UNET = """\
suite: library
task: colorization
primary_metric: delta_e
base:
  data: {name: polygons, size: 32, train_size: 32, validation_size: 24}
  model: {name: conditional_unet, widths: [8, 16, 32], layers: 1}
  loss: {mse: 1.0, l1: 0.5, lab_l1: 0.3}
  optimizer: {name: adamw, lr: 1e-3}
  schedule: {name: warmup_cosine}
  train: {epochs: 1, batch_size: 16, augment: [hflip, vflip, rot90]}
seeds: 1
"""
PIXEL = UNET.replace("l1: 0.5, ", "", 1)
PIXEL_LOSSES = ("mse", "l1", "huber", "charbonnier")
LION = {"optimizer.name": "timm", "optimizer.kind": "lion", "optimizer.lr": 0.0001}
PLATEAU = {"schedule.name": "plateau", "schedule.factor": 0.5, "schedule.patience": 5}
BACKBONE = re.sub("model: .*", "model: {name: backbone_head, backbone: test_convnext}", UNET)


def one_pixel_loss(chosen, weight):
    return {f"loss.{name}": weight if name == chosen else 0 for name in PIXEL_LOSSES}


@dataclass(frozen=True)
class Case:
    """What an ablation leads to: name of a variant -> what it changes, the reference first."""

    variants: dict
    base: str = UNET
    options: dict = field(default_factory=dict)
    """Option -> (value, variants with it)."""


SCALES = {"name": "affine", "degrees": 0, "shift": 0, "scale": [0.8, 1.25]}
CASES = {
    "accumulation": Case(
        {
            "accumulation_1": {},
            "accumulation_2": {"train.accumulation": 2},
            "accumulation_4": {"train.accumulation": 4},
        },
        options={"parts": ([8], {"base": {}, "accumulation_8": {"train.accumulation": 8}})},
    ),
    "augmentation": Case(
        {
            "base": {},
            "no_augmentation": {"train.augment": []},
            "flip": {"train.augment": ["hflip"]},
            "flip_scale": {"train.augment": ["hflip", SCALES]},
        },
        options={
            "flips": (
                ["hflip", "vflip", "rot90"],
                {
                    "flip": {},
                    "no_augmentation": {"train.augment": []},
                    "flip_scale": {"train.augment": ["hflip", SCALES]},
                },
            ),
            "scaled": (
                {"name": "affine", "degrees": 30},
                {
                    "base": {},
                    "no_augmentation": {"train.augment": []},
                    "flip": {"train.augment": ["hflip"]},
                    "flip_scale": {"train.augment": ["hflip", {"name": "affine", "degrees": 30}]},
                },
            ),
        },
    ),
    "augmentation_terms": Case(
        {
            "all": {},
            "no_hflip": {"train.augment": ["vflip", "rot90"]},
            "no_vflip": {"train.augment": ["hflip", "rot90"]},
            "no_rot90": {"train.augment": ["hflip", "vflip"]},
        },
        options={
            "keep": (["hflip", "vflip"], {"all": {}, "no_rot90": {"train.augment": ["hflip", "vflip"]}})
        },
    ),
    "backbone_size": Case(
        {
            "base": {},
            "backbone_vit_tiny_patch16_224": {"model.backbone": "vit_tiny_patch16_224"},
            "backbone_vit_small_patch16_224": {"model.backbone": "vit_small_patch16_224"},
            "backbone_vit_base_patch16_224": {"model.backbone": "vit_base_patch16_224"},
        },
        base=BACKBONE,
        options={
            "backbones": (
                ["test_convnext", "test_vit", "test_resnet"],
                {
                    "backbone_test_convnext": {},
                    "backbone_test_vit": {"model.backbone": "test_vit"},
                    "backbone_test_resnet": {"model.backbone": "test_resnet"},
                },
            )
        },
    ),
    "batch": Case(
        {
            "batch_size_16": {},
            "batch_size_8": {"train.batch_size": 8},
            "batch_size_32": {"train.batch_size": 32},
        },
        options={"sizes": ([4], {"base": {}, "batch_size_4": {"train.batch_size": 4}})},
    ),
    "class_balancing": Case(
        {"as_they_come": {}, "balanced": {"train.balance": "colour"}},
        options={"label": ("shape", {"as_they_come": {}, "balanced": {"train.balance": "shape"}})},
    ),
    "conditioning_site": Case(
        {
            "bottleneck": {},
            "no_condition": {"model.site": "none"},
            "input": {"model.site": "input"},
            "film": {"model.site": "film"},
            "cross_attention": {"model.site": "cross_attention"},
        }
    ),
    "data_fraction": Case(
        {"base": {}, "train_size_x0.25": {"data.train_size": 8}, "train_size_x0.5": {"data.train_size": 16}},
        options={"fractions": ([0.75], {"base": {}, "train_size_x0.75": {"data.train_size": 24}})},
    ),
    "depth": Case(
        {"depth_3": {}, "depth_2": {"model.depth": 2}, "depth_4": {"model.depth": 4}},
        options={
            "depths": ([1, 5], {"base": {}, "depth_1": {"model.depth": 1}, "depth_5": {"model.depth": 5}})
        },
    ),
    "ema": Case(
        {
            "ema_none": {},
            "ema_0.9": {"train.ema": 0.9},
            "ema_0.99": {"train.ema": 0.99},
            "ema_0.999": {"train.ema": 0.999},
        },
        options={"decays": ([0.5], {"base": {}, "ema_0.5": {"train.ema": 0.5}})},
    ),
    "frozen_backbone": Case({"fine_tuned": {}, "frozen": {"model.frozen": True}}, base=BACKBONE),
    "head": Case(
        {"conv": {}, "linear": {"model.head": "linear"}, "upernet": {"model.head": "upernet"}}, base=BACKBONE
    ),
    "input_channels": Case(
        {
            "rgb": {},
            "grey": {"data.channels": "grey"},
            "rgb_mask": {"data.mask": "binary"},
            "grey_mask": {"data.channels": "grey", "data.mask": "binary"},
        },
        options={
            "mask": (
                "rgb",
                {
                    "rgb": {},
                    "grey": {"data.channels": "grey"},
                    "rgb_mask": {"data.mask": "rgb"},
                    "grey_mask": {"data.channels": "grey", "data.mask": "rgb"},
                },
            )
        },
    ),
    "learning_rate": Case(
        {
            "base": {},
            "lr_x0.1": {"optimizer.lr": 1e-4},
            "lr_x0.3": {"optimizer.lr": 3e-4},
            "lr_x3": {"optimizer.lr": 3e-3},
            "lr_x10": {"optimizer.lr": 1e-2},
        },
        options={"factors": ([2], {"base": {}, "lr_x2": {"optimizer.lr": 2e-3}})},
    ),
    "loss_terms": Case(
        {
            "all": {},
            "no_mse": {"loss.mse": None},
            "no_l1": {"loss.l1": None},
            "no_lab_l1": {"loss.lab_l1": None},
        },
        options={"keep": (["mse", "l1"], {"all": {}, "no_lab_l1": {"loss.lab_l1": None}})},
    ),
    "loss_terms_factorial": Case(
        {
            "none": {},
            "no_lab_l1": {"loss.lab_l1": None},
            "no_l1": {"loss.l1": None},
            "no_l1+no_lab_l1": {"loss.l1": None, "loss.lab_l1": None},
        },
        options={
            "keep": (
                ["l1"],
                {
                    "none": {},
                    "no_lab_l1": {"loss.lab_l1": None},
                    "no_mse": {"loss.mse": None},
                    "no_mse+no_lab_l1": {"loss.mse": None, "loss.lab_l1": None},
                },
            )
        },
    ),
    "mask": Case({"no_mask": {}, "binary": {"data.mask": "binary"}, "rgb": {"data.mask": "rgb"}}),
    "normalization": Case(
        {"norm_batch": {}, "norm_group": {"model.norm": "group"}, "norm_none": {"model.norm": "none"}},
        options={"norms": (["group"], {"base": {}, "norm_group": {"model.norm": "group"}})},
    ),
    "optimizer": Case(
        {
            "adamw": {},
            "adam": {"optimizer.name": "adam"},
            "sgd": {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9},
            "lion": LION,
        },
        options={
            "adamw_lr": (
                0.01,
                {
                    "base": {},
                    "adamw": {"optimizer.lr": 0.01},
                    "adam": {"optimizer.name": "adam"},
                    "sgd": {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9},
                    "lion": LION,
                },
            ),
            "adam_lr": (
                0.002,
                {
                    "adamw": {},
                    "adam": {"optimizer.name": "adam", "optimizer.lr": 0.002},
                    "sgd": {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9},
                    "lion": LION,
                },
            ),
            "sgd_lr": (
                0.2,
                {
                    "adamw": {},
                    "adam": {"optimizer.name": "adam"},
                    "sgd": {"optimizer.name": "sgd", "optimizer.lr": 0.2, "optimizer.momentum": 0.9},
                    "lion": LION,
                },
            ),
            "lion_lr": (
                0.0002,
                {
                    "adamw": {},
                    "adam": {"optimizer.name": "adam"},
                    "sgd": {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9},
                    "lion": LION | {"optimizer.lr": 0.0002},
                },
            ),
            "momentum": (
                0.5,
                {
                    "adamw": {},
                    "adam": {"optimizer.name": "adam"},
                    "sgd": {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.5},
                    "lion": LION,
                },
            ),
        },
    ),
    "pixel_loss": Case(
        {"mse": {}, **{name: one_pixel_loss(name, 1.0) for name in PIXEL_LOSSES[1:]}},
        base=PIXEL,
        options={"weight": (0.5, {"base": {}, **{name: one_pixel_loss(name, 0.5) for name in PIXEL_LOSSES}})},
    ),
    "precision": Case({"fp32": {}, "bf16": {"train.precision": "bf16"}, "fp16": {"train.precision": "fp16"}}),
    "resolution": Case(
        {"size_32": {}, "size_64": {"data.size": 64}, "size_128": {"data.size": 128}},
        options={"sizes": ([48], {"base": {}, "size_48": {"data.size": 48}})},
    ),
    "schedule": Case(
        {
            "warmup_cosine": {},
            "constant": {"schedule.name": "constant"},
            "cosine": {"schedule.name": "cosine"},
            "linear": {"schedule.name": "linear"},
            "step": {"schedule.name": "step"},
            "plateau": PLATEAU,
        },
        options={
            "warmup": (
                0.2,
                {
                    "base": {},
                    "constant": {"schedule.name": "constant"},
                    "warmup_cosine": {"schedule.warmup": 0.2},
                    "cosine": {"schedule.name": "cosine"},
                    "linear": {"schedule.name": "linear", "schedule.warmup": 0.2},
                    "step": {"schedule.name": "step"},
                    "plateau": PLATEAU,
                },
            ),
            "patience": (
                0,
                {
                    "warmup_cosine": {},
                    "constant": {"schedule.name": "constant"},
                    "cosine": {"schedule.name": "cosine"},
                    "linear": {"schedule.name": "linear"},
                    "step": {"schedule.name": "step"},
                    "plateau": PLATEAU | {"schedule.patience": 0},
                },
            ),
        },
    ),
    "skips": Case({"skips": {}, "no_skips": {"model.skips": False}}),
    "width": Case(
        {
            "base": {},
            "widths_x0.5": {"model.widths": [4, 8, 16]},
            "widths_x2": {"model.widths": [16, 32, 64]},
        },
        options={"factors": ([3], {"base": {}, "widths_x3": {"model.widths": [24, 48, 96]}})},
    ),
}

OPTIONS = [(name, option) for name, case in CASES.items() for option in case.options]

TRAINED_WITH = {"backbone_size": "backbones", "resolution": "sizes", "schedule": "patience"}
"""Ablation -> the option whose expectation is trained in place of the defaults, which are too large here."""
TRAINED_AT = {"schedule": ["base.train.epochs=6", "base.optimizer.lr=0.1"]}
"""Ablation -> what its base needs so that all variants differ: a loss that stands still at times."""

WITH_NORM = "backbone_head, conditional_unet"
REQUIREMENTS = [
    ("backbone_size", UNET, "model.backbone", "model 'conditional_unet'", "backbone_head"),
    ("conditioning_site", BACKBONE, "model.site", "model 'backbone_head'", "conditional_unet"),
    ("depth", BACKBONE, "model.depth", "model 'backbone_head'", "conditional_unet"),
    ("frozen_backbone", UNET, "model.frozen", "model 'conditional_unet'", "backbone_head"),
    ("head", UNET, "model.head", "model 'conditional_unet'", "backbone_head"),
    (
        "input_channels",
        "data",
        "data.channels",
        "data 'tests.support.library_parts:Plain'",
        "folder, hugging_face, polygons",
    ),
    (
        "input_channels",
        "data",
        "data.mask",
        "data 'tests.support.library_parts:Plain'",
        "folder, hugging_face, polygons",
    ),
    (
        "learning_rate",
        "optimizer",
        "optimizer.lr",
        "optimizer 'tests.support.library_parts:WithoutRate'",
        "adam, adamw, sgd, timm",
    ),
    (
        "mask",
        "data",
        "data.mask",
        "data 'tests.support.library_parts:Plain'",
        "folder, hugging_face, polygons",
    ),
    ("normalization", "model", "model.norm", "model 'tests.support.preflight_parts:OneConv'", WITH_NORM),
    ("skips", BACKBONE, "model.skips", "model 'backbone_head'", "conditional_unet"),
    ("width", BACKBONE, "model.widths", "model 'backbone_head'", "conditional_unet, text_unet"),
]
"""Ablation, base (or the section of it that a plugin without the setting stands in), and what is said."""
PLUGINS = {
    "data": "{name: 'tests.support.library_parts:Plain', size: 32, train_size: 32, validation_size: 24}",
    "optimizer": "{name: 'tests.support.library_parts:WithoutRate'}",
    "model": "{name: 'tests.support.preflight_parts:OneConv'}",
}


@pytest.fixture
def planned(write_suite):
    """Return a function: entries of `vary`, base, overrides -> plan."""

    def plan(*entries, base=UNET, overrides=()):
        path = write_suite(f"{base}vary: {json.dumps(entries)}\n")
        return plan_suite(path, overrides=overrides).plan

    return plan


@pytest.fixture
def refused(planned):
    """Return a function: as `planned` -> what is wrong, without the places."""

    def problems(*entries, **options):
        with pytest.raises(SuiteError) as caught:
            planned(*entries, **options)
        return [problem.message for problem in caught.value.problems]

    return problems


def changes(plan):
    """Return variant -> what it changes; the reference is the first."""
    assert plan.reference == plan.variants[0].name
    return {variant.name: variant.changes for variant in plan.variants}


@functools.cache
def settings_of(name):
    return read_document(ablation_pages.FOLDER / f"{name}.yaml").value


def with_options(name, **values):
    return {"use": name, "with": values} if values else {"use": name}


def trained_plan(planned, name, overrides=()):
    option = TRAINED_WITH.get(name)
    chosen = {} if option is None else {option: CASES[name].options[option][0]}
    return planned(with_options(name, **chosen), base=CASES[name].base, overrides=overrides)


def test_every_ablation_is_expected_here_and_no_other():
    assert sorted(CASES) == catalog.names("ablations") == ablation_pages.NAMES


@pytest.mark.parametrize("name", CASES)
def test_variants_and_their_changes_are_those_expected(planned, name):
    plan = planned({"use": name}, base=CASES[name].base)
    assert list(changes(plan).items()) == list(CASES[name].variants.items())
    assert plan.questions == {settings_of(name)["factor"]: settings_of(name)["question"]}


@pytest.mark.parametrize("name", CASES)
def test_every_option_is_expected_here_and_no_other(name):
    assert sorted(CASES[name].options) == sorted(settings_of(name).get("options", {}))


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_changes_what_it_says(planned, name, option):
    value, expected = CASES[name].options[option]
    plan = planned(with_options(name, **{option: value}), base=CASES[name].base)
    assert list(changes(plan).items()) == list(expected.items())
    assert settings_of(name)["options"][option]["help"]


@pytest.mark.parametrize("name", CASES)
def test_a_preflight_finds_nothing_wrong_with_any_variant(planned, name):
    plan = trained_plan(planned, name)
    checked = check_plan(plan, plan.trials, seconds=60.0)
    assert [finding.line for finding in checked.findings] == []
    assert checked.notes == []
    assert checked.checked == checked.structures
    assert set(checked.facts) == {variant.name for variant in plan.variants}


@pytest.mark.parametrize("name", CASES)
def test_every_variant_trains_to_figures_of_its_own(planned, name, cache, tmp_path):
    overrides = [*["base.train.batch_size=8"] * (name != "batch"), *TRAINED_AT.get(name, ())]
    plan = trained_plan(planned, name, overrides)
    figures = {}
    for trial in plan.trials:
        sink = MemorySink(tmp_path / trial.id)
        run_trial(respecify(trial.spec), sink, cache=cache, threads=1)
        figures[trial.variants] = sink.curve("delta_e")[-1]
    assert len(set(figures.values())) == len(figures) == len(plan.variants)


def test_every_requirement_is_expected_here_and_no_other():
    asked = {(name, path) for name in CASES for path in settings_of(name).get("requires", ())}
    assert {(name, path) for name, _, path, _, _ in REQUIREMENTS} == asked


@pytest.mark.parametrize(("name", "base", "path", "component", "owners"), REQUIREMENTS)
def test_a_base_that_does_not_fit_is_refused_with_the_components_that_do(
    refused, name, base, path, component, owners
):
    section = path.partition(".")[0]
    overrides = [f"base.{section}={PLUGINS[section]}"] if base in PLUGINS else []
    found = refused({"use": name}, base=UNET if base in PLUGINS else base, overrides=overrides)
    expected = f"varies {path}, a setting that the {component} does not have; those that have it: {owners}"
    assert expected in found
    assert all(message.startswith(("varies ", f"nothing to scale at {path};")) for message in found)


@pytest.mark.parametrize(
    ("name", "options", "base", "override", "messages"),
    [
        (
            "accumulation",
            {"parts": [3]},
            UNET,
            "",
            ["train.accumulation: 3 does not divide the batch size 16"],
        ),
        ("augmentation_terms", {}, UNET, "train.augment=[]", ["nothing in the base is at train.augment.*"]),
        (
            "backbone_size",
            {"backbones": ["test_vit"]},
            BACKBONE,
            "data.size=40",
            ["model: size 40x40 is not a multiple of the patch 16 of test_vit; nearest are 32 and 48"],
        ),
        (
            "class_balancing",
            {"label": "color"},
            UNET,
            "",
            ["train.balance: the data has no label 'color'; did you mean 'colour'?"],
        ),
        (
            "data_fraction",
            {"fractions": [0.5]},
            UNET,
            "data={name: polygons, size: 32}",
            ["nothing to scale at data.train_size; give the number under `base`"],
        ),
        (
            "depth",
            {"depths": [7]},
            UNET,
            "",
            ["model.depth: depth 7 leaves a 0x0 map at size 32; use depth 6 at most or size 64 at least"],
        ),
        (
            "learning_rate",
            {"factors": [2]},
            UNET,
            "optimizer={name: adamw}",
            ["nothing to scale at optimizer.lr; give the number under `base`"],
        ),
        ("loss_terms", {}, UNET, "loss={mse: 1}", ["loss: no term has a weight above 0"]),
        ("loss_terms_factorial", {"keep": []}, UNET, "", ["loss: no term has a weight above 0"]),
        (
            "loss_terms_factorial",
            {},
            UNET,
            "loss={l1: 1, lab_l1: 1}",
            ["loss: no term has a weight above 0", "loss.* finds no 'mse'; known are l1, lab_l1"],
        ),
        (
            "normalization",
            {},
            UNET,
            "model.widths=[4, 8]",
            ["model: groups 8 must divide every width, and does not divide 4"],
        ),
        ("normalization", {}, BACKBONE, "", ["model.norm: expected 'batch' or 'group', got \"none\""]),
        (
            "normalization",
            {"norms": ["group"]},
            BACKBONE,
            "model.head=linear",
            ["applies nowhere: it asks for model.head = null or conv or upernet"],
        ),
        (
            "resolution",
            {"sizes": [16]},
            UNET,
            "",
            ["data.size: the metric lpips needs pictures of at least 31 pixels, got 16"],
        ),
        (
            "width",
            {"factors": [0.5]},
            UNET,
            "model.norm=group",
            ["model: groups 8 must divide every width, and does not divide 4"],
        ),
    ],
)
def test_what_does_not_fit_a_base_is_refused_while_planning(refused, name, options, base, override, messages):
    overrides = [f"base.{override}"] if override else []
    assert refused(with_options(name, **options), base=base, overrides=overrides) == messages


@pytest.mark.parametrize(
    ("name", "base", "overrides", "finding"),
    [
        (
            "normalization",
            UNET,
            ["base.train.batch_size=1", "base.model.depth=6"],
            "norm_batch: train.batch_size: BatchNorm needs more than one value per channel when training: "
            "1x1 map at micro-batch 1; use norm: group or a larger batch_size",
        ),
        (
            "head",
            BACKBONE,
            ["base.train.batch_size=1"],
            "conv: train.batch_size: BatchNorm needs more than one value per channel when training: "
            "1x1 map at micro-batch 1; use norm: group or a larger batch_size",
        ),
    ],
)
def test_batch_norm_over_a_single_value_is_found_before_a_run(planned, name, base, overrides, finding):
    plan = planned({"use": name}, base=base, overrides=overrides)
    found = [found.line for found in check_plan(plan, plan.trials, seconds=60.0).findings]
    assert finding in found


# ---------------------------------------------------------------- docs/ablations.md

PAGE = ablation_pages.PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
SUITES = {
    block.partition("\n")[0].removeprefix("suite: "): block for block in BLOCKS if block[:6] == "suite:"
}
FRAGMENTS = [block for block in BLOCKS if block[:5] == "vary:"]
OWN = [block for block in BLOCKS if block[:1] == "#"]
LONGEST = 15  # lines of a suite that asks one question

SIX = {
    "which_loss_terms": (
        {
            "all": {},
            "no_mse": {"loss.mse": None},
            "no_ssim": {"loss.ssim": None},
            "no_lab_l1": {"loss.lab_l1": None},
        },
        20,
    ),
    "how_deep": (
        {
            "depth_3": {},
            "depth_1": {"model.depth": 1},
            "depth_2": {"model.depth": 2},
            "depth_4": {"model.depth": 4},
        },
        20,
    ),
    "without_skips": ({"skips": {}, "no_skips": {"model.skips": False}}, 10),
    "which_resolution": (
        {"size_64": {}, "size_32": {"data.size": 32}, "size_64-96": {"data.size": [64, 96]}},
        9,
    ),
    "how_large_a_backbone": (
        {
            "backbone_vit_tiny_patch16_224": {},
            "backbone_vit_small_patch16_224": {"model.backbone": "vit_small_patch16_224"},
            "backbone_vit_base_patch16_224": {"model.backbone": "vit_base_patch16_224"},
        },
        9,
    ),
    "where_to_condition": (
        {
            "bottleneck": {},
            "no_condition": {"model.site": "none"},
            "input": {"model.site": "input"},
            "film": {"model.site": "film"},
            "cross_attention": {"model.site": "cross_attention"},
        },
        50,
    ),
}
"""Suite -> its variants and what they change, and its number of trials."""


def test_the_six_suites_are_expected_here_and_the_page_has_no_other_examples():
    assert list(SUITES) == list(SIX)
    assert len(BLOCKS) == len(SUITES) + len(FRAGMENTS) + len(OWN)


@pytest.mark.parametrize("name", SIX)
def test_a_suite_of_the_page_is_short_and_plans_what_is_expected(write_suite, name):
    variants, trials = SIX[name]
    plan = plan_suite(write_suite(SUITES[name])).plan
    assert len(SUITES[name].splitlines()) <= LONGEST
    assert list(changes(plan).items()) == list(variants.items())
    assert len({trial.id for trial in plan.trials}) == len(plan.trials) == trials
    assert plan.notes == ()
    assert f" {trials} trials." in PAGE.partition(f"suite: {name}\n")[0].rpartition("\n### ")[2]


def test_the_examples_of_use_and_of_crossing_plan_what_is_expected(write_suite):
    used, crossed, terms = (plan_suite(write_suite(UNET + fragment)).plan for fragment in FRAGMENTS)
    assert changes(used) == {
        "skips": {},
        "no_skips": {"model.skips": False},
        "depth_2": {"model.depth": 2},
        "no_l1": {"loss.l1": None},
        "no_lab_l1": {"loss.lab_l1": None},
    }
    assert used.questions["loss_terms"] == "What does MSE need beside it?"
    assert changes(crossed) == {
        "depth_3": {},
        "depth_2": {"model.depth": 2},
        "depth_2,widths_x2": {"model.depth": 2, "model.widths": [16, 32, 64]},
        "widths_x2": {"model.widths": [16, 32, 64]},
    }
    assert changes(terms) == {
        "none": {},
        "no_skips": {"model.skips": False},
        "no_lab_l1": {"loss.lab_l1": None},
        "no_lab_l1,no_skips": {"loss.lab_l1": None, "model.skips": False},
    }


def test_the_ablation_of_ones_own_plans_what_is_expected(write_suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ablations").mkdir()
    (own,) = OWN
    (tmp_path / "ablations" / "hiding.yaml").write_text(own)
    path = write_suite(f"{UNET}vary: [{{use: hiding, with: {{often: 0.5}}}}]\n")
    assert changes(plan_suite(path).plan) == {
        "as_it_is": {},
        "crowded": {"data.overlap": 0.5},
        "filled": {"data.overlap": 0.5, "data.drawing": "grey"},
    }


def test_the_page_says_of_every_ablation_what_its_file_says():
    written = PAGE[PAGE.index(ablation_pages.BEGIN) :]
    assert written == f"{ablation_pages.sections()}\n", (
        "write it anew: python -m tests.support.ablation_pages"
    )

"""What the task colorization makes of a specification: parts that fit, models without data, folds."""

import numpy as np
import pytest
import torch

from harness.config import TrainConfig, TrialSpec
from harness.data.augment import HFlipConfig, Rot90Config, VFlipConfig
from harness.data.folds import parts
from harness.data.polygons import PolygonsConfig
from harness.losses.pixel import MSE
from harness.models.conditional_unet import ConditionalUNetConfig
from harness.tasks.colorization import Colorization
from harness.train.optimizers import AdamWConfig
from harness.train.sampler import training_labels
from harness.train.schedule import ConstantConfig


def make_spec(*, data=None, model=None, train=None, **rest):
    return TrialSpec(
        task="colorization",
        data=PolygonsConfig(**({"size": 32, "train_size": 60, "validation_size": 24} | (data or {}))),
        model=ConditionalUNetConfig(**({"widths": (8, 16), "layers": 1} | (model or {}))),
        loss={"mse": MSE.Config(weight=1.0)},
        optimizer=AdamWConfig(),
        schedule=ConstantConfig(),
        train=TrainConfig(**({"epochs": 1, "batch_size": 16} | (train or {}))),
        primary_metric="delta_e",
        perceptual_weights="random",
        **({"seed": 0} | rest),
    )


def mistakes(**changes):
    return [(mistake.path, mistake.message) for mistake in Colorization.check(make_spec(**changes))]


def create(cache, **changes):
    return Colorization.create(make_spec(**changes), cache=cache, device=torch.device("cpu"))


def test_square_pictures_may_be_turned_and_others_not():
    turned = {"augment": (HFlipConfig(), Rot90Config(), VFlipConfig())}
    assert mistakes(train=turned) == []
    assert mistakes(train=turned, data={"size": (32, 48)}) == [
        (
            ("train", "augment"),
            "rot90 needs square pictures, got 32 x 48; leave it out (hflip and vflip work at every size) "
            "or set data.size to one number",
        )
    ]


def test_other_shapes_may_be_mirrored():
    assert mistakes(train={"augment": (HFlipConfig(), VFlipConfig())}, data={"size": (32, 48)}) == []


def test_balance_names_a_kind_of_label():
    assert mistakes(train={"balance": "shape"}) == []
    assert mistakes(train={"balance": "color"}) == [
        (("train", "balance"), "the data has no label 'color'; did you mean 'colour'?")
    ]


def test_a_fold_needs_a_sample_at_least_and_a_place():
    assert mistakes(folds=60, fold=59) == []
    assert mistakes(folds=61, fold=0) == [
        (("data", "train_size"), "61 folds need at least 61 samples, got 60")
    ]
    assert mistakes(folds=3, fold=3) == [(("fold",), "expected 0 to 2 with 3 folds, got 3")]


@pytest.mark.parametrize("size", [(16, 64), (64, 16)])
def test_the_shorter_side_decides_what_fits(size):
    found = dict(mistakes(data={"size": size}, model={"widths": (8,) * 6}))
    assert found.keys() == {("model", "depth"), ("data", "size")}
    assert found["data", "size"] == "the metric lpips needs pictures of at least 31 pixels, got 16"


@pytest.mark.parametrize("channels", ["rgb", "grey"])
@pytest.mark.parametrize("mask", ["none", "binary", "rgb"])
def test_model_and_example_batch_are_those_of_the_trial(cache, channels, mask):
    changes = {"data": {"channels": channels, "mask": mask, "size": (32, 40)}}
    task = create(cache, **changes)
    real = task.train.batch([0, 1, 2])
    example = Colorization.example_batch(make_spec(**changes), 3)
    assert {key: (value.shape, value.dtype) for key, value in example.items()} == {
        key: (value.shape, value.dtype) for key, value in real.items()
    }
    model = Colorization.make_model(make_spec(**changes))
    assert task.predict(model, real).shape == (3, 3, 32, 40)
    shapes = {name: tensor.shape for name, tensor in task.model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes


def test_initial_weights_are_the_same_alone_and_in_a_trial(cache):
    torch.manual_seed(5)
    alone = Colorization.make_model(make_spec()).state_dict()
    torch.manual_seed(5)
    within = create(cache).model.state_dict()
    assert all(torch.equal(alone[name], within[name]) for name in alone)


def test_a_model_on_the_meta_device_needs_neither_data_nor_memory(monkeypatch):
    monkeypatch.setattr(
        "harness.data.polygons.Polygons.__init__", lambda *_: pytest.fail("data was asked for")
    )
    spec = make_spec(data={"mask": "rgb", "size": (48, 32)}, model={"widths": (4096, 4096, 4096)})
    with torch.device("meta"):
        model = Colorization.make_model(spec)
        batch = Colorization.example_batch(spec, 4)
        prediction = model(batch["image"], batch["colour"])
    assert prediction.shape == (4, 3, 48, 32)
    assert {tensor.device.type for tensor in (prediction, *model.state_dict().values())} == {"meta"}


def test_a_grey_input_is_shown_in_the_same_strip_form(cache):
    pictures = create(cache, data={"channels": "grey", "mask": "rgb"}).fixed_pictures()
    assert pictures.keys() == {"input", "target"}
    assert all(png.startswith(b"\x89PNG") for png in pictures.values())


@pytest.mark.parametrize("fold", [0, 2])
def test_a_fold_validates_on_its_part_of_the_training_split_and_trains_on_the_rest(cache, fold):
    whole = create(cache)
    task = create(cache, folds=3, fold=fold)
    part = parts(60, 3)[fold]
    validated = task.validation.batch(range(len(task.validation)))
    assert validated["index"].tolist() == part.tolist()
    torch.testing.assert_close(validated, whole.train.batch(part.tolist()), rtol=0, atol=0)
    trained = task.train.batch(range(len(task.train)))["index"].tolist()
    assert sorted(trained + part.tolist()) == list(range(60))
    assert task.fixed_pictures() != whole.fixed_pictures()


def test_folds_do_not_depend_on_the_seed_of_the_trial(cache):
    first, other = create(cache, folds=3, fold=1), create(cache, folds=3, fold=1, seed=7)
    np.testing.assert_array_equal(first.train.indices, other.train.indices)


@pytest.mark.parametrize("fold", [{}, {"folds": 3, "fold": 1}])
def test_labels_to_balance_are_those_of_the_samples_trained_on(cache, fold):
    task = create(cache, data={"train_size": 300}, **fold)
    for kind in ("colour", "background"):
        expected = task.train.batch(range(len(task.train)))[kind]
        assert training_labels(task, kind).tolist() == expected.tolist()

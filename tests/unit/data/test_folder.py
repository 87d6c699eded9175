import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from harness.data.folder import Folder, FolderConfig
from harness.data.labels import label_names
from harness.data.pairs import resized, shape_name
from harness.data.regions import find_regions
from harness.errors import HarnessError
from harness.planning.build import plan_suite
from harness.registry import registry
from harness.specify import respecify, specify
from harness.train.trial import run_trial
from harness.validation import Mistakes
from tests.support.memory_sink import MemorySink
from tests.support.written_pairs import (
    PUBLISHED,
    RGB,
    SIDE,
    TRAINING,
    filled,
    outline,
    region,
    rewrite,
    rows_of,
    write_pairs,
)

torch.set_num_threads(1)
published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"the published pairs are no part of the project, and not in {PUBLISHED}"
)
BASE = {
    "model": {"name": "conditional_unet", "widths": [8, 16], "layers": 1},
    "loss": {"mse": 1.0},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "train": {"epochs": 1, "batch_size": 4, "augment": ["affine", "background", "colour_jitter"]},
    "perceptual_weights": "random",
}
SUITE = """\
suite: pairs
task: colorization
primary_metric: delta_e
base:
  data: {name: folder, path: %s, size: 32, on_error: skip}
  model: {name: conditional_unet, widths: [8, 16], layers: 1}
  loss: {mse: 1.0}
  optimizer: {name: adamw, lr: 1e-3}
  train: {epochs: 1, batch_size: 4}
seeds: 1
"""


@pytest.fixture
def root(tmp_path):
    return write_pairs(tmp_path / "pairs")


def config(root, **settings):
    return FolderConfig(**{"path": str(root), "size": SIDE} | settings)


def spec(root, **settings):
    data = {"name": "folder", "path": str(root), "size": 32} | settings
    return specify({**BASE, "data": data}, task="colorization", primary_metric="delta_e", seed=0)


def refusal(root, **settings):
    with pytest.raises(Mistakes) as caught:
        spec(root, **settings)
    return str(caught.value)


def test_batches_hold_what_the_files_show(root, cache):
    data = Folder(config(root), cache)
    names = label_names(data, data.config)
    assert names == {"colour": ("blue", "green", "red"), "shape": ("diamond", "square", "triangle")}
    seen = []
    for split, size in (("train", 9), ("validation", 2)):
        batch = data.split(split).batch(range(size))
        for row in range(size):
            colour, shape = names["colour"][batch["colour"][row]], names["shape"][batch["shape"][row]]
            for key, picture in (("image", outline(shape)), ("target", filled(shape, colour))):
                assert np.array_equal(batch[key][row] * 255, np.asarray(picture).transpose(2, 0, 1)), key
            assert np.array_equal(batch["mask"][row, 0], region(shape))
            seen.append((shape, colour))
    assert sorted(seen[:9]) == sorted(TRAINING) and sorted(seen[9:]) == [
        ("square", "blue"),
        ("triangle", "red"),
    ]
    assert (data.palette * 255).tolist() == [list(RGB[name]) for name in names["colour"]]


def test_smaller_pictures_are_antialiased_and_the_mask_is_a_share(root, cache):
    batch = Folder(config(root, size=(24, 16)), cache).split("train").batch(range(9))
    assert batch["image"].shape == (9, 3, 24, 16) and batch["mask"].shape == (9, 1, 24, 16)
    square = batch["mask"][batch["shape"] == 1][0, 0]
    assert square.mean() == pytest.approx(region("square").mean(), rel=0.02)
    assert ((square > 0.1) & (square < 0.9)).sum() > 10


def test_resizing_down_by_a_whole_factor_keeps_the_mean():
    picture = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    smaller = resized(picture, (16, 16))
    assert smaller.shape == (3, 16, 16)
    assert smaller.mean() == pytest.approx(picture.mean(), abs=1)
    assert smaller.std() < 0.5 * picture.std()


def test_sets_are_as_large_as_asked_for_or_as_all_there_is(root, cache):
    small, whole = config(root, train_size=4), config(root, train_size=8192, validation_size=1)
    assert (small.train_size, small.validation_size) == (4, 2)
    assert (whole.train_size, whole.validation_size) == (9, 1)
    few, all_ = (Folder(one, cache).split("train") for one in (small, whole))
    assert len(few) == 4
    torch.testing.assert_close(few.batch(range(4)), all_.batch(range(4)), rtol=0, atol=0)
    assert (
        spec(root, train_size=9).trial_id() == spec(root).trial_id() == spec(root, train_size=500).trial_id()
    )


@pytest.mark.parametrize(
    ("mask", "drawing", "channels"), [("rgb", "outline", "rgb"), ("binary", "grey", "grey")]
)
def test_extra_channels_and_drawings_come_from_comparing_the_pictures(root, cache, mask, drawing, channels):
    settings = config(root, mask=mask, drawing=drawing, channels=channels)
    batch = Folder(settings, cache).split("train").batch(range(9))
    picture = Folder.picture_channels(settings)
    assert batch["image"].shape[1] == Folder.image_channels(settings) == {"rgb": 6, "binary": 2}[mask]
    torch.testing.assert_close(batch["image"][:, picture : picture + 1], batch["mask"], rtol=0, atol=0)
    for row in range(9):
        shape = ("diamond", "square", "triangle")[batch["shape"][row]]
        ink = np.asarray(outline(shape).convert("L")) < 128
        if mask == "rgb":
            assert np.array_equal(batch["image"][row, 4] > 0, ink)
            assert not batch["image"][row, 5].any()
        else:
            grey = batch["image"][row, 0] * 255
            assert (grey[torch.from_numpy(region(shape) & ~ink)] == 128).all() and (grey[ink] == 0).all()


def test_lines_that_do_not_touch_the_fill_are_other_things():
    given = np.asarray(outline("square")).copy()
    given[2:5, 2:9] = 0
    wanted = np.where(region("square")[..., None], np.uint8((255, 0, 0)), given)
    found = find_regions(given, wanted, 32)
    apart = np.zeros_like(found.other)
    apart[2:5, 2:9] = True
    assert np.array_equal(found.other, apart) and np.array_equal(found.filled, region("square"))


def test_traces_of_compression_are_no_fill(tmp_path, cache):
    root = write_pairs(tmp_path / "jpg", key="color", suffix=".jpg")
    data = Folder(config(root), cache)
    batch = data.split("train").batch(range(9))
    for row in range(9):
        shape = ("diamond", "square", "triangle")[batch["shape"][row]]
        wrong = (batch["mask"][row, 0].bool().numpy() != region(shape)) & ~ndimage.binary_dilation(
            region(shape), iterations=4
        )
        assert not wrong.any()
    expected = torch.tensor([RGB[name] for name in data.config.words])
    assert (data.palette * 255 - expected).abs().max() <= 6


WRONG = {
    "no file": (
        lambda root: (root / "training/outputs/red_square.png").unlink(),
        "red_square.png is not there",
    ),
    "no picture": (lambda root: (root / "training/outputs/red_square.png").write_text("x"), "not a picture"),
    "half a picture": (
        lambda root: cut(root / "training/outputs/red_square.png"),
        "a picture cannot be read",
    ),
    "other size": (
        lambda root: filled("square", "red", 40).save(root / "training/outputs/red_square.png"),
        "the input has 48 x 48 pixels, the output 40 x 40",
    ),
    "nothing filled": (
        lambda root: outline("square").save(root / "training/outputs/red_square.png"),
        "nothing is filled",
    ),
    "no key": (lambda root: rewrite(root, lambda rows: rows[0].pop("colour")), "'colour' is missing"),
    "no text": (
        lambda root: rewrite(root, lambda rows: rows[0].update(colour=3)),
        "'colour' should be a text",
    ),
    "no pair": (lambda root: rewrite(root, lambda rows: rows.__setitem__(0, "red")), "should be a mapping"),
    "outside": (
        lambda root: rewrite(root, lambda rows: rows[0].update(output_image="../../other.png")),
        "leads out of the folder",
    ),
}


def cut(file):
    file.write_bytes(file.read_bytes()[:90])


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_pair_is_named_and_refused_or_skipped_with_a_note(root, cache, wrong):
    spoil, reason = WRONG[wrong]
    spoil(root)
    told = refusal(root)
    assert "1 of 11 pairs cannot be used (training/data.json entry 1" in told
    assert reason in told and "set on_error to skip" in told
    rest = config(root, on_error="skip")
    assert (rest.train_size, rest.validation_size) == (8, 2)
    assert len(rest.notes()) == 1 and reason in rest.notes()[0] and "1 of 11" in rest.notes()[0]
    assert len(Folder(rest, cache).split("train")) == 8


def test_what_is_left_out_stands_in_the_notes_of_the_plan(root, write_suite):
    WRONG["no file"][0](root)
    notes = plan_suite(write_suite(SUITE % root)).plan.notes
    assert len(notes) == 1 and "left out, 1 of 11 pairs" in notes[0]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda root: shutil.rmtree(root / "validation"), "there is no folder"),
        (lambda root: (root / "training/data.json").unlink(), "data.json is not there"),
        (lambda root: (root / "training/data.json").write_text("[{"), "data.json is no JSON"),
        (lambda root: (root / "training/data.json").write_text("{}"), "should be a list of pairs"),
        (lambda root: (root / "validation/data.json").write_text("[]"), "no pair of the validation split"),
    ],
)
def test_a_folder_that_is_none_is_refused_also_where_pairs_are_skipped(root, spoil, reason):
    spoil(root)
    assert reason in refusal(root, on_error="skip")


def test_colours_are_a_list_or_a_number_and_other_words_are_faults(root):
    assert config(root).words == ("blue", "green", "red")
    assert config(root, colours=2).words == ("blue", "green")
    assert "pairs of 1 colours are left out: red" in config(root, colours=2).notes()[0]
    assert config(root, colours=("red", "green", "blue")).words == ("red", "green", "blue")
    told = refusal(root, colours=["red", "blue", "greeen"])
    assert "'green' is none of the colours; did you mean 'greeen'?" in told and "3 of 11" in told
    assert "no pair has the colour 'mauve'" in refusal(root, colours=["red", "blue", "green", "mauve"])
    assert config(root, colours=("red", "blue"), on_error="skip").train_size == 6


def test_a_colour_of_the_validation_alone_is_noted(tmp_path, cache):
    root = write_pairs(tmp_path / "pairs", validation=[("square", "purple")])
    settings = config(root)
    assert settings.words[-1] == "purple" and "does not show: purple" in settings.notes()[0]
    assert (Folder(settings, cache).palette[-1] * 255).tolist() == list(RGB["purple"])


def test_identity_is_the_content_and_not_the_place(root, tmp_path):
    elsewhere = shutil.copytree(root, tmp_path / "elsewhere" / "copy")
    (elsewhere / "training").rename(elsewhere / "train")
    rewrite(elsewhere, lambda rows: rows[0].update(color=rows[0].pop("colour")), split="train")
    first, second = spec(root), spec(elsewhere, training="train", on_error="skip")
    assert first.data.path != second.data.path
    assert first.trial_id() == second.trial_id()
    picture = filled("square", "red")
    picture.putpixel((24, 24), (250, 0, 0))
    picture.save(elsewhere / "train/outputs/red_square.png")
    assert spec(elsewhere, training="train").trial_id() != first.trial_id()


def test_a_planned_trial_carries_the_place_and_needs_it_only_for_what_is_not_cached(root, tmp_path):
    planned = spec(root)
    written = json.loads(planned.model_dump_json())
    assert written["data"]["path"] == str(root) and "path" not in planned.identity()["data"]
    Folder(planned.data, tmp_path / "cache")
    root.rename(tmp_path / "gone")
    again = respecify(written)
    assert again.trial_id() == planned.trial_id()
    assert len(Folder(again.data, tmp_path / "cache").split("train")) == 9
    with pytest.raises(HarnessError, match="there is no folder"):
        Folder(again.data, tmp_path / "other cache")


def test_pictures_that_changed_after_the_plan_are_refused(root, tmp_path):
    planned = spec(root)
    filled("triangle", "purple").save(root / "training/outputs/red_square.png")
    with pytest.raises(HarnessError, match="has changed since the suite was planned"):
        Folder(planned.data, tmp_path / "cache")
    assert "has changed: expected content" in refusal(root, content=planned.data.content)


def test_a_path_is_taken_from_the_project(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    assert config("pairs").content == config(root).content
    assert config("pairs").path == "pairs"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"size": 8}, "sides should be 16 to 1024 pixels"),
        ({"colours": ["red"]}, "at least 2 colours"),
        ({"colours": ["red", "blue", "red"]}, "each colour once"),
        ({"tolerance": 255}, "254"),
        ({"on_error": "ignore"}, "refuse"),
    ],
)
def test_settings_that_make_no_sense_are_refused(root, settings, reason):
    assert reason in refusal(root, **settings)


@pytest.mark.parametrize(
    ("file", "shape"),
    [
        ("octagon.png", "octagon"),
        ("star_07.png", "star"),
        ("a/big-star-12.jpg", "big-star"),
        ("12.png", "12"),
    ],
)
def test_shapes_are_named_by_the_files_of_inputs(file, shape):
    assert shape_name(file) == shape


def test_transparent_pictures_lie_on_white(root, cache):
    before = Folder(config(root), cache).split("train").batch(range(9))
    for file in (root / "training").glob("*/*.png"):
        colours = np.asarray(Image.open(file).convert("RGB"))
        alpha = np.where((colours == 255).all(axis=2), 0, 255).astype(np.uint8)[..., None]
        Image.fromarray(np.concatenate([colours * (alpha > 0), alpha], axis=2)).save(file)
    after = Folder(config(root), cache).split("train").batch(range(9))
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_a_trial_trains_on_pairs(root, cache, tmp_path):
    sink = MemorySink(tmp_path)
    run_trial(spec(root, mask="rgb"), sink, cache=cache, threads=1)
    labels = {row["label"] for row in sink.metrics if row["metric"] == "delta_e"}
    assert {"colour=red", "colour=blue", "shape=square", "shape=triangle", None} <= labels


@published
def test_the_published_pairs_are_read_whole(cache):
    data = Folder(config(PUBLISHED, size=128), cache)
    names = label_names(data, data.config)
    assert len(data.split("train")) == 56 and len(data.split("validation")) == 5 and data.config.notes() == ()
    assert set(names["shape"]) == {
        "circle", "diamond", "hexagon", "octagon", "pentagon", "square", "star", "triangle",
    }  # fmt: skip
    measured = dict(zip(names["colour"], (data.palette * 255).tolist(), strict=True))
    assert measured == {
        "red": [255, 0, 0], "green": [0, 255, 0], "blue": [0, 0, 255], "yellow": [255, 255, 0],
        "cyan": [0, 255, 255], "magenta": [255, 0, 255], "orange": [255, 165, 0], "purple": [128, 0, 128],
    }  # fmt: skip
    batch = data.split("train").batch(range(56))
    assert torch.equal(batch["mask"][:, 0].bool(), (batch["image"] != batch["target"]).any(dim=1))


@published
def test_the_main_study_plans_on_the_published_pairs_by_an_override_alone():
    data = f"base.data={{name: folder, path: {PUBLISHED}, size: 32}}"
    plan = plan_suite("colorization_losses", profile="smoke", overrides=[data]).plan
    assert {trial.spec["data"]["train_size"] for trial in plan.trials} == {56}
    assert registry.load("data", "folder") is Folder and len(rows_of(PUBLISHED)) == 56

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.stats import chisquare

from harness.canonical import content_hash
from harness.data import palette
from harness.data.labels import label_names
from harness.data.polygons import ARRAYS, Polygons, PolygonsConfig
from harness.errors import HarnessError
from harness.registry import registry

torch.set_num_threads(1)


def make(cache, **settings):
    settings = {"size": 32, "train_size": 30, "validation_size": 24} | settings
    return Polygons(PolygonsConfig(**settings), cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_is_registered():
    assert registry.load("data", "polygons") is Polygons


@pytest.mark.parametrize("size", [32, (24, 40)])
@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        ({}, 3),
        ({"mask": "binary"}, 4),
        ({"mask": "rgb"}, 6),
        ({"channels": "grey"}, 1),
        ({"channels": "grey", "mask": "rgb"}, 4),
    ],
)
def test_batch_has_the_documented_shapes_and_ranges(cache, size, settings, channels):
    data = make(cache, size=size, **settings)
    batch = data.split("train").batch([4, 0, 29])
    height, width = data.config.size
    assert Polygons.image_channels(data.config) == channels
    assert {key: tuple(value.shape) for key, value in batch.items()} == {
        "image": (3, channels, height, width),
        "target": (3, 3, height, width),
        "mask": (3, 1, height, width),
        "other": (3, 1, height, width),
        "colour": (3,),
        "shape": (3,),
        "background": (3,),
        "overlap": (3,),
        "border": (3,),
        "index": (3,),
    }
    for key, value in batch.items():
        assert value.dtype == (torch.float32 if value.dim() == 4 else torch.int64), key
    for key in ("image", "target", "mask"):
        assert batch[key].min() >= 0 and 0.9 < batch[key].max() <= 1
    assert batch["index"].tolist() == [4, 0, 29]


def test_splits_have_the_sizes_asked_for(cache):
    data = make(cache)
    assert (len(data.split("train")), len(data.split("validation"))) == (30, 24)
    with pytest.raises(IndexError):
        data.split("validation").batch([24])


def test_batch_does_not_depend_on_order_or_company(cache):
    split = make(cache).split("train")
    whole = split.batch(np.arange(30))
    some = split.batch([7, 3])
    for key, value in some.items():
        torch.testing.assert_close(value, whole[key][[7, 3]], rtol=0, atol=0)


def test_writing_into_a_batch_leaves_the_data_as_it_is(cache):
    split = make(cache).split("train")
    before = split.batch([0])
    spoilt = split.batch([0])
    for value in spoilt.values():
        value.zero_()
    torch.testing.assert_close(split.batch([0]), before, rtol=0, atol=0)


def test_filled_pixels_have_the_named_colour(cache):
    data = make(cache)
    batch = data.split("validation").batch(range(24))
    assert data.palette.shape == (24, 3)
    for target, mask, colour in zip(batch["target"], batch["mask"], batch["colour"], strict=True):
        filled = target[:, mask[0] == 1]
        assert filled.shape[1] > 3
        torch.testing.assert_close(filled, data.palette[colour][:, None].expand_as(filled))


def test_a_larger_set_begins_with_the_smaller_one(cache):
    small = make(cache).split("train").batch(range(30))
    large = make(cache, train_size=40).split("train").batch(range(30))
    torch.testing.assert_close(small, large, rtol=0, atol=0)


def test_pictures_depend_on_the_seed_and_the_split(cache):
    first = make(cache).split("train").batch(range(24))
    for other in (make(cache, seed=1).split("train"), make(cache).split("validation")):
        assert (other.batch(range(24))["image"] != first["image"]).flatten(1).any(dim=1).all()


def test_scenes_are_the_same_at_every_size(cache):
    small = make(cache, size=32).split("train").batch(range(30))
    large = make(cache, size=64).split("train").batch(range(30))
    for label in ("colour", "shape", "background"):
        assert torch.equal(small[label], large[label])
    difference = F.avg_pool2d(large["mask"], 2) - small["mask"]
    assert difference.abs().mean() < 0.01


def test_scenes_of_pictures_that_are_not_square_are_those_of_square_ones_stretched(cache):
    square = make(cache, size=32).split("train").batch(range(30))
    wide = make(cache, size=(32, 96)).split("train").batch(range(30))
    for label in ("colour", "shape", "background"):
        assert torch.equal(square[label], wide[label])
    difference = F.avg_pool2d(wide["mask"], (1, 3)) - square["mask"]
    assert difference.abs().mean() < 0.01


def test_a_square_size_is_written_as_one_number(cache):
    assert PolygonsConfig(size=(32, 32)) == PolygonsConfig(size=32)
    assert PolygonsConfig(size=32).model_dump(mode="json")["size"] == 32
    assert PolygonsConfig(size=(32, 48)).model_dump(mode="json")["size"] == [32, 48]


def test_validation_has_every_colour_equally_often(cache):
    colours = make(cache, validation_size=72).split("validation").batch(range(72))["colour"]
    assert torch.bincount(colours, minlength=24).tolist() == [3] * 24


def test_training_colours_follow_the_stated_frequencies(cache):
    count = 2000
    colours = make(cache, size=16, train_size=count).split("train").batch(range(count))["colour"]
    counts = np.bincount(colours, minlength=24)
    expected = palette.training_frequencies() * count
    assert chisquare(counts, expected).pvalue > 0.001
    assert counts[0] > 20 * max(counts[-1], 1)


def test_labels_are_named(cache):
    data = make(cache, backgrounds=["noisy_black"])
    names = label_names(data, data.config)
    assert len(names["colour"]) == len(data.palette)
    assert {"triangle", "square", "star", "circle", "irregular"} < set(names["shape"])
    backgrounds = data.split("train").batch(range(30))["background"]
    assert {names["background"][kind] for kind in backgrounds} == {"noisy_black"}


def test_overlap_and_border_are_labels_where_both_values_occur(cache):
    data = make(cache, overlap=0.5, edge=0.5)
    batch, names = data.split("train").batch(range(30)), label_names(data, data.config)
    assert names["overlap"] == ("alone", "overlapping") and names["border"] == ("inside", "crossing")
    hidden = batch["other"].flatten(1).any(dim=1)
    assert torch.equal(batch["overlap"], hidden.long()) and 0 < hidden.sum() < 30
    rim = torch.ones(32, 32, dtype=torch.bool)
    rim[1:-1, 1:-1] = False
    assert torch.equal(batch["border"], (batch["mask"][:, 0, rim] > 0).any(dim=1).long())
    assert set(label_names(data, PolygonsConfig(overlap=0, edge=1))) == {"colour", "shape", "background"}


def test_other_is_what_the_polygon_behind_shows_of_itself(cache):
    batch = make(cache, overlap=1, mask="rgb").split("train").batch(range(30))
    torch.testing.assert_close(batch["other"], batch["image"][:, 5:6], rtol=0, atol=0)
    assert (batch["other"] + batch["mask"]).max() <= 1 + 1 / 255
    assert (make(cache, overlap=0).split("train").batch(range(30))["other"] == 0).all()


def test_fewer_colours_are_the_most_frequent_ones(cache):
    data = make(cache, colours=8, train_size=1500)
    assert label_names(data, data.config)["colour"] == palette.NAMES[:8] and len(data.palette) == 8
    counts = np.bincount(data.split("train").batch(range(1500))["colour"], minlength=8)
    frequencies = palette.training_frequencies()[:8]
    assert chisquare(counts, 1500 * frequencies / frequencies.sum()).pvalue > 0.001
    assert data.split("validation").batch(range(24))["colour"].tolist() == list(range(8)) * 3
    assert "colours" not in PolygonsConfig(colours=24).model_dump() and PolygonsConfig().colours == 24


def test_probabilities_of_overlap_and_edge_are_obeyed(cache):
    def others(**settings):
        image = make(cache, mask="rgb", **settings).split("train").batch(range(30))["image"]
        return image[:, 5].flatten(1).any(dim=1)

    assert others(overlap=1.0).all()
    assert not others(overlap=0.0).any()

    def cut(**settings):
        image = make(cache, mask="rgb", overlap=0.0, **settings).split("train").batch(range(30))["image"]
        border = torch.ones(32, 32, dtype=torch.bool)
        border[1:-1, 1:-1] = False
        return image[:, 3:5].sum(dim=1)[:, border].any(dim=1)

    assert cut(edge=1.0).all()
    assert not cut(edge=0.0).any()


def test_files_lie_under_the_hash_of_the_settings_and_are_reused(tmp_path):
    config = PolygonsConfig(size=16, train_size=4, validation_size=4)
    Polygons(config, tmp_path)
    folder = tmp_path / content_hash({**config.model_dump(mode="json"), "arrays": ARRAYS})
    written = (folder / "train" / "image.npy").stat()
    Polygons(config, tmp_path)
    again = (folder / "train" / "image.npy").stat()
    assert (again.st_ino, again.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_damaged_files_are_refused(tmp_path):
    config = PolygonsConfig(size=16, train_size=4, validation_size=4)
    Polygons(config, tmp_path)
    (image,) = tmp_path.glob("*/train/image.npy")
    image.write_bytes(image.read_bytes()[:-100])
    with pytest.raises(HarnessError, match="damaged"):
        Polygons(config, tmp_path)


def test_split_travels_to_another_process_without_its_pictures(cache):
    split = make(cache).split("train")
    packed = pickle.dumps(split)
    assert len(packed) < 1000
    torch.testing.assert_close(pickle.loads(packed).batch([5]), split.batch([5]), rtol=0, atol=0)


def test_version_is_part_of_the_settings():
    assert PolygonsConfig().model_dump(mode="json")["version"] == Polygons.VERSION == 1


def test_order_of_backgrounds_does_not_matter():
    one = PolygonsConfig(backgrounds=("noisy_black", "white"))
    other = PolygonsConfig(backgrounds=("white", "noisy_black"))
    assert one == other


@pytest.mark.parametrize(
    "settings",
    [
        {"backgrounds": ()},
        {"backgrounds": ("white", "white")},
        {"backgrounds": ("striped",)},
        {"overlap": 1.5},
        {"size": 8},
        {"size": (64, 8)},
        {"size": (513, 64)},
        {"size": (64, 64, 64)},
        {"channels": "lab"},
        {"train_size": 0},
        {"colour": "red"},
    ],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        PolygonsConfig(**settings)


def test_pictures_of_version_1_have_not_changed(cache):
    """If this fails, the pictures changed: raise `version`, so that old trials are not reused."""
    batch = make(cache).split("train").batch(range(4))
    labels = [batch[label].tolist() for label in ("colour", "shape", "background")]
    assert labels == GOLDEN_LABELS
    assert batch["image"].mean(dim=(1, 2, 3)).tolist() == pytest.approx(GOLDEN_IMAGE, abs=0.004)
    assert batch["target"].mean(dim=(1, 2, 3)).tolist() == pytest.approx(GOLDEN_TARGET, abs=0.004)


GOLDEN_LABELS = [[2, 1, 0, 0], [8, 3, 2, 3], [2, 2, 0, 1]]
GOLDEN_IMAGE = [0.154, 0.161, 0.938, 0.852]
GOLDEN_TARGET = [0.168, 0.191, 0.798, 0.797]

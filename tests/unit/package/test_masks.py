"""The mask channels of a picture: by hand, and against those that training gave."""

import numpy as np
import pytest

from harness.data.polygons import PolygonsConfig, draw_samples
from harness.errors import HarnessError
from harness.package.masks import mask_channels
from tests.support.packages import outlined_square, pixels


def channels(file, kind):
    return mask_channels(pixels(file).transpose(2, 0, 1), kind)


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 20), (40, 220)])
def test_the_inside_of_a_square_is_the_area_and_its_line_the_outline(tmp_path, ink, paper):
    found, note = channels(outlined_square(tmp_path / "a.png", ink=ink, paper=paper), "rgb")
    area, line = np.zeros((32, 40), bool), np.zeros((32, 40), bool)
    area[9:23, 9:23] = True
    line[7:25, 7:25] = True
    line[9:23, 9:23] = False
    assert (found[0] == 255 * area).all()
    assert (found[1] == 255 * line).all()
    assert not found[2].any()
    assert note is None


def test_binary_is_the_area_alone_and_none_is_nothing(tmp_path):
    file = outlined_square(tmp_path / "a.png")
    assert (channels(file, "binary")[0] == channels(file, "rgb")[0][:1]).all()
    assert channels(file, "none")[0].shape == (0, 32, 40)


def test_of_two_areas_the_largest_is_filled_and_the_other_one_told(tmp_path):
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((4, 4, 20, 20), outline="black", width=2)
    pen.rectangle((28, 28, 60, 60), outline="black", width=2)
    found, note = mask_channels(np.asarray(picture).transpose(2, 0, 1), "rgb")
    assert found[0][30:59, 30:59].min() == 255
    assert found[0][:24, :24].max() == 0
    assert found[2][4:21, 4:21].min() == 255
    assert note == "the largest of 2 closed areas is the one to fill"


@pytest.mark.parametrize("kind", ["blank", "open"])
def test_a_picture_without_a_closed_outline_is_refused(kind):
    picture = np.full((3, 32, 32), 255, np.uint8)
    if kind == "open":
        picture[:, 16, 4:20] = 0
    with pytest.raises(HarnessError, match="no closed outline"):
        mask_channels(picture, "binary")


@pytest.mark.parametrize("drawing", ["outline", "grey"])
@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_it_equals_the_mask_of_training_where_a_polygon_stands_alone(drawing, edge):
    config = PolygonsConfig(size=(64, 64), drawing=drawing, mask="rgb", overlap=0, edge=edge)
    errors, shares = [], []
    for sample in draw_samples(config, "validation", 60):
        found, _ = mask_channels(sample["image"][:3], "rgb")
        wanted = sample["image"][3:]
        errors.append(np.abs(found.astype(float) - wanted).mean(axis=(1, 2)) / 255)
        filled, drawn = found[0] > 127, wanted[0] > 127
        shares.append((filled & drawn).sum() / (filled | drawn).sum())
    assert np.mean(errors, axis=0).max() < 0.002
    assert min(shares) > 0.9

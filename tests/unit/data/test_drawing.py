import numpy as np
import pytest
from PIL import Image

from harness.data.drawing import BEHIND, FRONT, FRONT_LINE, coverage, draw
from harness.data.scene import Scene

RED = (220, 30, 40)
SIZES = (32, 48, 64)


def rectangle(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


FRONT_SQUARE = rectangle(0.25, 0.25, 0.75, 0.75)
BEHIND_SQUARE = rectangle(0.5, 0.5, 0.95, 0.95)


def make_scene(background="white", behind=None, paper=(255, 255, 255)):
    return Scene(shape=1, front=FRONT_SQUARE, behind=behind, background=background, paper=paper)


def picture(scene, size=(64, 64), drawing="outline", channels="rgb", mask="none", seed=0):
    rng = np.random.default_rng(seed)
    return draw(scene, RED, size=size, drawing=drawing, channels=channels, mask=mask, rng=rng)


@pytest.mark.parametrize("size", SIZES)
def test_layers_share_every_pixel(size):
    shares = coverage(make_scene(behind=BEHIND_SQUARE), (size, size))
    assert shares.shape == (5, size, size)
    assert shares.sum(axis=0) == pytest.approx(np.ones((size, size)))


@pytest.mark.parametrize("size", SIZES)
def test_line_width_is_in_proportion_to_the_size(size):
    shares = coverage(make_scene(), (size, size))
    perimeter, width = 2.0, 1 / 32
    assert shares[FRONT_LINE].mean() == pytest.approx(perimeter * width, rel=0.15)
    assert shares[FRONT].mean() == pytest.approx((0.5 - width) ** 2, rel=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_polygon_is_drawn_where_its_vertices_say(size):
    shares = coverage(make_scene(), (size, size))[FRONT]
    centres = (np.arange(size) + 0.5) / size
    assert (shares.sum(axis=0) @ centres) / shares.sum() == pytest.approx(0.5, abs=0.25 / size)
    assert (shares.sum(axis=1) @ centres) / shares.sum() == pytest.approx(0.5, abs=0.25 / size)


def test_slanted_edges_are_antialiased():
    diamond = np.array([[0.5, 0.1], [0.9, 0.5], [0.5, 0.9], [0.1, 0.5]])
    scene = Scene(1, diamond, None, "white", (255, 255, 255))
    shares = coverage(scene, (32, 32))[FRONT]
    assert ((shares > 0) & (shares < 1)).sum() > 20


@pytest.mark.parametrize(("drawing", "inside"), [("outline", 255), ("grey", 128)])
def test_input_shows_an_outline_or_a_grey_shape(drawing, inside):
    drawn = picture(make_scene(), drawing=drawing)
    assert (drawn.image[:, 32, 32] == inside).all()
    assert (drawn.image[:, 16, 32] == 0).all(), "black line on white"
    assert (drawn.image[:, 4, 4] == 255).all()


@pytest.mark.parametrize("drawing", ["outline", "grey"])
@pytest.mark.parametrize("background", ["white", "coloured", "noisy_black"])
def test_target_is_the_input_with_the_front_polygon_filled(background, drawing):
    drawn = picture(make_scene(background, BEHIND_SQUARE, paper=(240, 220, 200)), drawing=drawing)
    full, none = drawn.mask[0] == 255, drawn.mask[0] == 0
    assert full.sum() > 500
    assert (drawn.target[:, full] == np.array(RED)[:, None]).all()
    np.testing.assert_array_equal(drawn.target[:, none], drawn.image[:, none])


def test_frontmost_polygon_is_filled_and_hides_the_other():
    drawn = picture(make_scene(behind=BEHIND_SQUARE), mask="rgb")
    overlap, other_alone = (40, 40), (54, 54)
    assert tuple(drawn.target[:, *overlap]) == RED
    assert (drawn.image[:3, *overlap] == 255).all()
    assert (drawn.target[:, *other_alone] == 255).all(), "the other stays uncoloured"
    hidden_corner, visible_edge = (32, 40), (60, 54)
    assert (drawn.image[:3, *hidden_corner] == 255).all(), "its line ends where the front begins"
    assert (drawn.image[:3, *visible_edge] == 0).all()


def test_other_polygon_stays_grey_where_the_input_shows_it_grey():
    drawn = picture(make_scene(behind=BEHIND_SQUARE), drawing="grey")
    assert (drawn.target[:, 54, 54] == 128).all()
    assert (drawn.image[:, 54, 54] == 128).all()


def test_noise_is_dark_coloured_and_a_function_of_the_generator():
    drawn = picture(make_scene("noisy_black", paper=(0, 0, 0)))
    corner = drawn.image[:, :12, :12]
    assert corner.max() < 64
    assert corner.std() == pytest.approx(64 / np.sqrt(12), rel=0.1), "uniform"
    assert (drawn.image[:, 16, 32] == 255).all(), "white line on black"
    np.testing.assert_array_equal(drawn.image, picture(make_scene("noisy_black", paper=(0, 0, 0))).image)
    assert (drawn.image != picture(make_scene("noisy_black", paper=(0, 0, 0)), seed=1).image).any()


def test_rgb_mask_tells_fill_outline_and_other_apart():
    drawn = picture(make_scene(behind=BEHIND_SQUARE), mask="rgb")
    fill, outline, other = drawn.image[3:]
    np.testing.assert_array_equal(fill, drawn.mask[0])
    assert (fill[32, 32], outline[32, 32], other[32, 32]) == (255, 0, 0)
    assert (fill[16, 32], outline[16, 32], other[16, 32]) == (0, 255, 0)
    assert (fill[54, 54], outline[54, 54], other[54, 54]) == (0, 0, 255)
    assert (fill[40, 40], outline[40, 40], other[40, 40]) == (255, 0, 0)


def test_binary_mask_is_the_area_to_fill_and_none_adds_nothing():
    scene = make_scene(behind=BEHIND_SQUARE)
    binary = picture(scene, mask="binary")
    assert binary.image.shape == (4, 64, 64)
    np.testing.assert_array_equal(binary.image[3], binary.mask[0])
    np.testing.assert_array_equal(binary.image[:3], picture(scene).image)


def test_behind_is_empty_without_a_second_polygon():
    assert coverage(make_scene(), (32, 32))[BEHIND].sum() == 0


@pytest.mark.parametrize("size", [(32, 64), (64, 32), (48, 20)])
def test_the_scene_is_stretched_over_a_picture_that_is_not_square(size):
    shares = coverage(make_scene(behind=BEHIND_SQUARE), size)
    assert shares.shape == (5, *size)
    assert shares.sum(axis=0) == pytest.approx(np.ones(size))
    shown = shares[FRONT] + shares[FRONT_LINE]
    for axis, side in ((1, size[0]), (0, size[1])):
        centres = (np.arange(side) + 0.5) / side
        assert (shown.sum(axis=axis) @ centres) / shown.sum() == pytest.approx(0.5, abs=0.25 / side)
        line = 1 / 32 * min(size) / side
        assert shown.max(axis=axis).mean() == pytest.approx(0.5 + line, abs=0.6 / side)


def test_lines_are_as_wide_across_as_down_in_a_picture_that_is_not_square():
    line = coverage(make_scene(), (64, 192))[FRONT_LINE]
    assert line[32].sum() == pytest.approx(2 * 2, abs=0.5), "two upright lines of 2 pixels"
    assert line[:, 96].sum() == pytest.approx(2 * 2, abs=0.5), "two level lines of 2 pixels"


@pytest.mark.parametrize("background", ["white", "coloured", "noisy_black"])
def test_grey_input_is_the_luminance_of_the_coloured_one(background):
    scene = make_scene(background, BEHIND_SQUARE, paper=(240, 220, 200))
    coloured = picture(scene, drawing="grey", mask="rgb")
    grey = picture(scene, drawing="grey", mask="rgb", channels="grey")
    reference = np.asarray(Image.fromarray(coloured.image[:3].transpose(1, 2, 0)).convert("L"))
    assert grey.image.shape == (4, 64, 64)
    assert np.abs(grey.image[0].astype(int) - reference).max() <= 1
    np.testing.assert_array_equal(grey.image[1:], coloured.image[3:])
    np.testing.assert_array_equal(grey.target, coloured.target)
    np.testing.assert_array_equal(grey.mask, coloured.mask)

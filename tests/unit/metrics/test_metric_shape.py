"""The painted region, and where in it the colour is wrong: against numpy, scipy and counting by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.segmentation import find_boundaries

from harness.metrics.base import score
from harness.metrics.build import build_metrics
from harness.metrics.forms import contour, dilate, f1

NAMES = (
    "fill_iou",
    "boundary_f1",
    "under_fill",
    "under_fill_border",
    "over_fill",
    "overlap_bleed",
    "delta_e_border",
    "delta_e_inner",
    "background_error",
)
WHITE, RED, BLUE = (
    torch.tensor(rgb)[:, None, None] for rgb in ((1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
)


@pytest.fixture
def scored(context):
    metrics = build_metrics(NAMES, context)
    return lambda prediction, batch: {
        name: of[0].item() for name, of in score(metrics, prediction, batch).items()
    }


@pytest.fixture
def square():
    """A red square of 16 x 16 that begins at the left border of a white picture of 32 x 40, and a blue
    neighbour of 16 x 6 to its right."""
    target, mask, other = torch.ones(1, 3, 32, 40), torch.zeros(1, 1, 32, 40), torch.zeros(1, 1, 32, 40)
    target[0, :, 8:24, :16], mask[:, :, 8:24, :16] = RED, 1.0
    target[0, :, 8:24, 16:22], other[:, :, 8:24, 16:22] = BLUE, 1.0
    return {"target": target, "mask": mask, "other": other, "colour": torch.zeros(1).long()}


def test_half_a_fill_is_half_of_everything_but_its_contour(scored, square):
    prediction = square["target"].clone()
    prediction[0, :, 8:24, 8:16] = WHITE
    values = scored(prediction, square)
    assert values["fill_iou"] == pytest.approx(0.5)
    assert values["under_fill"] == pytest.approx(0.5)
    assert values["over_fill"] == 0.0
    assert values["under_fill_border"] == 0.0  # the band is 4 pixels wide, and these are painted
    # Contours, without those at the border of the image: 46 pixels were asked for (two rows of 16 and a
    # column of 14), 30 found, two rows of 8 among them and a column of 14 far inside. Right are 16 of the
    # 30 and the two of the column beside a row; of the 46, two rows of 9.
    precision, recall = 18 / 30, 18 / 46
    assert values["boundary_f1"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_what_is_left_at_the_border_of_the_image_shows_there_alone(scored, square):
    prediction = square["target"].clone()
    prediction[0, :, 8:24, :2] = WHITE
    values = scored(prediction, square)
    assert values["under_fill"] == pytest.approx(2 / 16)
    assert values["under_fill_border"] == pytest.approx(2 / 4)
    lab = rgb2lab(np.array([[[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]))[0]
    assert values["delta_e_border"] == pytest.approx(np.linalg.norm(lab[0] - lab[1]) / 2, rel=1e-3)
    assert values["delta_e_inner"] == 0.0
    assert values["background_error"] == 0.0


def test_paint_on_a_neighbour_is_bleeding_and_over_fill(scored, square):
    prediction = square["target"].clone()
    prediction[0, :, 8:24, 16:19] = RED
    values = scored(prediction, square)
    # Of the neighbour's columns, 2 to 4 pixels from the fill are looked at; the 2nd and 3rd are painted.
    assert values["overlap_bleed"] == pytest.approx(2 / 3)
    assert values["over_fill"] == pytest.approx(3 / 16)
    assert values["fill_iou"] == pytest.approx(16 / 19)
    assert values["under_fill"] == 0.0
    lab = rgb2lab(np.array([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]))[0]
    away = 32 * 40 - 18 * 17
    assert values["background_error"] == pytest.approx(
        16 * 2 * np.linalg.norm(lab[0] - lab[1]) / away, rel=1e-3
    )


def test_without_neighbours_there_is_no_bleeding_into_them(scored, square):
    del square["other"]
    assert np.isnan(scored(square["target"], square)["overlap_bleed"])
    square["other"] = torch.zeros(1, 1, 32, 40)
    assert np.isnan(scored(square["target"], square)["overlap_bleed"])


def test_an_unpainted_shape_has_no_overlap_and_no_contour(scored, square):
    values = scored(torch.ones_like(square["target"]), square)
    assert (values["fill_iou"], values["boundary_f1"], values["under_fill"], values["over_fill"]) == (
        0,
        0,
        1,
        0,
    )


def test_pixels_that_the_target_leaves_open_count_neither_way(scored, square):
    """Mixed pixels on the edge inside the mask, and a neighbour of the colour asked for outside of it."""
    square["target"][0, :, 8:24, 15] = (RED + WHITE)[:, 0] / 2
    square["target"][0, :, 8:24, 16:22] = RED
    assert scored(square["target"], square)["fill_iou"] == 1.0
    assert scored(square["target"], square)["over_fill"] == 0.0
    prediction = square["target"].clone()
    prediction[0, :, 8:24, 15:22] = WHITE
    values = scored(prediction, square)
    assert (values["fill_iou"], values["under_fill"], values["over_fill"]) == (1, 0, 0)


def test_a_fill_of_mixed_pixels_alone_tells_nothing(scored, square):
    ramp = torch.linspace(0.0, 1.0, 16)[None, None, :].expand(3, 16, 16)
    square["target"][0, :, 8:24, :16] = ramp
    square["mask"][:] = 0.0
    square["mask"][:, :, 8:9, [0, 15]] = 1.0  # black and white: their mean is neither
    values = scored(square["target"], square)
    assert all(np.isnan(values[name]) for name in ("fill_iou", "under_fill", "over_fill", "boundary_f1"))


def within_one(region):
    return ndimage.binary_dilation(region, np.ones((3, 3)))


def test_regions_of_noise_agree_with_numpy_scipy_and_scikit_image(scored, context):
    generator = np.random.default_rng(9)
    for _ in range(5):
        height, width = 37, 50
        mask = ndimage.gaussian_filter(generator.random((height, width)), 4) > 0.5
        target = np.where(mask[..., None], (0.1, 0.5, 0.2), (0.9, 0.9, 0.8))
        prediction = np.clip(target + generator.normal(0, 0.15, target.shape), 0, 1)
        batch = {
            "target": torch.tensor(target).float().permute(2, 0, 1)[None],
            "mask": torch.tensor(mask).float()[None, None],
            "colour": torch.zeros(1).long(),
        }
        values = scored(torch.tensor(prediction).float().permute(2, 0, 1)[None], batch)
        difference = np.linalg.norm(rgb2lab(prediction) - rgb2lab(target), axis=2)
        painted = np.linalg.norm(rgb2lab(prediction) - rgb2lab(target)[mask][0], axis=2) < 20
        band = np.ones_like(mask)
        band[5:-5, 5:-5] = False  # 37 / 8, rounded
        assert values["fill_iou"] == pytest.approx((mask & painted).sum() / (mask | painted).sum())
        assert values["under_fill"] == pytest.approx((mask & ~painted).sum() / mask.sum())
        assert values["under_fill_border"] == pytest.approx(
            (mask & band & ~painted).sum() / (mask & band).sum()
        )
        assert values["over_fill"] == pytest.approx((painted & ~mask).sum() / mask.sum())
        assert values["delta_e_border"] == pytest.approx(difference[mask & band].mean(), rel=1e-3)
        assert values["delta_e_inner"] == pytest.approx(difference[mask & ~band].mean(), rel=1e-3)
        assert values["background_error"] == pytest.approx(difference[~within_one(mask)].mean(), rel=1e-3)
        # Contours inside the regions; beyond the image a region goes on as at its border.
        found, asked = (
            find_boundaries(np.pad(r, 1, "edge"), 2, "inner")[1:-1, 1:-1] for r in (painted, mask)
        )
        precision = (found & within_one(asked)).sum() / found.sum()
        recall = (asked & within_one(found)).sum() / asked.sum()
        assert values["boundary_f1"] == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("radius", [1, 2, 4, 60])
def test_growing_agrees_with_scipy(radius):
    region = torch.rand(3, 21, 17, generator=torch.Generator().manual_seed(1)) < 0.02
    square = np.ones((2 * radius + 1, 2 * radius + 1))
    expected = np.stack([ndimage.binary_dilation(one, square) for one in region.numpy()])
    assert np.array_equal(dilate(region, radius).numpy(), expected)


def test_the_border_of_the_image_is_no_contour():
    assert not contour(torch.ones(1, 5, 5, dtype=torch.bool)).any()


def test_f1_of_nothing_found_is_zero_and_of_nothing_asked_is_none():
    some, nothing = torch.eye(5, dtype=torch.bool)[None], torch.zeros(1, 5, 5, dtype=torch.bool)
    assert f1(nothing, some, 1).tolist() == [0.0]
    assert f1(some, nothing, 1).isnan().all()
    assert f1(some, some, 0).tolist() == [1.0]


def test_mixed_pixels_on_the_edge_do_not_shift_the_fill_colour(scored, square):
    """A dark ring takes 28 of the 64 pixels of a small square, which pulls the mean over all far off red."""
    square["mask"][:], square["other"] = 0.0, torch.zeros(1, 1, 32, 40)
    square["mask"][:, :, 12:20, 12:20] = 1.0
    square["target"] = torch.ones(1, 3, 32, 40)
    square["target"][0, :, 12:20, 12:20] = 0.2
    square["target"][0, :, 13:19, 13:19] = RED
    prediction = square["target"].clone()
    prediction[0, :, 13:19, 13:15] = WHITE
    values = scored(prediction, square)
    assert values["under_fill"] == pytest.approx(2 / 6)
    assert values["over_fill"] == 0.0

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from skimage.transform import AffineTransform, warp

from harness.data.affine import AffineConfig
from harness.data.augment import augment, build_augmentations
from harness.data.polygons import Polygons, PolygonsConfig

torch.set_num_threads(1)


def moved(batch, seed=0, epoch=0, **settings):
    return augment(batch, build_augmentations([AffineConfig(**settings)]), seed=seed, epoch=epoch)


def smooth_batch(count, height=24, width=40):
    """Pictures without edges, so that interpolations of two libraries agree; [N, 3, H, W] in [0, 1]."""
    y, x = np.mgrid[:height, :width]
    phases = np.arange(3 * count).reshape(count, 3, 1, 1)
    picture = torch.from_numpy(0.5 + 0.4 * np.sin(x / 6 + phases) * np.cos(y / 5 + phases)).float()
    return {"image": picture, "target": picture.flip(1), "mask": picture[:, :1], "index": torch.arange(count)}


@pytest.fixture(scope="module")
def polygons(tmp_path_factory):
    config = PolygonsConfig(size=32, train_size=64, validation_size=24, mask="rgb", edge=0)
    return Polygons(config, tmp_path_factory.mktemp("polygons")).split("train").batch(range(64))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"degrees": 0, "scale": (1.5, 1.5), "shift": 0}, {"scale": 1.5}),
        ({"degrees": 0, "scale": (0.6, 0.6), "shift": 0}, {"scale": 0.6}),
    ],
)
def test_a_scale_is_that_of_another_library_with_the_border_repeated(settings, expected):
    batch = smooth_batch(2)
    centre = np.array([39 / 2, 23 / 2])
    transform = (
        AffineTransform(translation=-centre)
        + AffineTransform(**expected)
        + AffineTransform(translation=centre)
    )
    for row in range(2):
        reference = warp(
            batch["image"][row].permute(1, 2, 0).numpy(), transform.inverse, order=1, mode="edge"
        )
        assert moved(batch, **settings)["image"][row].permute(1, 2, 0).numpy() == pytest.approx(
            reference, abs=2e-5
        )


def test_without_turn_scale_and_shift_nothing_moves():
    batch = smooth_batch(3)
    same = moved(batch, degrees=0, scale=(1, 1), shift=0)
    torch.testing.assert_close(same, batch, rtol=0, atol=1e-5)


def test_every_sample_is_turned_scaled_and_shifted_by_its_own_uniform_amounts():
    """Read back from where three points of a picture of coordinates have gone."""
    size, count = 65, 300
    x = torch.linspace(0, 1, size).expand(size, size)
    ramps = torch.stack([x, x.T, torch.zeros(size, size)]).expand(count, 3, size, size).contiguous()
    found = moved({"image": ramps, "index": torch.arange(count)}, degrees=30, scale=(0.5, 2.0), shift=0.05)[
        "image"
    ]
    middle = found[:, :2, 32, 32]
    right, below = found[:, :2, 32, 36] - middle, found[:, :2, 36, 32] - middle
    step = 4 / (size - 1)
    scale = step / right.norm(dim=1)
    turn = torch.rad2deg(torch.atan2(right[:, 1], right[:, 0]))
    torch.testing.assert_close(right.norm(dim=1), below.norm(dim=1), rtol=1e-3, atol=1e-5)
    assert kstest(scale.log2().numpy(), "uniform", args=(-1, 2)).pvalue > 0.001
    assert kstest(turn.numpy(), "uniform", args=(-30, 60)).pvalue > 0.001
    matrix = torch.stack([right, below], dim=2) / step
    shift = -torch.linalg.solve(matrix, middle - 0.5) * (size - 1) / size
    for axis in range(2):
        assert kstest(shift[:, axis].numpy(), "uniform", args=(-0.05, 0.1)).pvalue > 0.001
    assert abs(np.corrcoef([turn, scale, shift[:, 0], shift[:, 1]]) - np.eye(4)).max() < 0.25


def test_image_target_and_masks_move_alike(polygons):
    found = moved(polygons)
    assert torch.equal(found["image"][:, 3:4], found["mask"]) and torch.equal(
        found["image"][:, 5:6], found["other"]
    )
    outside = found["mask"] == 0
    assert ((found["image"][:, :3] - found["target"]).abs() * outside).max() < 1e-5
    assert (found["image"] != polygons["image"]).flatten(1).any(dim=1).all()
    for key in ("image", "target", "mask", "other"):
        assert found[key].min() >= 0 and found[key].max() <= 1
    assert torch.equal(found["colour"], polygons["colour"])


def test_what_comes_into_view_repeats_the_border():
    batch = {"image": torch.full((8, 3, 32, 32), 0.7), "index": torch.arange(8)}
    batch["image"][:, :, 8:24, 8:24] = 0.1
    found = moved(batch, scale=(0.5, 0.5), degrees=180, shift=0.1)["image"]
    rim = torch.cat([found[..., 0, :], found[..., -1, :], found[..., 0], found[..., -1]], dim=-1)
    torch.testing.assert_close(rim, torch.full_like(rim, 0.7))


def test_a_sample_moves_alike_whatever_the_batch_around_it(polygons):
    whole = moved(polygons, seed=5, epoch=2)
    for rows in ([31, 4, 17], [63], list(range(7))):
        some = moved({key: value[rows] for key, value in polygons.items()}, seed=5, epoch=2)
        for key, value in some.items():
            assert torch.equal(value, whole[key][rows]), key
    other = moved(polygons, seed=5, epoch=3)["image"]
    assert (other != whole["image"]).flatten(1).any(dim=1).all()


def test_a_picture_moves_as_often_as_its_probability(polygons):
    batch = {"image": polygons["image"][:1, :, ::4, ::4].repeat(2000, 1, 1, 1), "index": torch.arange(2000)}
    changed = (moved(batch, probability=0.3)["image"] != batch["image"]).flatten(1).any(dim=1)
    assert 0.25 < changed.float().mean() < 0.35


@pytest.mark.parametrize(
    "settings", [{"degrees": 181}, {"scale": (0, 1)}, {"scale": (1.2, 0.8)}, {"shift": 2}, {"probability": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError):
        AffineConfig(**settings)

import colorsys

import numpy as np
import pytest
import torch

from harness.data.appearance import BackgroundConfig, ColourJitterConfig, NoiseConfig, paper_of
from harness.data.augment import augment, build_augmentations
from harness.data.folder import Folder, FolderConfig
from harness.data.polygons import Polygons, PolygonsConfig
from tests.support.written_pairs import write_pairs

torch.set_num_threads(1)
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
ALL = {
    "background": BackgroundConfig(probability=1),
    "colour_jitter": ColourJitterConfig(brightness=0.4, contrast=0.4, saturation=0.5, hue=0.3),
    "noise": NoiseConfig(sd=0.3),
}
PLAIN = {"size": 32, "train_size": 64, "validation_size": 24, "backgrounds": ["white", "coloured"]}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return batches of polygons by their settings."""
    folder = tmp_path_factory.mktemp("polygons")

    def batch(**settings):
        config = PolygonsConfig(**PLAIN | settings)
        return Polygons(config, folder).split("train").batch(range(64))

    return batch


def changed(batch, *configs, channels=3, seed=0, epoch=0):
    built = build_augmentations(configs, picture_channels=channels)
    return augment(batch, built, seed=seed, epoch=epoch)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("settings", [{}, {"drawing": "grey"}, {"backgrounds": ["noisy_black"]}])
def test_the_fill_stays_and_all_else_is_alike_in_input_and_target(drawn, name, settings):
    batch = drawn(mask="rgb", **settings)
    found = changed(batch, ALL[name])
    inside, outside = batch["mask"] == 1, batch["mask"] == 0
    torch.testing.assert_close(found["target"] * inside, batch["target"] * inside, rtol=0, atol=1e-6)
    assert ((found["image"][:, :3] - found["target"]) * outside).abs().max() < 1e-6
    assert torch.equal(found["image"][:, 3:], batch["image"][:, 3:]), "masks are no colours"
    for key in ("mask", "other", "colour", "index"):
        assert torch.equal(found[key], batch[key])
    assert found["image"].min() >= 0 and found["image"].max() <= 1
    moved = (found["image"] != batch["image"]).flatten(1).any(dim=1)
    assert moved.float().mean() > 0.5 or (
        name == "background" and "backgrounds" in settings and not moved.any()
    )


@pytest.mark.parametrize("name", ALL)
def test_a_grey_input_shows_the_luminance_of_what_the_target_shows(drawn, name):
    batch = drawn(channels="grey", mask="rgb")
    found = changed(batch, ALL[name], channels=1)
    luminance = (found["target"] * LUMA).sum(dim=1, keepdim=True)
    assert ((found["image"][:, :1] - luminance) * (batch["mask"] == 0)).abs().max() < 0.003
    assert torch.equal(found["image"][:, 1:], batch["image"][:, 1:])


@pytest.mark.parametrize("name", ALL)
def test_a_sample_changes_alike_whatever_the_batch_around_it(drawn, name):
    batch = drawn()
    whole = changed(batch, ALL[name], seed=5, epoch=2)
    rows = [31, 4, 17]
    some = changed({key: value[rows] for key, value in batch.items()}, ALL[name], seed=5, epoch=2)
    for key, value in some.items():
        assert torch.equal(value, whole[key][rows]), key
    assert not torch.equal(changed(batch, ALL[name], seed=5, epoch=3)["image"], whole["image"])


def as_generated(batch, colour=None, noisy=False):
    """Return input and target with paper and ink exchanged, from the masks of the generator."""
    fill, line, behind = (batch["image"][:, channel : channel + 1] for channel in (3, 4, 5))
    del behind
    paper = 1 - fill - line
    ground = torch.tensor(colour)[:, None, None] if not noisy else torch.zeros(3, 1, 1)
    ink = 1.0 if noisy else 0.0
    given = (paper + fill) * ground + line * ink
    return given, given + fill * (batch["target"] - ground) * (fill == 1)


def test_other_paper_is_what_the_generator_would_have_drawn(drawn):
    """With one polygon on white, the same scene on another paper follows from its masks."""
    batch = drawn(backgrounds=["white"], overlap=0, mask="rgb", size=64)
    found = changed(batch, BackgroundConfig(papers=("pale",), probability=1))
    colours, plain = paper_of(found["target"])
    assert plain.all() and len(torch.unique(colours.flatten(1), dim=0)) == 64
    for row in range(64):
        one = {key: value[row : row + 1] for key, value in batch.items()}
        given, wanted = as_generated(one, colours[row, :, 0, 0].tolist())
        assert (found["image"][row, :3] - given[0]).abs().max() < 0.02
        clear = (one["mask"][0] == 0) | (one["mask"][0] == 1)
        assert ((found["target"][row] - wanted[0]) * clear).abs().max() < 0.02


def test_pale_papers_are_pale_and_of_every_hue(drawn):
    found = changed(drawn(backgrounds=["white"]), BackgroundConfig(papers=("pale",), probability=1))
    papers = paper_of(found["target"])[0][:, :, 0, 0].numpy()
    hls = np.array([colorsys.rgb_to_hls(*paper) for paper in papers.tolist()])
    assert hls[:, 1].min() >= 0.83 and hls[:, 1].max() <= 0.94
    assert np.histogram(hls[:, 0], bins=4, range=(0, 1))[0].min() >= 6


def test_noisy_black_has_noise_and_white_lines(drawn):
    batch = drawn(backgrounds=["white"], overlap=0, mask="rgb", size=64)
    found = changed(batch, BackgroundConfig(papers=("noisy_black",), probability=1))
    line = batch["image"][:, 4:5] == 1
    assert line.any() and (found["image"][:, :3][line.expand(-1, 3, -1, -1)] == 1).all()
    ground = (batch["image"][:, 3:5].sum(dim=1, keepdim=True) == 0).expand(-1, 3, -1, -1)
    noise = found["target"][ground]
    assert noise.max() <= 0.25 and noise.mean() == pytest.approx(0.125, abs=0.002) and noise.std() > 0.06


def test_real_pictures_whose_fill_covers_the_outline_get_other_paper(tmp_path, cache):
    config = FolderConfig(path=str(write_pairs(tmp_path / "pairs")), size=48)
    batch = Folder(config, cache).split("train").batch(range(9))
    found = changed(batch, BackgroundConfig(papers=("noisy_black",), probability=1))
    inside = batch["mask"].bool().expand(-1, 3, -1, -1)
    assert torch.equal(found["target"][inside], batch["target"][inside])
    assert found["target"][~inside].max() <= 0.25, "no line is left outside the fill"
    ink = (batch["image"] == 0).all(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert (found["image"][ink] == 1).all() and found["image"][~ink].max() <= 0.25


def test_dark_and_uneven_papers_stay(drawn):
    batch = drawn(backgrounds=["noisy_black"])
    assert not paper_of(batch["target"])[1].any()
    found = changed(batch, BackgroundConfig(probability=1))
    torch.testing.assert_close(found, batch, rtol=0, atol=0)


def test_papers_are_as_frequent_as_each_other_and_as_their_probability():
    picture = torch.ones(3000, 3, 8, 8)
    batch = {
        "image": picture,
        "target": picture,
        "mask": torch.zeros(3000, 1, 8, 8),
        "index": torch.arange(3000),
    }
    found = changed(batch, BackgroundConfig(probability=0.6))["target"].mean(dim=(1, 2, 3))
    dark, same = (found < 0.5).float().mean(), (found == 1).float().mean()
    assert abs(dark - 0.2) < 0.03 and abs(same - 0.6) < 0.03


def test_every_factor_of_colour_jitter_does_what_its_name_says():
    batch = {
        "image": torch.tensor([0.6, 0.4, 0.3])[:, None, None].expand(500, 3, 4, 4).contiguous(),
        "mask": torch.zeros(500, 1, 4, 4),
        "index": torch.arange(500),
    }
    batch["target"] = batch["image"]
    still = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    assert changed(batch, ColourJitterConfig(**still))["image"] == pytest.approx(batch["image"], abs=1e-6)

    def after(**factor):
        return changed(batch, ColourJitterConfig(**still | factor))["image"][:, :, 0, 0]

    before = batch["image"][0, :, 0, 0]
    bright = after(brightness=0.3) / before
    assert bright.std(dim=1).max() < 1e-5 and 0.7 <= bright.min() < 0.75 and 1.25 < bright.max() <= 1.3
    contrast = (after(contrast=0.3) - 0.5) / (before - 0.5)
    assert contrast.std(dim=1).max() < 1e-4 and 0.7 <= contrast.min() < 0.75 and 1.25 < contrast.max() <= 1.31
    hues = [colorsys.rgb_to_hsv(*colour) for colour in after(hue=0.1).tolist()]
    turned = (np.array(hues)[:, 0] - colorsys.rgb_to_hsv(*before.tolist())[0] + 0.5) % 1 - 0.5
    assert -0.1 <= turned.min() < -0.08 and 0.08 < turned.max() <= 0.1
    assert np.ptp(np.array(hues)[:, 2]) < 1e-5, "the hue turns, the value stays"
    rich = after(saturation=0.5)
    assert rich.max(dim=1).values.sub(rich.min(dim=1).values).std() > 0.03


def test_noise_is_normal_up_to_its_standard_deviation():
    picture = torch.full((200, 3, 32, 32), 0.5)
    batch = {
        "image": picture,
        "target": picture,
        "mask": torch.zeros(200, 1, 32, 32),
        "index": torch.arange(200),
    }
    found = changed(batch, NoiseConfig(sd=0.1))["target"] - 0.5
    assert (
        found.std(dim=(1, 2, 3)).max() <= 0.102 and abs(float(found.std(dim=(1, 2, 3)).mean()) - 0.05) < 0.006
    )
    assert abs(float(found.mean())) < 0.001
    standard = (found / found.std(dim=(1, 2, 3), keepdim=True)).flatten()
    assert abs(float((standard.abs() < 1).float().mean()) - 0.6827) < 0.005
    assert abs(np.corrcoef(found[0, 0].flatten(), found[0, 1].flatten())[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (BackgroundConfig, {"papers": ("white", "white")}),
        (BackgroundConfig, {"papers": ()}),
        (BackgroundConfig, {"probability": 0}),
        (ColourJitterConfig, {"hue": 0.6}),
        (NoiseConfig, {"sd": 0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, settings):
    with pytest.raises(ValueError):
        config(**settings)

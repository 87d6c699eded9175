import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import binomtest, chi2_contingency, chisquare

from harness.data.augment import (
    Draws,
    HFlip,
    HFlipConfig,
    Rot90,
    Rot90Config,
    VFlip,
    VFlipConfig,
    augment,
    build_augmentations,
    change_pictures,
    splitmix64,
)
from harness.registry import registry

torch.set_num_threads(1)
WAYS = {"hflip": [HFlipConfig()], "vflip": [VFlipConfig()], "rot90": [Rot90Config()]}
WAYS["all"] = [HFlipConfig(), Rot90Config(), VFlipConfig()]


def make_batch(indices):
    """Samples that depend on their index alone and that no change leaves as they are."""
    indices = torch.as_tensor(indices)
    picture = torch.arange(3 * 4 * 4.0).reshape(3, 4, 4) + 100 * indices[:, None, None, None]
    return {
        "image": picture,
        "target": picture + 0.5,
        "mask": picture[:, :1],
        "colour": indices % 24,
        "index": indices,
    }


def changed(batch, names, *, seed=0, epoch=0):
    return augment(batch, build_augmentations(WAYS[names]), seed=seed, epoch=epoch)


def symmetries():
    """The eight pictures that turns and mirrors make of one, by (quarters, mirrored)."""
    return {
        (quarters, mirrored): lambda p, q=quarters, m=mirrored: (p.flip(-1) if m else p).rot90(q, (-2, -1))
        for quarters in range(4)
        for mirrored in (False, True)
    }


REACHED = {
    "hflip": {(0, False), (0, True)},
    "vflip": {(0, False), (2, True)},
    "rot90": {(quarters, False) for quarters in range(4)},
    "all": {(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)},
}


@pytest.mark.parametrize(
    ("state", "output"),
    [
        (0, 0xE220A8397B1DCDAF),
        (1234567, 6457827717110365317),
        (1234567 + 0x9E3779B97F4A7C15, 3203168211198807973),
    ],
)
def test_splitmix64_gives_the_published_outputs(state, output):
    """Reference outputs of the generator for the seeds 0 and 1234567."""
    assert splitmix64(np.array([state], dtype=np.uint64)).tolist() == [output]


@pytest.mark.parametrize("names", REACHED)
def test_image_target_and_mask_move_alike_and_every_way_occurs(names):
    batch = make_batch(range(96))
    moved = changed(batch, names, seed=3, epoch=1)
    seen = set()
    for row in range(96):
        way = [
            w
            for w, move in symmetries().items()
            if torch.equal(moved["image"][row], move(batch["image"][row]))
        ]
        assert len(way) == 1
        seen.add(way[0])
        for key in ("target", "mask"):
            assert torch.equal(moved[key][row], symmetries()[way[0]](batch[key][row]))
    assert seen == REACHED[names]


def test_draws_of_the_first_two_have_not_changed():
    """If this fails, every stored trial with these augmentations was trained otherwise."""
    batch = make_batch(range(24))
    for names, expected in (("hflip", GOLDEN_HFLIP), ("vflip", GOLDEN_VFLIP)):
        image = changed(batch, names, seed=3, epoch=1)["image"]
        moved = (image != batch["image"]).flatten(1).any(dim=1)
        assert moved.int().tolist() == expected


GOLDEN_HFLIP = [1, 0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 0, 0]
GOLDEN_VFLIP = [0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0]


def test_flips_work_on_pictures_that_are_not_square():
    batch = {"image": torch.arange(2 * 3 * 2 * 5.0).reshape(2, 3, 2, 5), "index": torch.tensor([0, 1])}
    both = build_augmentations([HFlipConfig(probability=1), VFlipConfig(probability=1)])
    assert torch.equal(augment(batch, both, seed=0, epoch=0)["image"], batch["image"].flip(-1, -2))
    assert not HFlip.needs_square and not VFlip.needs_square and Rot90.needs_square


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("config", [HFlipConfig, VFlipConfig])
def test_a_flip_is_as_frequent_as_its_probability(config, probability):
    batch = {
        "image": torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]).repeat(4000, 1, 1, 1),
        "index": torch.arange(4000),
    }
    image = augment(batch, build_augmentations([config(probability=probability)]), seed=0, epoch=0)["image"]
    mirrored = int((image != batch["image"]).flatten(1).any(dim=1).sum())
    assert binomtest(mirrored, 4000, probability).pvalue > 0.001


def test_every_quarter_turn_is_as_frequent():
    batch = {
        "image": torch.tensor([[[[0.0, 1.0], [3.0, 2.0]]]]).repeat(4000, 1, 1, 1),
        "index": torch.arange(4000),
    }
    corner = changed(batch, "rot90")["image"][:, 0, 0, 0]
    assert chisquare(np.bincount(corner.int().numpy(), minlength=4)).pvalue > 0.001


@pytest.mark.parametrize("probability", [0, 1.5])
def test_a_probability_that_is_none_is_refused(probability):
    with pytest.raises(ValidationError):
        HFlipConfig(probability=probability)


def test_result_does_not_depend_on_the_batch_around_a_sample():
    whole = changed(make_batch(range(50)), "all", seed=5, epoch=2)
    some = changed(make_batch([31, 4, 17]), "all", seed=5, epoch=2)
    for key, value in some.items():
        assert torch.equal(value, whole[key][[31, 4, 17]]), key


def test_labels_and_the_given_batch_stay_as_they_are():
    batch = make_batch(range(16))
    before = {key: value.clone() for key, value in batch.items()}
    moved = changed(batch, "all")
    for key, value in batch.items():
        assert torch.equal(value, before[key])
    assert torch.equal(moved["colour"], batch["colour"])
    assert torch.equal(moved["index"], batch["index"])


def test_without_names_nothing_changes():
    batch = make_batch(range(8))
    torch.testing.assert_close(augment(batch, {}, seed=0, epoch=0), batch, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["hflip", "vflip", "rot90"])
def test_is_registered_with_its_config(name):
    assert registry.load("augmentation", name).Config().name == name


class Noise:
    """What a plugin may look like: numbers for every pixel, and a strength of every sample."""

    needs_square = False

    def __call__(self, batch, draws):
        strength = draws.uniform("strength")
        fields = [generator.random((3, 4, 4)) for generator in draws.generators("field")]
        added = torch.tensor(np.stack(fields) * strength[:, None, None, None], dtype=torch.float32)
        return {**batch, "image": batch["image"] + added}


def test_a_plugin_draws_a_field_for_every_sample_whatever_the_batch():
    whole = augment(make_batch(range(20)), {"noise": Noise()}, seed=1, epoch=4)
    some = augment(make_batch([7, 3]), {"noise": Noise()}, seed=1, epoch=4)
    assert torch.equal(some["image"], whole["image"][[7, 3]])
    assert torch.equal(whole["target"], make_batch(range(20))["target"])
    noise = whole["image"] - make_batch(range(20))["image"]
    assert len({tuple(row.flatten().tolist()) for row in noise}) == 20
    other = augment(make_batch(range(20)), {"noise": Noise()}, seed=1, epoch=5)
    assert (other["image"] != whole["image"]).flatten(1).any(dim=1).all()


def test_nothing_is_drawn_from_the_global_generators():
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    augment(make_batch(range(20)), {**build_augmentations(WAYS["all"]), "noise": Noise()}, seed=1, epoch=4)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_only_chosen_pictures_are_changed():
    batch = make_batch(range(4))
    doubled = change_pictures(batch, np.array([True, False, False, True]), lambda pictures: 2 * pictures)
    assert torch.equal(doubled["image"], batch["image"] * torch.tensor([2.0, 1, 1, 2])[:, None, None, None])
    assert doubled["colour"] is batch["colour"]


def numbers(purpose="", **changes):
    return Draws(np.arange(4000), **({"seed": 0, "epoch": 0, "name": "hflip"} | changes)).uniform(purpose)


@pytest.mark.parametrize("changes", [{}, {"seed": 1}, {"epoch": 1}, {"name": "other"}, {"seed": 2**40}])
def test_numbers_are_uniform(changes):
    drawn = numbers(**changes)
    assert drawn.min() >= 0 and drawn.max() < 1
    assert chisquare(np.histogram(drawn, bins=16, range=(0, 1))[0]).pvalue > 0.001


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"epoch": 1}, {"name": "vflip"}, {"name": "other"}, {"purpose": "angle"}]
)
def test_numbers_of_other_seeds_epochs_names_and_purposes_are_independent(changes):
    table = np.histogram2d(numbers(), numbers(**changes), bins=4, range=[(0, 1)] * 2)[0]
    assert chi2_contingency(table).pvalue > 0.001


def test_neighbouring_indices_are_independent():
    drawn = numbers()
    table = np.histogram2d(drawn[:-1], drawn[1:], bins=4, range=[(0, 1)] * 2)[0]
    assert chi2_contingency(table).pvalue > 0.001


def test_the_same_purpose_gives_the_same_numbers():
    draws = Draws(np.arange(5), seed=0, epoch=0, name="other")
    first = draws.uniform("angle").tolist()
    draws.uniform("width")
    assert draws.uniform("angle").tolist() == first

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chi2_contingency

from harness.data.augment import augment, coin_flips, splitmix64

torch.set_num_threads(1)


def make_batch(indices):
    """Samples that depend on their index alone and that no mirroring leaves as they are."""
    indices = torch.as_tensor(indices)
    picture = torch.arange(3 * 4 * 4.0).reshape(3, 4, 4) + 100 * indices[:, None, None, None]
    return {
        "image": picture,
        "target": picture + 0.5,
        "mask": picture[:, :1],
        "colour": indices % 24,
        "index": indices,
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


def test_every_picture_is_mirrored_as_a_whole_or_not_at_all():
    batch = make_batch(range(64))
    mirrored = augment(batch, ["hflip", "vflip"], seed=3, epoch=1)
    dims = [(), (-1,), (-2,), (-1, -2)]
    seen = set()
    for row in range(64):
        way = [d for d in dims if torch.equal(mirrored["image"][row], batch["image"][row].flip(d))]
        assert len(way) == 1
        seen.add(way[0])
        for key in ("target", "mask"):
            assert torch.equal(mirrored[key][row], batch[key][row].flip(way[0]))
    assert seen == set(dims)


def test_one_name_mirrors_along_its_own_axis():
    batch = make_batch(range(32))
    for name, dim in (("hflip", -1), ("vflip", -2)):
        image = augment(batch, [name], seed=0, epoch=0)["image"]
        same = (image == batch["image"]).flatten(1).all(dim=1)
        flipped = (image == batch["image"].flip(dim)).flatten(1).all(dim=1)
        assert (same ^ flipped).all()
        assert same.any() and flipped.any()


def test_result_does_not_depend_on_the_batch_around_a_sample():
    settings = {"names": ["hflip", "vflip"], "seed": 5, "epoch": 2}
    whole = augment(make_batch(range(50)), **settings)
    some = augment(make_batch([31, 4, 17]), **settings)
    for key, value in some.items():
        assert torch.equal(value, whole[key][[31, 4, 17]]), key


def test_labels_and_the_given_batch_stay_as_they_are():
    batch = make_batch(range(16))
    before = {key: value.clone() for key, value in batch.items()}
    mirrored = augment(batch, ["hflip", "vflip"], seed=0, epoch=0)
    for key, value in batch.items():
        assert torch.equal(value, before[key])
    assert torch.equal(mirrored["colour"], batch["colour"])
    assert torch.equal(mirrored["index"], batch["index"])


def test_without_names_nothing_changes():
    batch = make_batch(range(8))
    torch.testing.assert_close(augment(batch, [], seed=0, epoch=0), batch, rtol=0, atol=0)


def flips(**changes):
    return coin_flips(np.arange(4000), **({"seed": 0, "epoch": 0, "stream": 1} | changes))


@pytest.mark.parametrize("changes", [{}, {"seed": 1}, {"epoch": 1}, {"stream": 2}, {"seed": 2**40}])
def test_coins_are_fair(changes):
    assert binomtest(int(flips(**changes).sum()), 4000).pvalue > 0.001


@pytest.mark.parametrize("changes", [{"seed": 1}, {"epoch": 1}, {"stream": 2}])
def test_coins_of_other_seeds_epochs_and_names_are_independent(changes):
    table = np.histogram2d(flips(), flips(**changes), bins=2)[0]
    assert chi2_contingency(table).pvalue > 0.001


def test_neighbouring_indices_are_independent():
    drawn = flips()
    table = np.histogram2d(drawn[:-1], drawn[1:], bins=2)[0]
    assert chi2_contingency(table).pvalue > 0.001

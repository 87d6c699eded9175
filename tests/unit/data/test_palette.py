import numpy as np
import pytest
from skimage.color import rgb2lab

from harness.data import palette


def lab(colours):
    return rgb2lab(np.atleast_2d(np.asarray(colours, dtype=float))[None] / 255)[0]


def cie76(first, second):
    return np.linalg.norm(lab(first)[:, None] - lab(second)[None], axis=-1)


def test_every_colour_is_named_once():
    assert len(palette.NAMES) == 24
    assert len(set(palette.COLOURS.values())) == 24


def test_colours_are_clearly_apart():
    distances = cie76(palette.RGB, palette.RGB)
    assert distances[~np.eye(24, dtype=bool)].min() > 20


def test_no_colour_looks_like_paper_or_ink():
    assert cie76(palette.RGB, [[0, 0, 0], [128, 128, 128], [255, 255, 255]]).min() > 20


def test_frequencies_fall_from_common_to_rare():
    shares = palette.training_frequencies()
    assert shares.sum() == pytest.approx(1)
    assert (np.diff(shares) < 0).all()
    assert shares[0] / shares[1] == pytest.approx((5 / 4) ** 2.5)
    assert 0.3 < shares[0] < 0.35
    assert (shares < 0.005).sum() == 6

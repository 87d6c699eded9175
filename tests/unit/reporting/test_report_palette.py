"""The style sheet's colours: contrast by WCAG 2.1, and apart for colour-blind eyes."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from harness.reporting.charts.sheet import read_palette

CSS = (Path(__file__).parents[3] / "reports" / "_style.css").read_text(encoding="utf-8")
PALETTE = read_palette(CSS)
THEMES = {"light": PALETTE.light, "dark": PALETTE.dark}
VARIANTS = [f"v{index}" for index in range(1, 9)]
TONES = ["good", "bad", "open", "even", "plain"]
# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB
EYES = {
    "usual": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def linear(channels: np.ndarray) -> np.ndarray:
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def encoded(channels: np.ndarray) -> np.ndarray:
    clipped = np.clip(channels, 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, light = sorted((float(linear(one) @ weights), float(linear(other) @ weights)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("role", ["ink", "muted", "accent", *VARIANTS, *TONES])
def test_text_stands_out_from_card_and_page(theme, role):
    colours = THEMES[theme]
    for ground in ("surface", "page"):
        assert contrast(rgb(colours[role]), rgb(colours[ground])) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("tone", TONES)
def test_a_verdict_stands_out_from_its_chip(theme, tone):
    colours = THEMES[theme]
    assert contrast(rgb(colours[tone]), rgb(colours[f"{tone}-back"])) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_numbers_are_readable_on_every_shade_of_a_heat_table(theme):
    colours = THEMES[theme]
    shares = [int(share) / 100 for share in re.findall(r"var\(--heat\) (\d+)%", CSS)]
    assert len(shares) == 9
    for share in shares:
        ground = share * rgb(colours["heat"]) + (1 - share) * rgb(colours["surface"])
        assert contrast(rgb(colours["ink"]), ground) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eyes", EYES)
def test_variants_can_be_told_apart(theme, eyes):
    colours = THEMES[theme]
    seen = [rgb2lab(encoded(EYES[eyes] @ linear(rgb(colours[role])))[None, None])[0, 0] for role in VARIANTS]
    assert min(float(deltaE_ciede2000(one, other)) for one, other in combinations(seen, 2)) >= 9

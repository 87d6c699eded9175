"""What every image metric means. Needs no torch, so that plans and reports can read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from harness.config import MetricInfo
from harness.errors import HarnessError, did_you_mean

PSNR_CAP = 100.0
"""PSNR of identical images in dB, where the formula has no finite value."""
BLEED_DISTANCE = 2
"""Pixels from the filled region at which bleeding starts to count; nearer ones may be edge smoothing."""
BLEED_THRESHOLD = 10.0
"""Colour difference above which a pixel counts as changed; about 2.3 is just noticeable."""

DELTA_E = MetricInfo(
    name="delta_e",
    title="Colour error",
    symbol="ΔE",
    direction="lower",
    range=(0.0, None),
    decimals=2,
    description="Mean CIE 1976 colour difference over the filled region of the target (CIE 015).",
    theme="colour",
)
COLOUR_ACCURACY = MetricInfo(
    name="colour_accuracy",
    title="Right colour",
    symbol="Acc",
    direction="higher",
    range=(0.0, 1.0),
    decimals=1,
    percent=True,
    description="Share of the filled pixels whose nearest palette colour, by CIE 1976 colour difference, "
    "is the colour asked for.",
    theme="colour",
)
PSNR = MetricInfo(
    name="psnr",
    title="Peak signal-to-noise ratio",
    symbol="PSNR",
    unit="dB",
    direction="higher",
    range=(0.0, PSNR_CAP),
    decimals=2,
    description=f"10 log10(1 / mean squared error) of every image, data range 1, "
    f"capped at {PSNR_CAP:.0f} dB for identical images; then the mean over images.",
    theme="pixel",
)
SSIM = MetricInfo(
    name="ssim",
    title="Structural similarity",
    symbol="SSIM",
    direction="higher",
    range=(-1.0, 1.0),
    description="SSIM of Wang et al., 2004: Gaussian window of 11 pixels and sigma 1.5 inside the image, "
    "data range 1, mean over RGB.",
    theme="structure",
)
LPIPS = MetricInfo(
    name="lpips",
    title="Perceptual distance",
    symbol="LPIPS",
    direction="lower",
    range=(0.0, None),
    description="LPIPS version 0.1 with AlexNet (Zhang et al., 2018).",
    theme="perceptual",
)
LPIPS_RAND = MetricInfo(
    name="lpips_rand",
    title="Perceptual distance (random features, not comparable with published values)",
    symbol="LPIPS-rand",
    direction="lower",
    range=(0.0, 10.0),
    description="Squared distance of unit-length features, summed over the 5 layers of an AlexNet with "
    "weights drawn from one fixed seed: the form of LPIPS (Zhang et al., 2018) without any learned weight.",
    theme="perceptual",
)
EDGE_SHARPNESS = MetricInfo(
    name="edge_sharpness",
    title="Edge sharpness",
    symbol="Sharp",
    direction="higher",
    range=(0.0, 1.0),
    description="Sum of min(|gradient of the prediction|, |gradient of the target|) over the sum of "
    "|gradient of the target|, in the 2-pixel band along the edge of the filled region (Sobel, RGB).",
    theme="structure",
)
BLEED = MetricInfo(
    name="bleed",
    title="Colour bleeding",
    symbol="Bleed",
    direction="lower",
    range=(0.0, 1.0),
    decimals=2,
    percent=True,
    description=f"Share of the pixels at least {BLEED_DISTANCE} pixels away from the filled region whose "
    f"CIE 1976 colour difference to the target exceeds {BLEED_THRESHOLD:.0f}.",
    theme="colour",
)

COLORIZATION: tuple[str, ...] = (
    "delta_e",
    "colour_accuracy",
    "psnr",
    "ssim",
    "lpips",
    "edge_sharpness",
    "bleed",
)
"""Names of the metrics of colorization, in the order of a table."""


def metric_infos(
    names: Iterable[str], perceptual_weights: Literal["published", "random"]
) -> dict[str, MetricInfo]:
    """Return what the named metrics mean, by the names that they are recorded under, in order.

    Raises:
        HarnessError: no such metric.
    """
    infos = (metric_info(name, perceptual_weights) for name in names)
    return {info.name: info for info in infos}


def metric_info(name: str, perceptual_weights: Literal["published", "random"]) -> MetricInfo:
    """Return what one metric means; `lpips` becomes `lpips_rand` with random weights.

    Raises:
        HarnessError: no such metric.
    """
    lpips = LPIPS if perceptual_weights == "published" else LPIPS_RAND
    known = {
        "delta_e": DELTA_E,
        "colour_accuracy": COLOUR_ACCURACY,
        "psnr": PSNR,
        "ssim": SSIM,
        "lpips": lpips,
        "edge_sharpness": EDGE_SHARPNESS,
        "bleed": BLEED,
    }
    if name not in known:
        raise HarnessError(f"no metric '{name}'{did_you_mean(name, known)}")
    return known[name]

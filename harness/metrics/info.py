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
OVERLAP_REACH = 4
"""Pixels from the filled region up to which a neighbouring shape is looked at."""
FILL_THRESHOLD = 20.0
"""CIE 1976 difference from the fill colour below which a pixel is painted with it. The colours of
`harness.data.palette` lie further from each other, from paper and from ink."""
BORDER_SHARE = 1 / 8
"""Width of the band along the border of the image, as a share of its shorter side."""
LEAST_CHROMA = 10.0
"""Chroma from which a colour has a hue."""
EDGE_THRESHOLD = 0.1
"""Slope per pixel above which there is an edge: a step of 0.2 in one channel, 0.12 in all three."""
EDGE_TOLERANCE = 1
"""Pixels that an edge or a contour may be off."""
MS_SSIM_SIDE = 160
"""The shorter side has to be above it for five scales: (11 - 1) times 2⁴."""

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

MSE = MetricInfo(
    name="mse",
    title="Mean squared error",
    symbol="MSE",
    direction="lower",
    range=(0.0, 1.0),
    decimals=4,
    description="Mean squared difference over channels and pixels, data range 1.",
    theme="pixel",
    detail=True,
)
MAE = MetricInfo(
    name="mae",
    title="Mean absolute error",
    symbol="MAE",
    direction="lower",
    range=(0.0, 1.0),
    decimals=4,
    description="Mean absolute difference over channels and pixels, data range 1.",
    theme="pixel",
    detail=True,
)
MS_SSIM = MetricInfo(
    name="ms_ssim",
    title="Multi-scale structural similarity",
    symbol="MS-SSIM",
    direction="higher",
    range=(0.0, 1.0),
    description="SSIM at five scales (Wang, Simoncelli and Bovik, 2003), window 11; recorded for pictures "
    f"whose shorter side is above {MS_SSIM_SIDE} pixels.",
    theme="structure",
    detail=True,
)
GRADIENT_SIMILARITY = MetricInfo(
    name="gradient_similarity",
    title="Gradient similarity",
    symbol="GMS",
    direction="higher",
    range=(0.0, 1.0),
    description="Mean similarity of the gradient magnitudes of the luma at half the size "
    "(Xue et al., 2014, there GMSM).",
    theme="structure",
    detail=True,
)
EDGE_F1 = MetricInfo(
    name="edge_f1",
    title="Edges found",
    symbol="Edge F1",
    direction="higher",
    range=(0.0, 1.0),
    description=f"F1 of the pixels with a slope above {EDGE_THRESHOLD} (Sobel, RGB) in prediction and "
    f"target, right within {EDGE_TOLERANCE} pixel (after Martin et al., 2004).",
    theme="structure",
    detail=True,
)
DELTA_E_2000 = MetricInfo(
    name="delta_e_2000",
    title="Colour error, CIEDE2000",
    symbol="ΔE00",
    direction="lower",
    range=(0.0, None),
    decimals=2,
    description="Mean CIEDE2000 difference over the filled region of the target (Sharma et al., 2005).",
    theme="colour",
    detail=True,
)
DELTA_E_P95 = MetricInfo(
    name="delta_e_p95",
    title="Colour error, worst 5 %",
    symbol="ΔE p95",
    direction="lower",
    range=(0.0, None),
    decimals=2,
    description="95th percentile of the CIE 1976 colour difference over the filled region, then the mean "
    "over images.",
    theme="colour",
    detail=True,
)
HUE_ERROR = MetricInfo(
    name="hue_error",
    title="Hue error",
    symbol="Δh",
    unit="degrees",
    direction="lower",
    range=(0.0, 180.0),
    decimals=1,
    description=f"Mean angle between the CIELAB hues over the filled pixels whose target has a chroma of "
    f"{LEAST_CHROMA:.0f} or more (CIE 015).",
    theme="colour",
    detail=True,
)
CHROMA_ERROR = MetricInfo(
    name="chroma_error",
    title="Chroma error",
    symbol="ΔC",
    direction="lower",
    range=(0.0, None),
    decimals=2,
    description="Mean absolute difference of CIELAB chroma over the filled region (CIE 015).",
    theme="colour",
    detail=True,
)
LIGHTNESS_ERROR = MetricInfo(
    name="lightness_error",
    title="Lightness error",
    symbol="ΔL",
    direction="lower",
    range=(0.0, 100.0),
    decimals=2,
    description="Mean absolute difference of CIELAB lightness over the filled region (CIE 015).",
    theme="colour",
    detail=True,
)
DELTA_E_BORDER = MetricInfo(
    name="delta_e_border",
    title="Colour error near the image border",
    symbol="ΔE border",
    direction="lower",
    range=(0.0, None),
    decimals=2,
    description="Mean CIE 1976 colour difference over the filled pixels in a band along the border of the "
    "image, an eighth of its shorter side wide.",
    theme="colour",
    detail=True,
)
DELTA_E_INNER = MetricInfo(
    name="delta_e_inner",
    title="Colour error away from the image border",
    symbol="ΔE inner",
    direction="lower",
    range=(0.0, None),
    decimals=2,
    description="Mean CIE 1976 colour difference over the filled pixels outside of the band of "
    "delta_e_border.",
    theme="colour",
    detail=True,
)
BACKGROUND_ERROR = MetricInfo(
    name="background_error",
    title="Background error",
    symbol="ΔE back",
    direction="lower",
    range=(0.0, None),
    decimals=2,
    description=f"Mean CIE 1976 colour difference over the pixels at least {BLEED_DISTANCE} pixels away "
    "from the filled region.",
    theme="colour",
    detail=True,
)
OVERLAP_BLEED = MetricInfo(
    name="overlap_bleed",
    title="Bleeding into neighbours",
    symbol="Overlap",
    direction="lower",
    range=(0.0, 1.0),
    decimals=2,
    percent=True,
    description=f"Share of the pixels of other shapes {BLEED_DISTANCE} to {OVERLAP_REACH} pixels from the "
    f"filled region whose CIE 1976 colour difference to the target exceeds {BLEED_THRESHOLD:.0f}.",
    theme="colour",
    detail=True,
)
FILL_IOU = MetricInfo(
    name="fill_iou",
    title="Fill overlap",
    symbol="Fill IoU",
    direction="higher",
    range=(0.0, 1.0),
    description=f"Intersection over union (Jaccard) of the filled region and the one painted within a CIE "
    f"1976 difference of {FILL_THRESHOLD:.0f} of the target's fill colour.",
    theme="structure",
    detail=True,
)
BOUNDARY_F1 = MetricInfo(
    name="boundary_f1",
    title="Contour of the fill",
    symbol="BF",
    direction="higher",
    range=(0.0, 1.0),
    description=f"F1 of the contours of the regions of fill_iou, right within {EDGE_TOLERANCE} pixel "
    "(Csurka et al., 2013).",
    theme="structure",
    detail=True,
)
UNDER_FILL = MetricInfo(
    name="under_fill",
    title="Left unpainted",
    symbol="Under",
    direction="lower",
    range=(0.0, 1.0),
    decimals=1,
    percent=True,
    description=f"Share of the filled region whose CIE 1976 difference to the fill colour is "
    f"{FILL_THRESHOLD:.0f} or more.",
    theme="structure",
    detail=True,
)
UNDER_FILL_BORDER = MetricInfo(
    name="under_fill_border",
    title="Left unpainted near the image border",
    symbol="Under border",
    direction="lower",
    range=(0.0, 1.0),
    decimals=1,
    percent=True,
    description="The share of under_fill over the filled pixels in the band of delta_e_border.",
    theme="structure",
    detail=True,
)
OVER_FILL = MetricInfo(
    name="over_fill",
    title="Painted outside",
    symbol="Over",
    direction="lower",
    range=(0.0, None),
    decimals=1,
    percent=True,
    description="Area painted with the fill colour outside of the filled region, over the area of that "
    "region.",
    theme="structure",
    detail=True,
)

_INFOS = (
    DELTA_E,
    COLOUR_ACCURACY,
    PSNR,
    SSIM,
    LPIPS,
    EDGE_SHARPNESS,
    BLEED,
    MSE,
    MAE,
    MS_SSIM,
    GRADIENT_SIMILARITY,
    EDGE_F1,
    DELTA_E_2000,
    DELTA_E_P95,
    HUE_ERROR,
    CHROMA_ERROR,
    LIGHTNESS_ERROR,
    DELTA_E_BORDER,
    DELTA_E_INNER,
    BACKGROUND_ERROR,
    OVERLAP_BLEED,
    FILL_IOU,
    BOUNDARY_F1,
    UNDER_FILL,
    UNDER_FILL_BORDER,
    OVER_FILL,
)
COLORIZATION: tuple[str, ...] = tuple(info.name for info in _INFOS)
"""Names of the metrics of colorization, in the order of a table; details come last."""


def metrics_of(size: tuple[int, int], *, has_other: bool) -> tuple[str, ...]:
    """Return the metrics of colorization that can have a value for pictures of a size.

    Args:
        size: height and width in pixels; small ones have no `ms_ssim`.
        has_other: whether batches say where other shapes are; else there is no `overlap_bleed`.
    """
    without = {MS_SSIM.name: min(size) > MS_SSIM_SIDE, OVERLAP_BLEED.name: has_other}
    return tuple(name for name in COLORIZATION if without.get(name, True))


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
    known = {info.name: info for info in _INFOS} | {"lpips": lpips}
    if name not in known:
        raise HarnessError(f"no metric '{name}'{did_you_mean(name, known)}")
    return known[name]

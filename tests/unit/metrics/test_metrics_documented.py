"""docs/metrics.md says what the code says."""

from pathlib import Path

import pytest

from harness.analysis.costs import COST_INFOS
from harness.losses.perceptual_network import BACKBONES
from harness.metrics import info
from harness.metrics.info import COLORIZATION, metric_infos
from harness.registry import registry

TEXT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
INFOS = metric_infos(COLORIZATION, "published") | metric_infos(COLORIZATION, "random")


def rows(heading):
    """The rows of the table under a heading, name -> column -> text."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.replace("\\|", "¦") for line in section.splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): dict(zip(head, row, strict=True)) for row in body}


def bound(value):
    return "∞" if value is None else f"{value:g}"


def test_every_metric_is_documented_and_no_other():
    assert rows("Metrics").keys() == INFOS.keys()


def test_every_loss_is_documented_and_no_other():
    assert rows("Loss terms").keys() == set(registry.names("loss"))


@pytest.mark.parametrize("name", INFOS)
def test_row_agrees_with_the_info(name):
    info, row = INFOS[name], rows("Metrics")[name]
    assert row["title"] == info.title
    assert row["unit"] == info.unit
    assert row["direction"] == info.direction
    assert row["range"] == " to ".join(map(bound, info.range))
    assert ("Shown in percent" in row["caveats"]) == info.percent


def test_smallest_images_of_lpips_are_those_of_the_code():
    caveats = rows("Loss terms")["lpips"]["caveats"]
    for net, backbone in BACKBONES.items():
        assert f"{backbone.smallest_side} px (`{net}`)" in caveats


def test_every_cost_is_documented_and_no_other():
    documented = rows("Costs")
    assert documented.keys() == COST_INFOS.keys()
    for name, cost in COST_INFOS.items():
        row = documented[name]
        kind = "measured" if cost.measured else "exact"
        assert (row["title"], row["unit"], row["direction"], row["kind"]) == (
            cost.title,
            cost.unit,
            cost.direction,
            kind,
        )


def test_the_constants_in_the_text_are_those_of_the_code():
    metrics = {name: " ".join(row.values()) for name, row in rows("Metrics").items()}
    assert f"{info.BLEED_DISTANCE} to {info.OVERLAP_REACH} px" in metrics["overlap_bleed"]
    assert f"ΔE above {info.BLEED_THRESHOLD:.0f}" in metrics["overlap_bleed"]
    assert f"above {info.EDGE_THRESHOLD:g} (Sobel" in metrics["edge_f1"]
    assert f"within {info.EDGE_TOLERANCE} px" in metrics["boundary_f1"]
    assert f"chroma of {info.LEAST_CHROMA:.0f}" in metrics["hue_error"]
    assert f"above {info.MS_SSIM_SIDE} px" in metrics["ms_ssim"]
    assert f"ΔE below {info.FILL_THRESHOLD:.0f} to the fill colour" in TEXT
    assert (info.BORDER_SHARE, "an eighth of its shorter side" in TEXT) == (1 / 8, True)

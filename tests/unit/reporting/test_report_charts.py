"""Charts: label placement, colours as roles, and what a drawing contains."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reporting.charts.curves import epoch_ticks
from harness.reporting.charts.draw import draw
from harness.reporting.charts.sheet import (
    SMALL,
    STAND_IN,
    Palette,
    inline,
    read_palette,
    shorten,
    shorten_all,
    spread,
    standalone,
    text_width,
)
from harness.reporting.model import Curves, Forest, ForestGroup, ForestRow, Line

SVG = "{http://www.w3.org/2000/svg}"
PALETTE = Palette(
    light={role: f"#1111{index:02x}" for index, role in enumerate(STAND_IN)},
    dark={role: f"#eeee{index:02x}" for index, role in enumerate(STAND_IN)},
)


def curves(ends: list[float], epochs: int = 5) -> Curves:
    lines = tuple(
        Line(
            label=f"line {index}",
            colour=f"v{index + 1}",
            epochs=tuple(range(1, epochs + 1)),
            mean=(1.0,) * (epochs - 1) + (end,),
            low=(0.9,) * epochs,
            high=(1.1,) * epochs,
        )
        for index, end in enumerate(ends)
    )
    return Curves(name="c", title="Curves", description="text", percent=False, lines=lines)


def forest(label: str = "+ LAB vs MSE", margin: float | None = 2.0) -> Forest:
    rows = (
        ForestRow(label, label, -11.2, -12.6, -9.8, "−11.2 [−12.6, −9.8]", "better", "p = 0.0004", "good"),
        ForestRow(
            "one seed", "one seed", 3.0, None, None, "+3.0", "described", "1 seed, not judged", "plain"
        ),
    )
    axis = "difference in ΔE (lower is better) · band: ±2.0 counts as equivalent"
    return Forest("f", "Effects", "text", axis, False, margin, (ForestGroup("against MSE", rows),))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def label_positions(svg: str) -> list[float]:
    """Vertical positions of the texts "line N", as drawn."""
    found = [
        element.get("transform", "")
        for element in ET.fromstring(svg).iter(f"{SVG}text")
        if (element.text or "").startswith("line ")
    ]
    return sorted(float(re.match(r"translate\([-\d.]+,([-\d.]+)\)", place).group(1)) for place in found)  # type: ignore[union-attr]


def test_two_labels_at_one_place_move_apart_by_half_a_gap_each():
    assert spread([50, 50], gap=14, low=0, high=100) == [43, 57]


def test_labels_with_room_stay_where_they_are():
    assert spread([80, 10, 40], gap=14, low=0, high=100) == [80, 10, 40]


def test_labels_at_the_lower_edge_are_pushed_up():
    assert spread([100, 100], gap=14, low=0, high=100) == [86, 100]


@given(st.lists(st.floats(0, 200), max_size=8))
def test_labels_keep_their_gap_and_their_order(wanted):
    placed = spread(wanted, gap=15, low=0, high=200)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    steps = [placed[b] - placed[a] for a, b in itertools.pairwise(order)]
    assert all(step >= 15 - 1e-6 for step in steps)
    assert all(-1e-6 <= place <= 200 + 1e-6 for place in placed)


@pytest.mark.parametrize(
    ("last", "ticks"),
    [
        (1, [1]),
        (5, [1, 2, 3, 4, 5]),
        (20, [1, 5, 10, 15, 20]),
        (15, [1, 5, 10, 15]),
        (50, [1, 10, 20, 30, 40, 50]),
        (60, [1, 20, 40, 60]),
    ],
)
def test_epoch_axis_has_whole_epochs_with_the_first_and_the_last(last, ticks):
    assert epoch_ticks(last) == ticks


def test_a_long_label_is_cut_with_an_ellipsis():
    assert shorten("abcdefgh", 5) == "abcd…"
    assert shorten("abcde", 5) == "abcde"


def test_lines_that_end_together_have_labels_that_do_not_overlap():
    for svg in (draw(curves([1.0, 1.0, 1.01, 1.0])).wide, draw(curves([1.0, 1.0, 1.01, 1.0])).narrow):
        places = label_positions(svg)
        assert len(places) == 4
        assert min(b - a for a, b in itertools.pairwise(places)) >= 12.5  # the font's size


def test_labels_that_differ_at_their_ends_alone_stay_apart():
    assert shorten_all(["a long depth one", "a long depth two"], 10) == ["a lon… one", "a lon… two"]
    assert shorten_all(["a long depth one", "short"], 10) == ["a long de…", "short"]


def nine() -> Curves:
    """Curves of nine variants: the ninth has the colour of the first, and another mark."""
    eight = curves([1.0 + 0.1 * index for index in range(8)])
    ninth = replace(eight.lines[0], label="line 8", mark=1)
    return replace(eight, lines=(*eight.lines, ninth))


def test_eight_variants_are_drawn_without_dashes():
    assert "dasharray" not in draw(replace(nine(), lines=nine().lines[:8])).wide


def test_the_ninth_variant_has_a_dash_of_its_own_in_its_curve_and_beside_its_label():
    for svg in (draw(nine()).wide, draw(nine()).narrow):
        dashed = [
            element
            for element in ET.fromstring(svg).iter()
            if element.get("stroke-dasharray") == "7,3" and element.get("stroke") == STAND_IN["v1"]
        ]
        assert {element.tag for element in dashed} == {f"{SVG}path", f"{SVG}line"}


def test_two_variants_of_one_title_are_two_lines():
    same = replace(nine(), lines=tuple(replace(line, label="same") for line in nine().lines[:2]))
    paths = [
        element
        for element in ET.fromstring(draw(same).wide).iter(f"{SVG}path")
        if element.get("stroke") in (STAND_IN["v1"], STAND_IN["v2"]) and element.get("stroke-width") == "2"
    ]
    assert len(paths) == 2
    assert all((path.get("d") or "").count("M") == 1 for path in paths)


def test_a_chart_of_many_variants_is_high_enough_for_their_labels():
    lines = tuple(
        replace(nine().lines[index % 8], label=f"line {index}", mark=index // 8) for index in range(20)
    )
    svg = draw(replace(nine(), lines=lines)).narrow
    places = label_positions(svg)
    assert min(b - a for a, b in itertools.pairwise(places)) >= 12.5
    assert places[-1] + 44 < float(ET.fromstring(svg).get("height", "0"))


def test_a_forest_whose_labels_have_no_room_names_the_variants_alone():
    whole = forest("a variant of two factors vs the reference")
    (group,) = whole.groups
    rows = tuple(replace(row, short=f"{row.short.partition(' vs ')[0]}.") for row in group.rows)
    drawing = draw(replace(whole, groups=(replace(group, rows=rows),)))
    for svg in (drawing.wide, drawing.narrow):
        assert {"a variant of two factors.", "one seed."} <= set(texts(svg))


def test_the_longest_label_of_an_axis_has_room():
    wanted = replace(curves([1.0]), percent=True)
    narrow = tuple(
        replace(line, mean=(0.9997,) * 5, low=(0.9978,) * 5, high=(1.0,) * 5) for line in wanted.lines
    )
    drawing = draw(replace(wanted, lines=narrow))
    for svg in (drawing.wide, drawing.narrow):
        assert "100.00%" in texts(svg)
        left = re.search(r'stroke-miterlimit="10" transform="translate\(([\d.]+),8\)"', svg)
        assert left is not None
        assert float(left.group(1)) >= text_width("100.00%", SMALL) + 8


def test_a_single_epoch_is_drawn():
    assert "line 0" in texts(draw(curves([1.0], epochs=1)).wide)


def test_a_forest_names_every_row_in_both_forms():
    drawing = draw(forest())
    for svg in (drawing.wide, drawing.narrow):
        for text in ("+ LAB vs MSE", "−11.2 [−12.6, −9.8]", "better", "p = 0.0004", "one seed", "described"):
            assert text in texts(svg)


def test_the_narrow_form_fits_a_phone_and_is_a_drawing_of_its_own():
    drawing = draw(forest())
    widths = [float(ET.fromstring(svg).get("width", "0")) for svg in (drawing.wide, drawing.narrow)]
    assert widths[0] > 800
    assert widths[1] <= 330


def test_the_margin_is_a_band_only_where_one_is_declared():
    band = STAND_IN["band"]
    assert band in draw(forest(margin=2.0)).wide
    assert band not in draw(forest(margin=None)).wide


def test_text_from_a_suite_stays_text_in_the_svg():
    drawing = draw(forest(label="<script>alert(1)</script>"))
    for svg in (drawing.wide, drawing.narrow):
        assert "<script" not in svg
        ET.fromstring(svg)


def test_inline_svg_takes_its_colours_from_the_page_and_has_a_title():
    svg = str(inline(draw(forest()).wide, "f-wide", "Effects & more", "what it shows"))
    assert not [colour for colour in STAND_IN.values() if colour in svg]
    assert "var(--good)" in svg
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == "Effects & more"
    assert title.get("id") in root.get("aria-labelledby", "").split()


def test_standalone_svg_has_its_own_colours_for_light_and_dark():
    svg = standalone(draw(forest()).wide, PALETTE, "Effects")
    assert "var(" not in svg
    assert not [colour for colour in STAND_IN.values() if colour in svg]
    assert PALETTE.light["good"] in svg
    style = ET.fromstring(svg).find(f"{SVG}style")
    assert style is not None
    assert f'[stroke="{PALETTE.light["good"]}"]{{stroke:{PALETTE.dark["good"]}}}' in (style.text or "")


def test_a_palette_without_a_role_is_refused():
    with pytest.raises(KeyError):
        read_palette(":root { --ink: #000000; } :root { --ink: #ffffff; }")

"""Trade-offs and per-image intervals in the report, and the chart of quality over a cost."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from importlib.resources import files
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reporting.charts.draw import draw
from harness.reporting.charts.pareto import Box, place_labels
from harness.reporting.charts.sheet import STAND_IN
from harness.reporting.model import Cell, Scatter, ScatterPoint, Table, TradeOffs
from harness.reporting.names import Names
from harness.reporting.precision import precision_table
from harness.reporting.render import render
from harness.reporting.tradeoffs import trade_off_section
from harness.reporting.view import build_view
from tests.support.synthetic_run import synthetic_record

SVG = "{http://www.w3.org/2000/svg}"
SIZES = {"mse": 100e3, "lpips": 1.2e6, "ssim": 0.8e6, "lab": 2.4e6}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """The made-up run, with models of four sizes: + LPIPS has more parameters than + SSIM."""
    found = synthetic_record(tmp_path_factory.mktemp("store"), samples=False, labels=False)
    return replace(found, trials=found.trials.assign(parameters=found.trials["variant"].map(SIZES)))


def section(record) -> TradeOffs | None:
    return trade_off_section(record, Names(record.plan))


@pytest.fixture(scope="module")
def trade_offs(record) -> TradeOffs:
    found = section(record)
    assert found is not None
    return found


def cells(table: Table, label: str) -> dict[str, Cell]:
    row = next(row for row in table.rows if row.label == label)
    return {column.title: cell for column, cell in zip(table.columns, row.cells, strict=True)}


def test_every_cost_that_differs_has_a_chart_and_a_table(trade_offs):
    titles = [plot.chart.title for plot in trade_offs.plots]
    assert titles == [
        f"Colour error, ΔE ↓ over {cost}" for cost in ("parameters", "latency", "training time", "CPU hours")
    ]
    assert all(len(plot.table.rows) == len(plot.chart.points) == 4 for plot in trade_offs.plots)


def test_a_cost_that_does_not_differ_is_said_in_one_line(trade_offs):
    # 900 MB and 1 MB more with every step, the same in every seed: fewer seeds than such a difference needs
    assert trade_offs.shared == (
        "Forward FLOPs: 1.2 G in every variant.",
        "Peak memory: 858 MiB to 861 MiB, no two variants told apart.",
    )


def test_standings_and_prices_stand_in_the_table(trade_offs):
    (table,) = (plot.table for plot in trade_offs.plots if "parameters" in plot.chart.title)
    words = {row.label: cells(table, row.label)["Standing"].verdict.word for row in table.rows}
    assert words == {"MSE": "front", "+ LPIPS": "open", "+ SSIM": "front", "+ LAB": "front"}
    assert cells(table, "MSE")["Cost of a point"].note == " the reference"
    assert cells(table, "+ LPIPS")["Cost of a point"].note == " not better by verdict"
    # 2.3 M more for an improvement from about 21 to about 8.5 ΔE
    price = cells(table, "+ LAB")["Cost of a point"]
    assert 150 < float(price.text.removesuffix(" k")) < 220
    assert re.fullmatch(r" \d+ k to \d+ k", price.note)


def test_a_cost_over_a_range_above_ten_has_a_logarithmic_axis(trade_offs):
    logarithmic = {plot.chart.name: plot.chart.logarithmic for plot in trade_offs.plots}
    assert logarithmic.pop("trade_off_parameters")
    assert not any(logarithmic.values())


def test_a_dominated_variant_names_what_dominates_it(record):
    sizes = SIZES | {"lpips": 5e6}
    larger = replace(record, trials=record.trials.assign(parameters=record.trials["variant"].map(sizes)))
    table = section(larger).plots[0].table
    assert cells(table, "+ LPIPS")["Standing"].verdict.word == "dominated"
    assert cells(table, "+ LPIPS")["Standing"].note == " by + LAB"


def test_per_image_intervals_are_a_table_of_their_own(record):
    table = precision_table(record, Names(record.plan))
    assert [column.title for column in table.columns] == ["ΔE", "PSNR", "SSIM", "LPIPS-r", "Colour accuracy"]
    # t(127) = 1.979; a spread of 4.0 over 128 images
    assert {row.cells[0].text for row in table.rows} == {"±0.7"}
    assert "128 validation images" in table.notes[0]
    assert "nothing of other seeds" in table.notes[0]


def test_a_store_of_before_has_neither_per_image_intervals_nor_latency(record):
    before = replace(
        record,
        metrics=record.metrics.assign(sd=float("nan")),
        costs=record.costs[record.costs["name"] != "latency_seconds"],
    )
    assert precision_table(before, Names(before.plan)) is None
    assert "latency" not in " ".join(plot.chart.title for plot in section(before).plots)


@pytest.mark.parametrize(
    "shape", [{"steps": 1}, {"running": [(name, seed) for name in SIZES for seed in range(5)]}]
)
def test_a_run_without_two_variants_to_set_beside_each_other_has_no_trade_offs(tmp_path, shape):
    assert section(synthetic_record(tmp_path, samples=False, claims=False, **shape)) is None


def test_one_seed_is_placed_by_its_values_and_priced_by_none(tmp_path):
    for plot in section(synthetic_record(tmp_path, samples=False, claims=False, seeds=1)).plots:
        assert {point.standing for point in plot.chart.points} <= {"front", "open"}
        assert {cells(plot.table, row.label)["Cost of a point"].text for row in plot.table.rows} == {"–"}
        assert all(point.x_low is None and point.y_low is None for point in plot.chart.points)


def test_a_variant_that_lacks_the_cost_is_named(tmp_path):
    lost = tuple(("ssim", seed) for seed in range(5))
    for plot in section(synthetic_record(tmp_path, samples=False, claims=False, missing=lost)).plots:
        assert plot.table.notes == ("Without + SSIM: no value or no cost that can be compared.",)


def test_both_formats_show_charts_tables_and_notes(record, tmp_path):
    view = build_view(record)
    assert "trade-offs" in [one.anchor for one in view.sections]
    view = replace(
        view, effects=None, validation_curves=(), training_curves=(), crossed=(), what_matters=None
    )
    written = render(view, "chronicle", [files("harness.reports")], tmp_path)
    html, markdown = written.html.read_text(), written.markdown.read_text()
    assert 'id="trade_off_parameters-wide-title"' in html
    assert "(charts/trade_off_parameters.svg)" in markdown
    for text in (html, markdown):
        for said in (
            "Trade-offs",
            "Per-image intervals",
            "Forward FLOPs: 1.2 G in every",
            "Fieller interval",
        ):
            assert said in text


# --- the chart


def scatter(*points: tuple[str, float, float, str], logarithmic: bool = False) -> Scatter:
    return Scatter(
        name="s",
        title="ΔE over parameters",
        description="text",
        x_title="parameters",
        x_format="~s",
        logarithmic=logarithmic,
        percent=False,
        points=tuple(
            ScatterPoint(label, f"v{index % 8 + 1}", standing, x, None, None, y, y - 1, y + 1)
            for index, (label, x, y, standing) in enumerate(points)
        ),
    )


FOUR = (
    ("a", 1.0, 20.0, "front"),
    ("b", 2.0, 10.0, "front"),
    ("c", 3.0, 15.0, "dominated"),
    ("d", 2.5, 10.1, "open"),
)


def elements(svg: str, tag: str, **attributes: str) -> list[ET.Element]:
    return [
        one
        for one in ET.fromstring(svg).iter(f"{SVG}{tag}")
        if all(one.get(name.replace("_", "-")) == value for name, value in attributes.items())
    ]


def test_the_front_is_one_stepped_line_from_the_cheapest_to_the_right_edge():
    (path,) = elements(draw(scatter(*FOUR)).wide, "path", stroke_dasharray="4,3")
    corners = [tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", path.get("d", ""))]
    assert len(corners) == 4
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
    assert ay == by
    assert bx == cx
    assert cy == dy
    assert ax < bx < dx
    assert ay < cy  # a higher error is drawn higher


def test_standings_differ_by_shape_and_fill():
    svg = draw(scatter(*FOUR)).wide
    marks = {
        name: next(
            one
            for one in ET.fromstring(svg).iter(f"{SVG}path")
            if one.get("stroke") == STAND_IN[f"v{index + 1}"] and one.get("stroke-width") == "2"
        )
        for index, (name, *_) in enumerate(FOUR)
    }
    assert marks["a"].get("fill") == STAND_IN["v1"]
    assert marks["c"].get("fill") == marks["d"].get("fill") == STAND_IN["surface"]
    assert marks["c"].get("d") != marks["d"].get("d") == marks["a"].get("d")


@pytest.mark.parametrize("logarithmic", [False, True])
def test_every_variant_is_named_in_both_forms(logarithmic):
    drawing = draw(scatter(*FOUR, logarithmic=logarithmic))
    for svg in (drawing.wide, drawing.narrow):
        assert {one.text for one in elements(svg, "text")} >= {"a", "b", "c", "d"}
    assert float(ET.fromstring(drawing.narrow).get("width", "0")) <= 330


places = st.lists(st.tuples(st.floats(10, 300), st.floats(10, 200)), min_size=1, max_size=14)


@given(places)
def test_labels_cover_neither_one_another_nor_a_dot(dots):
    area = Box(0, 0, 320, 220)
    boxes = [box for box in place_labels(dots, [(60.0, 14.0)] * len(dots), area) if box is not None]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.overlaps(Box(x - 4, y - 4, x + 4, y + 4)) for box in boxes for x, y in dots)
    assert all(box.lies_in(area) for box in boxes)


def test_a_label_keeps_off_a_line_where_it_can_and_is_left_out_where_there_is_no_room():
    dot, size, area = [(50.0, 50.0)], [(30.0, 10.0)], Box(0, 0, 100, 100)
    (right,) = place_labels(dot, size, area)
    assert right is not None
    assert right.left > 50
    (elsewhere,) = place_labels(dot, size, area, [Box(55, 49, 100, 51)])
    assert elsewhere is not None
    assert not elsewhere.overlaps(Box(55, 49, 100, 51))
    assert place_labels(dot, [(300.0, 10.0)], area) == [None]

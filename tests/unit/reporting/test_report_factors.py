"""What the report says and draws of factors: their importance, and those that are crossed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from harness.plan import Plan, Variant
from harness.reporting.charts.draw import draw
from harness.reporting.factors import crossed_factors
from harness.reporting.importance import what_matters
from harness.reporting.model import Cell, CrossedFactors, Row, Table
from harness.reporting.names import Names
from tests.support.crossed_table import name_of, plan_of
from tests.unit.analysis.hand_record import ACCURACY, DELTA_E, build

SVG = "{http://www.w3.org/2000/svg}"
SWITCH = ("off", "on")
LOSSES = {"terms.l1": SWITCH, "terms.lab": SWITCH}
MIXED = {"depth": ("d1", "d2", "d3"), "lr": ("low", "high")}


def record_of(factors, means, *, cells=None, seeds: int = 5, infos=(DELTA_E,), scale: float = 0.1, absent=()):
    """A record with these means by variant, in the order of the cells."""
    chosen = list(product(*factors.values())) if cells is None else cells
    names = [name_of(cell) for cell in chosen]
    noise = np.random.default_rng(7).normal(scale=scale, size=(len(names), seeds))
    values = np.array(means, dtype=float)[:, None] + noise
    finals = {info.name: {n: list(row) for n, row in zip(names, values, strict=True)} for info in infos}
    status = {(name, 10 + seed): "failed" for name in absent for seed in range(seeds)}
    record = build(finals, infos=infos, chain=False, status=status)
    plan: Plan = record.plan.model_copy(update={"variants": plan_of(factors, chosen).variants})
    return replace(record, plan=plan)


def section(record) -> CrossedFactors:
    (found,) = crossed_factors(record, Names(record.plan))
    return found


def row(table: Table, label: str) -> dict[str, Cell]:
    found: Row = next(one for one in table.rows if one.label == label)
    return {column.title: cell for column, cell in zip(table.columns, found.cells, strict=True)}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def losses():
    """Either term takes 2 off, both take 1 more."""
    return record_of(LOSSES, [10, 8, 8, 5], infos=(DELTA_E, ACCURACY))


def test_a_suite_without_crossed_factors_has_no_such_section():
    record = record_of(
        MIXED, [10, 9, 8, 7], cells=[("d1", "low"), ("d2", "low"), ("d3", "low"), ("d1", "high")]
    )
    assert crossed_factors(record, Names(record.plan)) == ()
    assert what_matters(record) is not None


def test_a_suite_of_one_factor_does_not_say_what_matters():
    record = build({DELTA_E.name: {"a": [1.0, 2, 3], "b": [2.0, 3, 4]}}, chain=False)
    assert what_matters(record) is None


def test_effects_are_named_after_the_parts_that_are_on(losses):
    found = section(losses)
    assert found.title == "l1 x lab"
    assert [one.label for one in found.primary.rows] == ["l1", "lab", "l1 x lab"]
    both = row(found.primary, "l1 x lab")
    assert both["Verdict"].verdict.word == "synergy"
    assert both["Effect on ΔE"].text.startswith("−1.")
    assert [group.title for group in found.forest.groups] == [
        "on its own, over all levels of the others",
        "two together, beyond the sum of both",
    ]


def test_effects_of_several_levels_name_both_that_they_compare():
    found = section(record_of(MIXED, [10, 9, 8, 7, 6, 5]))
    labels = [one.label for one in found.primary.rows]
    assert labels == ["d2 vs d1", "d3 vs d1", "high vs low", "d2 x high", "d3 x high"]
    assert [one.label for one in found.tests.rows] == ["depth", "depth x lr"]


def test_other_metrics_have_tables_of_their_own(losses):
    found = section(losses)
    assert found.others_title == "The same effects in Right colour"
    (other,) = found.others
    assert row(other.table, "l1 x lab")["Verdict"].verdict.word == "antagonism"  # less is worse there


def test_the_plot_shows_the_means_that_its_table_has(losses):
    (plot,) = section(losses).plots
    assert [line.label for line in plot.chart.lines] == ["lab off", "lab on"]
    means = [[point.mean for point in line.points] for line in plot.chart.lines]
    assert np.round(means, 0).tolist() == [[10, 8], [8, 5]]
    assert row(plot.table, "on")["lab on"].text == f"{means[1][1]:.1f}"
    drawing = draw(plot.chart)
    for svg in (drawing.wide, drawing.narrow):
        assert {"lab off", "lab on", "off", "on", "l1"} <= set(texts(svg))


def test_a_plot_says_where_a_line_has_no_values():
    record = record_of(LOSSES, [10, 8, 8, 5], absent=("off,on", "on,on"))
    (plot,) = section(record).plots
    assert "lab on: no values" in texts(draw(plot.chart).wide)
    assert row(plot.table, "on")["lab on"].text == "–"


def test_an_absent_variant_leaves_its_effects_unjudged_and_is_named():
    found = section(record_of(LOSSES, [10, 8, 8, 5], absent=("on,on",)))
    assert row(found.primary, "l1 x lab")["Verdict"].note == " cannot be told: values are absent"
    assert row(found.primary, "l1")["Verdict"].note == " or l1 x lab: values are absent"
    assert {one.cells[4].verdict.word for one in found.primary.rows} == {"described"}
    assert any(note.startswith("No values of on,on") for note in found.notes)


def test_a_fraction_shows_what_stands_behind_every_effect():
    factors = {"a": SWITCH, "b": SWITCH, "c": SWITCH}
    half = [cell for cell in product(*factors.values()) if cell.count("on") % 2 == 0]
    found = section(record_of(factors, [1, 2, 3, 4], cells=half))
    assert row(found.primary, "a")["Not told from"].text == "b x c"
    assert found.notes[0].startswith("4 of 8 combinations")
    assert any("a x b, a x c, b x c: this fraction does not tell them" in note for note in found.notes)


def test_variants_outside_are_named():
    factors = {**MIXED, "batch": ("b16", "b32")}
    cells = [*product(MIXED["depth"], MIXED["lr"], ["b16"]), ("d1", "low", "b32")]
    found = section(record_of(factors, range(7), cells=cells))
    assert "Not part of it: d1,low,b32." in found.notes


def test_many_effects_leave_the_weakest_to_the_table_and_say_so():
    factors = dict.fromkeys("abcde", SWITCH)
    found = section(record_of(factors, range(32), seeds=3))
    assert sum(len(group.rows) for group in found.forest.groups) == 16
    assert len(found.primary.rows) == 5 + 10 + 10
    assert "The chart shows 16 of 25 effects." in found.notes
    assert (len(found.plots), len(found.more_plots)) == (4, 6)


def test_what_matters_comes_first_and_levels_are_named():
    found = what_matters(record_of(MIXED, [10, 9, 8, 7, 6, 5]))
    assert [one.label for one in found.table.rows] == ["depth", "lr"]
    depth = row(found.table, "depth")
    assert (depth["Best level"].text, depth["Worst level"].text) == ("d3", "d1")
    assert depth["Verdict"].verdict.word == "matters"
    assert found.forest.groups[0].rows[0].numbers.startswith("4.")
    assert "+" not in "".join(texts(draw(found.forest).wide))  # a span has no sign
    assert any("levels that the suite chose" in note for note in found.notes)


def test_steps_of_a_chain_are_ranked():
    names = ["mse", "ssim", "lab"]
    noise = np.random.default_rng(7).normal(scale=0.1, size=(3, 5))
    record = build(
        {DELTA_E.name: {n: list(m + e) for n, m, e in zip(names, (20, 19, 8), noise, strict=True)}}
    )
    assert isinstance(record.plan.variants[0], Variant)
    found = what_matters(record)
    assert [(one.label, one.cells[2].text) for one in found.table.rows] == [("LAB", "on"), ("SSIM", "on")]
    assert [one.label for one in found.forest.groups[0].rows] == ["LAB", "SSIM"]


def test_levels_go_by_the_title_of_the_variant_that_has_them_alone():
    cells = [("d1", "low"), ("d2", "low"), ("d3", "low"), ("d1", "high")]
    record = record_of(MIXED, [10, 9, 8, 7], cells=cells)
    titles = ["base", "two layers", "three layers", "a high rate"]
    factors = [None, "depth", "depth", "lr"]
    variants = tuple(
        one.model_copy(update={"title": title, "factor": factor})
        for one, title, factor in zip(record.plan.variants, titles, factors, strict=True)
    )
    found = what_matters(replace(record, plan=record.plan.model_copy(update={"variants": variants})))
    told = {one.label: (one.cells[2].text, one.cells[3].text) for one in found.table.rows}
    assert told == {"lr": ("a high rate", "low"), "depth": ("three layers", "d1")}


def test_what_is_inconclusive_says_what_could_have_been_seen():
    record = record_of(LOSSES, [10, 10, 10, 10], scale=1.0)
    (first, *_) = what_matters(record).table.rows
    assert first.cells[-1].verdict.word == "inconclusive"
    assert first.cells[-1].note.startswith(" could have seen ")
    assert row(section(record).primary, "l1 x lab")["Verdict"].note.startswith(" could have seen ")
    assert section(record).forest.groups[0].rows[0].note.startswith("could have seen ")

"""The section of expected and actual figures."""

import dataclasses
import json

import pytest

from harness.grammar import Claim
from harness.reporting.render import write_report
from harness.reporting.view import build_view
from tests.support.synthetic_run import synthetic_record


def with_claims(record, *expectations):
    claims = tuple(
        Claim.model_validate_json(json.dumps({"id": f"c{index}", "says": "a claim", "expect": expect}))
        for index, expect in enumerate(expectations)
    )
    return dataclasses.replace(record, plan=record.plan.model_copy(update={"claims": claims}))


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    made = synthetic_record(
        tmp_path_factory.mktemp("store"),
        reported={"parameters": 2_410_000},
        samples=False,
        labels=False,
        epochs=4,
    )
    return with_claims(
        made,
        {"metric": "psnr", "of": "lab", "at_least": 25},
        {"metric": ["psnr", "ssim"], "of": "mse", "at_least": 0.95},
        {"metric": "parameters", "of": "lab", "reported": 12},
        {"metric": "delta_e", "largest_gain": "lab"},
    )


def test_claims_about_figures_stand_with_what_was_expected_and_what_came_out(record):
    table = build_view(record).expected
    rows = {row.label: row for row in table.rows}
    psnr = rows["+ LAB: PSNR"]
    assert psnr.cells[0].text == "at least 25.0 dB"
    assert psnr.cells[1].text.endswith("] dB")
    assert (psnr.cells[2].verdict.word, psnr.cells[2].note) == ("confirmed", " c0")
    assert [rows[f"MSE: {name}"].cells[2].note for name in ("PSNR", "SSIM")] == [
        " c1, all together",
        "c1, see above",
    ]
    assert rows["MSE: SSIM"].cells[2].verdict is None


def test_figures_that_levels_report_stand_below_the_claims(record):
    rows = [row for row in build_view(record).expected.rows if row.label.endswith(": parameters")]
    assert [(row.label, row.cells[0].text, row.cells[1].text) for row in rows[:2]] == [
        ("+ LAB: parameters", "12", "2,410,000"),
        ("MSE: parameters", "2,410,000", "2,410,000"),
    ]
    assert [row.cells[2].verdict.word for row in rows[:2]] == ["refuted", "same"]


def test_a_suite_that_names_no_figure_has_no_such_section(tmp_path):
    view = build_view(synthetic_record(tmp_path, reported={}, samples=False, labels=False, epochs=4))
    assert view.expected is None
    assert "expected" not in {section.anchor for section in view.sections}


def test_the_section_is_written_in_both_forms(record, tmp_path):
    written = write_report(record, tmp_path)
    assert '<section id="expected">' in written.html.read_text()
    assert "## Expected and actual" in written.markdown.read_text()

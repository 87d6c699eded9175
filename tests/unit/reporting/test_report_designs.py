"""Reports of cross-validations and of crossed designs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.reporting.model import Cell, Table, View
from harness.reporting.names import Names
from harness.reporting.render import WrittenReport, write_report
from harness.reporting.view import build_view
from harness.terminal.board import conclude
from tests.support.synthetic_run import synthetic_record

REPORTS = Path(__file__).parents[3] / "reports"
NOTE = "depth=d2 with lab is left out: the suite excludes it"


def cells(table: Table, label: str) -> dict[str, Cell]:
    row = next(row for row in table.rows if row.label == label)
    return {column.title: cell for column, cell in zip(table.columns, row.cells, strict=True)}


# --- folds


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> View:
    """Return three seeds of five folds; a trial failed, and one never began."""
    record = synthetic_record(
        tmp_path_factory.mktemp("store"), folds=5, seeds=3, missing_folds=(("mse", 0, 0),)
    )
    record.trials.loc[record.trials["trial_id"] == record.plan.trials[-1].id, "status"] = "failed"
    return build_view(record)


def test_the_head_says_seeds_and_folds(view):
    assert "4 variants, 3 seeds x 5 folds, paired." in view.lede


def test_every_trial_is_named_by_seed_and_fold(view):
    (group,) = [group for group in view.provenance.trials if group.title.startswith("+ LAB")]
    assert [row.label for row in group.table.rows] == [
        f"seed {seed} fold {fold}" for seed in range(3) for fold in range(5)
    ]
    assert group.table.corner == "Seed and fold"
    anchors = [row.anchor for group in view.provenance.trials for row in group.table.rows]
    assert len(set(anchors)) == len(anchors) == 59


def test_a_failed_trial_names_its_fold(view):
    (failure,) = view.failures
    assert failure.title == "+ LAB, seed 2 fold 4: failed after 20 epochs"


def test_tables_count_folds(view):
    assert cells(view.comparison, "MSE")["Seeds x folds"].text == "14/15"
    assert cells(view.effects.primary, "+ LPIPS vs MSE")["Seeds x folds"].text == "14 of 15"
    assert cells(view.effects.primary, "+ SSIM vs + LPIPS")["Seeds x folds"].text == "15"


def test_notes_say_that_folds_overlap(view):
    assert "paired by seed and fold" in view.effects.notes[0]
    assert "Nadeau and Bengio" in view.effects.notes[0]
    assert "over seeds and folds" in view.comparison.notes[0]
    assert view.curves_note == "Line: mean over seeds and folds; band: range over 3 seeds x 5 folds."
    assert view.labels[0].notes[0].startswith("Mean over seeds and folds")


def test_pictures_are_of_the_fold_that_every_variant_has(view):
    assert view.overview.caption == "The same validation images in every row and column: those of fold 0."


def test_pictures_of_several_folds_say_so(tmp_path):
    missing = (("mse", 0, 0), ("lab", 0, 1))
    view = build_view(synthetic_record(tmp_path, folds=2, seeds=1, missing_folds=missing))
    assert view.overview.caption.startswith("Validation images of folds 0, 1: ")


def test_one_seed_of_five_folds_has_intervals_and_verdicts(tmp_path):
    view = build_view(synthetic_record(tmp_path, folds=5, seeds=1))
    assert view.answers[0].verdict.word == "confirmed"
    assert "5 folds x 1 seed" in view.answers[0].reason.text
    assert "1 seed x 5 folds, paired" in view.lede
    assert view.variants[0].conclusion.text.endswith("5 folds x 1 seed.")
    assert all(row.low is not None for group in view.effects.forest.groups for row in group.rows)


def test_without_folds_nothing_speaks_of_them(tmp_path):
    record = synthetic_record(tmp_path / "store", samples=False, epochs=4)
    written = write_report(record, tmp_path, search_path=[REPORTS])
    assert "fold" not in written.markdown.read_text(encoding="utf-8")


def test_the_terminal_names_the_fold_of_a_failed_trial(tmp_path):
    record = synthetic_record(tmp_path, folds=5, seeds=1, failed=(("lab", 0),))
    console = Console(file=io.StringIO(), width=200)
    conclude(record, WrittenReport(html=Path("r/report.html"), markdown=Path("r/report.md")), console)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("✗ failed")]
    assert [line.split("   ")[-2].strip() for line in lines] == [f"lab seed 0 fold {k}" for k in range(5)]


# --- crossed designs


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """Return a 2 x 3 factorial."""
    return synthetic_record(
        tmp_path_factory.mktemp("store"),
        steps=3,
        depths=2,
        seeds=3,
        claims=False,
        samples=False,
        notes=(NOTE,),
    )


def test_a_variant_of_two_factors_shows_every_setting_that_differs(crossed):
    both = next(variant for variant in build_view(crossed).variants if variant.title == "depth 2 · SSIM")
    assert cells(both.parameters, "loss")["Value"] == Cell("1 mse + 0.5 lpips + 0.2 ssim", strong=True)
    assert cells(both.parameters, "model.layers")["Value"] == Cell("2", strong=True)
    assert cells(both.parameters, "model.layers")["depth 1 · MSE"].text == "1"


def test_a_crossed_design_is_compared_with_its_reference_alone(crossed):
    (group,) = build_view(crossed).effects.forest.groups
    assert group.title == "against depth 1 · MSE"
    assert [row.short for row in group.rows] == [
        "depth 1 · LPIPS",
        "depth 1 · SSIM",
        "depth 2 · MSE",
        "depth 2 · LPIPS",
        "depth 2 · SSIM",
    ]


def test_notes_of_the_plan_stand_once_in_both_reports(crossed, tmp_path):
    assert NOTE in crossed.plan.notes and NOTE in crossed.notes
    written = write_report(crossed, tmp_path, search_path=[REPORTS])
    assert written.html.read_text(encoding="utf-8").count(NOTE) == 1
    assert written.markdown.read_text(encoding="utf-8").count(NOTE) == 1


def test_sixteen_variants_are_told_apart_by_more_than_colour(tmp_path):
    record = synthetic_record(tmp_path, steps=4, depths=4, seeds=3, claims=False, samples=False, epochs=4)
    names, view = Names(record.plan), build_view(record)
    looks = [(names.colour(variant.name), names.mark(variant.name)) for variant in record.plan.variants]
    assert len(set(looks)) == 16
    assert len({colour for colour, _ in looks}) == 8
    for rows in (view.comparison.rows, view.cost.rows, view.labels[0].rows, view.provenance.trials):
        assert [(row.colour, row.mark) for row in rows] == looks
    assert [(line.colour, line.mark) for line in view.validation_curves[0].lines] == looks
    assert [(variant.colour, variant.mark) for variant in view.variants] == looks


def test_the_summary_counts_rivals_where_there_are_many(tmp_path):
    record = synthetic_record(tmp_path, steps=4, depths=6, seeds=3, claims=False, samples=False, epochs=4)
    note = build_view(record).tiles[0].note
    assert note.startswith("not ahead of ") and note.endswith(" others")

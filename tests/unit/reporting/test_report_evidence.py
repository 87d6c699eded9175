"""What the report says of the evidence: effect sizes, exact tests, all pairs and what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.effects import compare_all, compare_pairs
from harness.reporting.absent import absent_values
from harness.reporting.comparisons import effects
from harness.reporting.model import Cell, Table
from harness.reporting.names import Names
from harness.reporting.pairs import all_pairs
from harness.reporting.variants import variant_sections
from tests.support.synthetic_run import synthetic_record


def record_of(tmp_path, **shape):
    return synthetic_record(tmp_path, samples=False, labels=False, claims=False, **shape)


def cells(table: Table, label: str) -> dict[str, Cell]:
    row = next(row for row in table.rows if row.label == label)
    return {column.title: cell for column, cell in zip(table.columns, row.cells, strict=True)}


def test_the_table_of_effects_has_exact_test_effect_sizes_and_what_could_have_been_seen(tmp_path):
    record = record_of(tmp_path)
    row = cells(effects(record, Names(record.plan)).primary, "+ LAB vs + SSIM")
    found = next(one for one in compare_all(record, "delta_e") if (one.of, one.versus) == ("lab", "ssim"))
    assert (row["p exact"].text, row["p exact"].note) == (
        "0.062",
        " floor",
    )  # 2 / 2^5, the least of five pairs
    assert row["P(better)"].text == "1.00"
    assert row["dz"].text == f"−{abs(found.dz):.2f}"
    assert row["d pooled"].text == f"−{abs(found.d_pooled):.2f}"
    assert float(row["Could have seen"].text) == pytest.approx(found.mde, abs=0.05)


def test_an_equivalent_pair_shows_the_p_of_equivalence_beside_its_margin(tmp_path):
    record = record_of(tmp_path, margins={"delta_e": 8.0})
    row = cells(effects(record, Names(record.plan)).primary, "+ LPIPS vs MSE")
    steps = [one for one in compare_all(record, "delta_e") if one.kind == "previous"]
    found = next(one for one in steps if one.of == "lpips")
    assert (found.verdict, found.p_equivalence < 0.01 < found.p_adjusted) == ("equivalent", True)
    margin, _, p = row["Verdict"].note.partition(", p = ")
    assert (margin, float(p)) == (" margin 8.0", pytest.approx(found.p_equivalence, abs=0.0005))
    assert float(row["p (Holm)"].text) == pytest.approx(found.p_adjusted, abs=0.005)


def test_an_exact_p_above_its_floor_is_not_marked(tmp_path):
    record = record_of(tmp_path)
    row = cells(effects(record, Names(record.plan)).primary, "+ LPIPS vs MSE")
    assert float(row["p exact"].text) > 2 / 32
    assert row["p exact"].note == ""


def test_what_is_not_judged_has_no_effect_size(tmp_path):
    record = record_of(tmp_path, seeds=2)
    found = effects(record, Names(record.plan))
    row = cells(found.primary, "+ LAB vs MSE")
    assert {row[head].text for head in ("p (Holm)", "p exact", "dz", "d pooled", "P(better)")} == {"–"}
    assert found.pairs is None


def test_all_pairs_are_a_matrix_that_reads_the_same_from_both_sides(tmp_path):
    record = record_of(tmp_path)
    table = all_pairs(record, Names(record.plan))
    for one in compare_pairs(record, "delta_e"):
        of, versus = (record.plan.variant(name).title for name in (one.of, one.versus))
        there, back = cells(table, of)[versus], cells(table, versus)[of]
        assert there.verdict.word == one.verdict
        opposite = {"better": "worse", "worse": "better"}
        assert back.verdict.word == opposite.get(one.verdict, one.verdict)
        assert (there.note[1] == "−") != (back.note[1] == "−")
    assert cells(table, "MSE")["MSE"] == Cell("–")
    assert "Benjamini-Hochberg over all 6 pairs" in table.notes[0]


def test_many_variants_are_counted_by_verdict(tmp_path):
    record = record_of(tmp_path, depths=3, epochs=4)
    table = all_pairs(record, Names(record.plan))
    assert len(table.rows) == 12
    for variant, row in zip(record.plan.variants, table.rows, strict=True):
        verdicts = [
            one.verdict if one.of == variant.name else {"better": "worse", "worse": "better"}.get(one.verdict)
            for one in compare_pairs(record, "delta_e")
            if variant.name in (one.of, one.versus)
        ]
        better = cells(table, row.label)["✓ Better than"].text
        assert better == (str(verdicts.count("better")) if "better" in verdicts else "–")
        assert sum(int(cell.text) for cell in row.cells if cell.text != "–") == 11


def test_two_variants_have_no_table_of_pairs(tmp_path):
    record = record_of(tmp_path, steps=2)
    assert all_pairs(record, Names(record.plan)) is None


def test_a_whole_run_misses_nothing(tmp_path):
    record = record_of(tmp_path)
    assert absent_values(record, Names(record.plan)) is None
    assert not any("Missing values" in note for note in effects(record, Names(record.plan)).notes)


def test_missing_values_are_listed_with_their_reason_and_what_they_cost(tmp_path):
    record = record_of(tmp_path, failed=(("lab", 2),), missing=(("ssim", 1), ("ssim", 2)))
    lpips = next(trial.id for trial in record.plan.trials if "lpips" in trial.variants and trial.seed == 3)
    rows = (record.metrics["trial_id"] == lpips) & (record.metrics["metric"] == "psnr")
    record.metrics.loc[rows, "value"] = np.nan
    record.trials.loc[(record.trials["variant"] == "mse") & (record.trials["seed"] == 4), "epochs_done"] = 7
    found = absent_values(record, Names(record.plan))
    assert [(row.label, *(cell.text for cell in row.cells)) for row in found.values.rows] == [
        ("MSE", "seed 4", "all", "cut short: 7 of 20 epochs"),
        ("+ LPIPS", "seed 3", "PSNR", "the value is nan"),
        ("+ SSIM", "seeds 1, 2", "all", "not run"),
        ("+ LAB", "seed 2", "all", "failed: NonFiniteLossError"),
    ]
    others = "ΔE, SSIM, LPIPS-r, Colour accuracy"
    assert found.fewer.caption == "5 comparisons with fewer seeds than planned"
    assert [(row.label, *(cell.text for cell in row.cells)) for row in found.fewer.rows] == [
        ("+ LPIPS vs MSE", "4 of 5", others),
        ("+ LPIPS vs MSE", "3 of 5", "PSNR"),
        ("+ SSIM vs MSE", "2 of 5", "all"),
        ("+ LAB vs MSE", "3 of 5", "all"),
        ("+ SSIM vs + LPIPS", "3 of 5", others),
        ("+ SSIM vs + LPIPS", "2 of 5", "PSNR"),
        ("+ LAB vs + SSIM", "3 of 5", "all"),
    ]
    said = effects(record, Names(record.plan))
    assert cells(said.primary, "+ LAB vs MSE")["Seeds"].text == "3 of 5"
    assert (
        said.notes[-1] == "5 comparisons rest on fewer than the 5 paired seeds planned: see Missing values."
    )


def test_a_variant_without_a_value_or_without_a_partner_is_not_concluded_about(tmp_path):
    record = record_of(tmp_path, seeds=3, missing=(("mse", 1), ("mse", 2), ("lab", 0), ("ssim", 0)))
    lpips = [trial.id for trial in record.plan.trials if "lpips" in trial.variants]
    rows = record.metrics["trial_id"].isin(lpips) & (record.metrics["metric"] == "delta_e")
    record.metrics.loc[rows, "value"] = np.nan
    said = {
        variant.title: variant.conclusion.text for variant in variant_sections(record, Names(record.plan))
    }
    assert said["+ LPIPS"] == "No value of ΔE from a whole trial: nothing to conclude."
    assert said["+ SSIM"].startswith("Not compared: no seed in common with the reference or the step before.")
    assert said["+ LAB"].startswith("Described, not judged (2 seeds): ΔE")


def test_missing_folds_are_named(tmp_path):
    record = record_of(
        tmp_path, folds=5, seeds=3, missing_folds=(("mse", 1, 3), ("mse", 1, 4), ("mse", 2, 0))
    )
    found = absent_values(record, Names(record.plan))
    (row,) = found.values.rows
    assert row.cells[0].text == "seed 1 folds 3, 4; seed 2 fold 0"
    assert {row.cells[0].text for row in found.fewer.rows} == {"12 of 15"}

"""The view model: what a report says of whole, cut, small and odd runs."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from harness.reporting.model import Cell, Table, View
from harness.reporting.names import in_sentence, web_link
from harness.reporting.pictures import evenly_spaced, overview_epochs, tile_grid
from harness.reporting.view import build_view
from tests.support.synthetic_run import TILE, synthetic_record

ALL = [(variant, seed) for variant in ("mse", "lpips", "ssim", "lab") for seed in range(5)]


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> View:
    return build_view(synthetic_record(tmp_path_factory.mktemp("store")))


def cells(table: Table, label: str) -> dict[str, Cell]:
    row = next(row for row in table.rows if row.label == label)
    return {column.title: cell for column, cell in zip(table.columns, row.cells, strict=True)}


def test_the_view_is_frozen(view):
    with pytest.raises(FrozenInstanceError):
        view.title = "another"


def test_the_head_says_what_ran(view):
    assert view.title == "Which loss terms does polygon colorization need?"
    assert view.kicker == "colorization_losses · laptop profile · 20 November 2026"
    assert "4 variants, 5 seeds, paired. Primary metric: colour error ΔE, lower is better." in view.lede
    assert view.status is None


def test_claims_are_answered_in_the_order_of_the_suite(view):
    assert [answer.verdict.word for answer in view.answers] == ["confirmed", "inconclusive", "refuted"]
    assert [answer.verdict.sign for answer in view.answers] == ["✓", "?", "✕"]
    assert all(answer.reason.anchor for answer in view.answers)


def test_the_four_figures(view):
    best, metric, trials, cost = view.tiles
    assert (best.value, best.note) == ("+ LAB", "ahead of all others")
    assert metric.label == "ΔE of the best"
    assert (trials.value, trials.note) == ("20 of 20", "1 reused, 0 failed")
    # 5 seeds of (20, 25, 30, 35) s and 0.5 s more with each seed: 570 s of one CPU; 600 s of two
    assert (cost.value, cost.note) == ("10 min", "0.16 CPU h, 48% busy")


def test_every_step_and_every_variant_against_the_reference_stand_once_in_the_forest(view):
    labels = [row.label for group in view.effects.forest.groups for row in group.rows]
    assert labels == [
        "+ LPIPS vs MSE",
        "+ SSIM vs + LPIPS",
        "+ LAB vs + SSIM",
        "+ SSIM vs MSE",
        "+ LAB vs MSE",
    ]
    assert view.effects.forest.margin == 2.0


def test_bold_means_not_beaten(view):
    assert cells(view.comparison, "+ LAB")["ΔE"].strong
    assert not cells(view.comparison, "MSE")["ΔE"].strong
    # 0.941 and 0.944 with a spread of 0.006 between steps: neither beats the other
    assert cells(view.comparison, "+ SSIM")["SSIM"].strong
    assert cells(view.comparison, "+ LAB")["SSIM"].strong


def test_the_comparison_has_size_time_and_seeds(view):
    row = cells(view.comparison, "+ LAB")
    assert row["Parameters"].text == "2.41 M"
    assert row["Time per trial"].text == "36 s"  # 35 s and 0, 0.5 ... 2 s more
    assert row["Seeds"].text == "5/5"


def test_a_variant_keeps_its_colour(view):
    colours = {variant.title: variant.colour for variant in view.variants}
    assert len(set(colours.values())) == 4
    for rows in (view.comparison.rows, view.cost.rows, view.labels[0].rows):
        assert {row.label: row.colour for row in rows} == colours
    assert all(line.colour == colours[line.label] for chart in view.validation_curves for line in chart.lines)
    assert {row.label: row.colour for row in view.overview.rows if row.colour} == colours


def test_curves_hold_mean_and_range_over_seeds(tmp_path):
    record = synthetic_record(tmp_path, seeds=3)
    rows = record.metrics
    rows = rows[(rows["metric"] == "delta_e") & rows["label"].isna() & (rows["epoch"] == 20)]
    ids = [trial.id for trial in record.plan.trials if "lab" in trial.variants]
    values = sorted(rows[rows["trial_id"].isin(ids)]["value"])
    line = next(line for line in build_view(record).validation_curves[0].lines if line.label == "+ LAB")
    assert line.epochs == tuple(range(1, 21))
    assert line.mean[-1] == pytest.approx(sum(values) / 3)
    assert (line.low[-1], line.high[-1]) == (values[0], values[-1])


def test_training_loss_has_one_chart_per_term_with_the_variants_that_use_it(view):
    assert [chart.title.split(",")[0] for chart in view.training_curves] == [
        "mse",
        "lpips_rand",
        "ssim",
        "lab_l1",
    ]
    assert [[line.label for line in chart.lines] for chart in view.training_curves] == [
        ["MSE", "+ LPIPS", "+ SSIM", "+ LAB"],
        ["+ LPIPS", "+ SSIM", "+ LAB"],
        ["+ SSIM", "+ LAB"],
        ["+ LAB"],
    ]


def test_parameters_show_what_differs_from_the_reference(view):
    lab = next(variant for variant in view.variants if variant.title == "+ LAB")
    assert cells(lab.parameters, "loss")["Value"] == Cell(
        "1 mse + 0.5 lpips + 0.2 ssim + 0.3 lab_l1", strong=True
    )
    assert cells(lab.parameters, "loss")["MSE"].text == "1 mse"
    assert cells(lab.parameters, "model.widths")["Value"] == Cell("32, 64, 128")
    assert cells(lab.parameters, "model.widths")["MSE"].note == "same"
    assert cells(lab.parameters, "parameters")["Value"].text == "2,410,000"


def test_reported_parameters_stand_beside_measured_ones_with_a_mark(view):
    row = cells(view.variants[0].reported, "parameters")
    assert (row["Reported"].text, row["Measured"].text) == ("68,148,747", "2,410,000")
    assert (row["Match"].verdict.sign, row["Match"].verdict.word) == ("≠", "−96.5 %")


def test_a_reported_figure_that_agrees_as_written_is_the_same(tmp_path):
    view = build_view(synthetic_record(tmp_path, reported={"parameters": 2_410_000, "miou": 0.5}))
    assert cells(view.variants[0].reported, "parameters")["Match"].verdict.word == "same"
    assert cells(view.variants[0].reported, "miou")["Measured"].text == "not measured"


def test_the_conclusion_follows_the_verdict(view):
    said = {variant.title: variant.conclusion.text.replace("\u00a0", " ") for variant in view.variants}
    assert said["MSE"].startswith("The reference: ΔE ")
    assert said["+ LAB"].startswith("Better than + SSIM: ΔE −1")
    assert said["+ LAB"].endswith("Best of all, ahead of every other variant.")
    assert said["+ LPIPS"].startswith("Not told apart from MSE: ")


def test_observations_are_grouped_by_theme(view):
    themes = [theme.title for theme in view.variants[3].observations]
    assert themes[0] == "Image quality"
    assert {"Colour fidelity", "Performance", "Convergence"} <= set(themes)
    assert len(themes) == len(set(themes))


def test_the_worst_label_is_named_and_shaded_darkest(view):
    by_colour = view.labels[0]
    assert by_colour.caption == "ΔE by colour ↓"
    # labels are scaled from 0.85 (red) to 1.15 (magenta), and MSE has the highest mean
    heats = {
        (row.label, column.title): cell.heat
        for row in by_colour.rows
        for column, cell in zip(by_colour.columns, row.cells, strict=True)
    }
    assert heats["MSE", "magenta"] == 9
    assert heats["+ LAB", "red"] == 0
    assert "Worst in every variant: magenta." in by_colour.notes[0]


def test_pictures_are_thinned_to_twelve_epochs_and_say_so(view):
    rows = view.variants[0].pictures
    assert [row.label for row in rows[:3]] == ["input", "target", "epoch 1"]
    assert rows[-1].label == "epoch 20"
    assert len(rows) == 14
    assert view.variants[0].pictures_note == "8 epochs of 20 left out, evenly spaced."


def test_few_epochs_are_all_shown(tmp_path):
    view = build_view(synthetic_record(tmp_path, epochs=5))
    assert [row.label for row in view.variants[0].pictures][2:] == [f"epoch {epoch}" for epoch in range(1, 6)]
    assert view.variants[0].pictures_note == ""


@pytest.mark.parametrize(
    ("last", "columns"), [([20], [1, 7, 14, 20]), ([1], [1]), ([5, 10, 15], [1, 5, 6, 10, 15])]
)
def test_the_overview_has_the_first_epoch_and_the_last_of_every_variant(last, columns):
    assert overview_epochs(last) == columns


def test_thinning_keeps_both_ends():
    picked = evenly_spaced(list(range(1, 51)), 12)
    assert (len(picked), picked[0], picked[-1]) == (12, 1, 50)


def test_tiles_are_cut_with_gaps_and_frames(tmp_path):
    record = synthetic_record(tmp_path, seeds=1, steps=1, epochs=1)
    path = tmp_path / record.artifacts.iloc[0]["path"]
    pitch = TILE + 2 + 4  # a frame of one pixel on either side, a gap of four
    assert tile_grid(path.read_bytes()).size == (6 * pitch - 4, TILE + 2)
    assert tile_grid(path.read_bytes(), 2).size == (2 * pitch - 4, TILE + 2)
    assert tile_grid(path.read_bytes(), 2).getpixel((TILE + 3, 5))[3] == 0


def test_one_seed_is_described_and_never_judged(tmp_path):
    view = build_view(synthetic_record(tmp_path, seeds=1))
    assert {answer.verdict.word for answer in view.answers} == {"inconclusive"}
    rows = [row for group in view.effects.forest.groups for row in group.rows]
    assert {row.word for row in rows} == {"described"}
    assert all(row.low is None for row in rows)
    assert view.tiles[0].note == "best mean, not judged"
    assert "±" not in view.tiles[1].value
    assert not any(cell.strong or cell.note for row in view.comparison.rows for cell in row.cells)
    assert view.curves_note == "One seed: a line has no band."


def test_one_variant_has_no_effects(tmp_path):
    view = build_view(synthetic_record(tmp_path, steps=1, claims=False))
    assert view.effects is None
    assert "effects" not in [section.anchor for section in view.sections]
    assert view.tiles[0].note == "the only variant"
    assert view.variants[0].conclusion.text.startswith("The reference: ")


def test_a_suite_without_claims_says_so(tmp_path):
    view = build_view(synthetic_record(tmp_path, claims=False))
    assert view.answers == ()
    assert view.no_answer


def test_a_run_without_samples_and_labels_leaves_those_sections_out(tmp_path):
    view = build_view(synthetic_record(tmp_path, samples=False, labels=False))
    anchors = [section.anchor for section in view.sections]
    assert "pictures" not in anchors
    assert "labels" not in anchors
    assert all(variant.pictures == () for variant in view.variants)


def test_a_failed_trial_is_shown_with_its_last_line_and_a_knob(tmp_path):
    view = build_view(synthetic_record(tmp_path, failed=(("lab", 2),)))
    (failure,) = view.failures
    assert failure.title == "+ LAB, seed 2: failed after 3 epochs"
    assert failure.error_class == "NonFiniteLossError"
    assert failure.last_line == "NonFiniteLossError: the loss became nan at step 96"
    assert "optimizer.lr" in failure.advice
    assert view.tiles[2].note == "1 reused, 1 failed"
    assert cells(view.comparison, "+ LAB")["Seeds"].text == "4/5"
    assert view.status.startswith("This run is not whole: 19 of 20 trials complete.")


def test_a_run_that_is_still_going_says_so_and_draws_complete_trials(tmp_path):
    record = synthetic_record(tmp_path, running=(("lab", 4),), missing=(("mse", 4), ("ssim", 4)))
    view = build_view(record)
    assert view.status.startswith("This run is still going: 17 of 20 trials complete.")
    lab = next(line for line in view.validation_curves[0].lines if line.label == "+ LAB")
    assert lab.epochs[-1] == 20


def test_a_run_without_any_complete_trial_still_has_a_page(tmp_path):
    view = build_view(synthetic_record(tmp_path, running=tuple(ALL)))
    assert view.tiles[0].value == "–"
    assert view.effects.forest is None
    assert view.variants[0].conclusion.text == "No value of ΔE from a whole trial: nothing to conclude."
    assert view.validation_curves[0].lines[0].epochs == (1, 2, 3)


def test_a_run_that_has_not_started_still_has_a_page(tmp_path):
    view = build_view(synthetic_record(tmp_path, missing=tuple(ALL[1:]), running=(ALL[0],), epochs=1))
    assert view.tiles[2].value == "0 of 20"


def test_random_features_are_named(view):
    assert any("lpips_rand" in said and "not comparable" in said for said in view.provenance.statements)


def test_provenance_marks_every_trial(view):
    facts = dict(view.provenance.facts)
    assert facts["Commit"] == "3f2a91c0d5 (clean)"
    assert "torch 2.15.0" in facts["Versions"]
    assert facts["Determinism"] == "strict"
    assert sum(len(group.table.rows) for group in view.provenance.trials) == 20


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "//evil", "http:", "http://[", " https"]
)
def test_addresses_that_are_not_web_pages_are_refused(address):
    assert web_link("x", address).url is None


@pytest.mark.parametrize("address", ["http://a.b/c", "https://wandb.ai/x?y=1#z"])
def test_web_pages_are_linked(address):
    assert web_link("x", address).url == address


@pytest.mark.parametrize(
    ("title", "said"), [("Colour error", "colour error"), ("PSNR", "PSNR"), ("ΔE", "ΔE")]
)
def test_titles_inside_a_sentence(title, said):
    assert in_sentence(title) == said

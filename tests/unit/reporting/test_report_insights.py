"""The template `insights`: what its own sections say, and the page that they make."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.analysis.claims import judge_claims
from harness.errors import StoreError
from harness.reporting.insights.ablations import change_of
from harness.reporting.insights.learnings import MOST_LEARNINGS, MOST_OF_ONE_KIND
from harness.reporting.insights.trend import chosen_epochs
from harness.reporting.model import Cell, FailureSection, Insights, Table
from harness.reporting.pictures import grid_columns
from harness.reporting.render import WrittenReport, write_report
from harness.reporting.settings import written as written_setting
from harness.reporting.view import build_view
from tests.support.synthetic_run import COLOURS, TILE, synthetic_record

REPORTS = Path(__file__).parents[3] / "reports"
HOSTILE = "<script>alert(1)</script> | `x` [y](javascript:z) **b**"
SECTIONS = [
    "answer",
    "learnings",
    "configuration",
    "architecture",
    "ablations",
    "what-matters",
    "comparison",
    "trade-offs",
    "dynamics",
    "trend",
    "failure-modes",
    "labels",
    "expected",
    "open",
    "failures",
    "missing",
    "cost",
    "provenance",
]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A run whose best variant `lab` confuses blue and lacks a seed, and whose `ssim` overfits."""
    made = synthetic_record(
        tmp_path_factory.mktemp("store"),
        failed=(("lab", 2),),
        titles={"lpips": HOSTILE},
        images=True,
        overfitting=("ssim",),
    )
    of_lab = made.trials["variant"] == "lab"
    made.trials.loc[of_lab, "trainable_parameters"] = 2_000_000
    return made


@pytest.fixture(scope="module")
def insights(record) -> Insights:
    return build_view(record).insights


@pytest.fixture(scope="module")
def report(record, tmp_path_factory) -> WrittenReport:
    return write_report(record, tmp_path_factory.mktemp("out"), "insights", [REPORTS])


@pytest.fixture(scope="module")
def html(report) -> str:
    return report.html.read_text(encoding="utf-8")


def cells(table: Table, label: str) -> dict[str, Cell]:
    (row,) = [row for row in table.rows if row.label == label]
    return {column.title: cell for column, cell in zip(table.columns, row.cells, strict=True)}


def trial_of(record, variant: str, seed: int) -> str:
    return next(trial.id for trial in record.plan.trials if trial.seed == seed and variant in trial.variants)


def value_at(record, trial: str, epoch: int) -> float:
    table = record.metrics
    rows = table[(table["trial_id"] == trial) & (table["metric"] == "delta_e") & (table["epoch"] == epoch)]
    return float(rows.loc[rows["label"].isna(), "value"].iloc[0])


# --- final configuration and architecture


def test_the_final_configuration_is_that_of_the_best_variant(insights):
    found = insights.configuration
    assert found is not None
    assert found.title == "+ LAB"
    assert re.fullmatch(r"ΔE \d\.\d ±\d\.\d over 4 seeds: better than every other variant\.", found.why.text)
    sections = {table.caption: table for table in found.sections}
    assert list(sections) == [
        "Data",
        "Model",
        "Loss",
        "Optimizer",
        "Schedule",
        "Training",
        "Everything else",
    ]
    assert cells(sections["Model"], "widths")["Value"] == Cell("32, 64, 128")
    assert cells(sections["Training"], "clip_norm")["Value"].text == "1"


def test_the_reference_stands_beside_what_differs_and_nowhere_else(insights):
    sections = {table.caption: table for table in insights.configuration.sections}
    assert [column.title for column in sections["Loss"].columns] == ["Value", "MSE"]
    assert cells(sections["Loss"], "lab_l1") == {"Value": Cell("weight 0.3", strong=True), "MSE": Cell("–")}
    assert cells(sections["Loss"], "mse") == {"Value": Cell("weight 1"), "MSE": Cell("")}
    assert [column.title for column in sections["Optimizer"].columns] == ["Value"]


def test_the_architecture_tells_the_frozen_part(insights):
    found = cells(insights.architecture, "+ LAB")
    assert [found[name].text for name in ("Parameters", "Trained", "Frozen")] == [
        "2,410,000",
        "2,000,000",
        "410,000",
    ]
    assert cells(insights.architecture, "MSE")["Frozen"].text == "–"
    assert found["Forward FLOPs"].text == "1.2 G"
    assert found["Latency"].text.endswith(" ms")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([{"name": "hflip", "probability": 0.5}, {"name": "vflip"}], "hflip (probability 0.5), vflip"),
        ([], "none"),
        (None, "none"),
        (True, "on"),
        (1e-4, "0.0001"),
        ((32, 64), "32, 64"),
    ],
)
def test_settings_are_written_for_people(value, text):
    assert written_setting(value) == text


# --- ablations


def test_every_level_says_what_changed_and_what_came_of_it(insights):
    (group,) = insights.ablations
    assert group.title == "Loss terms"
    assert [row.label for row in group.table.rows] == [
        HOSTILE,
        f"+ SSIM vs {HOSTILE}",
        "+ LAB vs + SSIM",
        "+ SSIM vs MSE",
        "+ LAB vs MSE",
    ]
    step = cells(group.table, "+ LAB vs + SSIM")
    assert step["Changed, and why"] == Cell("+ 0.3 lab_l1", note=" colours are still wrong")
    assert step["Verdict"].verdict.word == "better"
    assert re.fullmatch(r"−11\.\d", step["Difference in ΔE"].text)
    assert re.fullmatch(r" \[−12\.\d, −1[01]\.\d\]", step["Difference in ΔE"].note)
    whole = cells(group.table, "+ LAB vs MSE")
    assert whole["Changed, and why"].text == "+ 0.5 lpips + 0.2 ssim + 0.3 lab_l1"


def test_the_price_of_a_level_is_the_ratio_of_training_times(insights):
    """Seed 2 of `lab` failed; a trial takes 20 s, 5 s more for every step and 0.5 s more for every seed."""
    (group,) = insights.ablations
    ratios = [(35 + seed / 2) / (30 + seed / 2) for seed in (0, 1, 3, 4)]
    ratio = f"{np.exp(np.log(ratios).mean()):.2f}"
    step = cells(group.table, "+ LAB vs + SSIM")
    assert step["Training time"].text == f"× {ratio}"
    size = step["Difference in ΔE"].text.removeprefix("−")
    assert step["Outcome"].text == f"{size} better than + SSIM, at {ratio} times its training time."


def test_what_was_not_told_apart_says_what_may_be_there(insights):
    (group,) = insights.ablations
    found = cells(group.table, HOSTILE)
    assert found["Verdict"].verdict.word == "inconclusive"
    assert re.fullmatch(
        r"Not told apart from MSE; a difference below \d\.\d may be there\.", found["Outcome"].text
    )


def test_levels_are_grouped_by_factor(tmp_path):
    made = synthetic_record(tmp_path, depths=2, seeds=3, claims=False, epochs=4, samples=False)
    groups = build_view(made).insights.ablations
    assert [(group.title, len(group.table.rows)) for group in groups] == [
        ("Loss terms", 3),
        ("Depth", 1),
        ("Size and loss", 3),
    ]
    assert cells(groups[1].table, "depth 2 · MSE")["Changed, and why"].text == "model.layers 1 → 2"


def test_many_changes_are_counted(record):
    first, *rest = record.plan.trials
    spec = first.spec | {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}}
    plan = record.plan.model_copy(update={"trials": (first.model_copy(update={"spec": spec}), *rest)})
    found = change_of(plan, first.variants[0], "lab")
    assert found.startswith("− 0.5 lpips − 0.2 ssim − 0.3 lab_l1; optimizer.name adamw → sgd; ")
    assert found.endswith("; 3 further settings")


# --- dynamics and trend


def test_dynamics_tell_where_each_variant_gets(insights):
    table = insights.dynamics.table
    falls = cells(table, "+ LAB")
    assert (falls["Best epoch"].text, falls["Best epoch"].note) == ("20", " of 20")
    assert falls["Overfitting"].verdict.word == "not detected"
    assert falls["At the end"].verdict.word == "improving"
    rises = cells(table, "+ SSIM")
    assert rises["Overfitting"].verdict.word == "overfits"
    assert re.match(r" from epoch (8|9|10),", rises["Overfitting"].note)
    (reached,) = [name for name in falls if name.startswith("Epochs to ΔE ")]
    assert int(falls[reached].text) < 10, "it is twice as good as the reference ever is"


def test_curves_of_the_primary_metric_and_the_first_loss_term_stand_open(insights):
    assert [curves.title for curves in insights.dynamics.curves] == [
        "Colour error, ΔE ↓",
        "mse, unweighted ↓",
    ]
    assert len(insights.dynamics.more_curves) == 4 + 3


@pytest.mark.parametrize(
    ("epochs", "chosen"),
    [
        (range(1, 21), [1, 5, 10, 20]),
        ([1, 2, 4, 8, 16, 20], [1, 4, 8, 20]),
        ([3], [3]),
        ([1, 2], [1, 2]),
    ],
)
def test_the_trend_shows_the_first_epoch_a_quarter_half_and_the_last(epochs, chosen):
    assert chosen_epochs(list(epochs)) == chosen


def test_the_trend_has_the_value_of_the_trial_that_painted(record, insights):
    best, reference = insights.trend
    assert (best.title, reference.title) == ("+ LAB", "MSE")
    assert [frame.title for frame in best.frames] == [
        "input",
        "epoch 1",
        "epoch 5",
        "epoch 10",
        "epoch 20",
        "target",
    ]
    trial = trial_of(record, "lab", 0)
    assert best.frames[2].value == f"ΔE {value_at(record, trial, 5):.1f}"
    assert best.frames[0].value == ""
    assert best.frames[0].picture.width == TILE + 2
    assert "seed 0" in insights.trend_note


# --- failure modes


def failures_of_the_best(insights) -> FailureSection:
    return insights.failure_modes[0]


def test_the_worst_label_stands_first_with_its_verdict(insights):
    found = failures_of_the_best(insights)
    assert found.title == "+ LAB"
    first = found.labels.rows[0]
    assert first.label == "colour blue"
    assert cells(found.labels, "colour blue")["Verdict"].verdict.word == "worse"
    assert len(found.labels.rows) + len(found.more_labels.rows) == len(COLOURS) + 3


def test_a_confused_pair_is_shaded_and_what_is_right_is_not(insights):
    (confusion,) = failures_of_the_best(insights).confusions
    blue = cells(confusion.table, "blue")
    assert (blue["purple"].text, blue["purple"].heat, blue["purple"].strong) == ("50%", 9, False)
    assert (blue["blue"].text, blue["blue"].heat, blue["blue"].strong) == ("50%", None, True)
    assert blue["red"].text == ""
    assert confusion.table.notes[0].startswith("Share of the images of a row, 160 images over 4 trials. 94% ")


def test_the_worst_examples_carry_the_labels_and_values_of_their_images(record, insights):
    frames = failures_of_the_best(insights).worst.frames
    images = record.images()
    ours = images[images["trial_id"] == trial_of(record, "lab", 0)]
    worst = ours.sort_values(["delta_e", "index"], ascending=[False, True]).head(8)
    assert [frame.value for frame in frames] == [f"ΔE {value:.1f}" for value in worst["delta_e"]]
    for frame, shape, found in zip(frames, worst["label/shape"], worst["found/colour"], strict=True):
        assert frame.title == f"{'blue' if found == 'blue' else 'blue taken for purple'}, {shape}"


def test_the_tiles_of_a_worst_image_are_cut_from_its_column():
    grid = Image.new("RGB", (8, 12))
    colours = {(row, column): (row * 50 + 1, column * 50 + 1, 9) for row in range(3) for column in range(2)}
    for (row, column), colour in colours.items():
        grid.paste(colour, (4 * column, 4 * row, 4 * column + 4, 4 * row + 4))
    columns = grid_columns(png(grid))
    assert [column.size for column in columns] == [(6, 3 * 10 - 4)] * 2
    for (row, column), colour in colours.items():
        assert columns[column].getpixel((3, 10 * row + 3)) == (*colour, 255)


@pytest.mark.parametrize("size", [(3, 12), (8, 2), (8_000, 4_500)])
def test_a_grid_without_a_whole_column_or_with_too_many_pixels_is_refused(size):
    with pytest.raises(ValueError, match="pixels"):
        grid_columns(png(Image.new("1", size)))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_without_tables_of_images_a_line_says_why(tmp_path):
    found = build_view(synthetic_record(tmp_path, epochs=4, claims=False)).insights.failure_modes[0]
    assert (found.labels, found.regions, found.worst, found.confusions) == (None, None, None, ())
    assert "table" in found.note


# --- learnings, and what is open


def test_learnings_are_few_and_each_has_a_number_and_its_trials(insights):
    learnings = insights.learnings
    assert 1 < len(learnings) <= MOST_LEARNINGS
    assert all(re.search(r"\d", learning.says.text) for learning in learnings)
    assert all(learning.says.anchor.startswith("trials-") for learning in learnings)


def test_learnings_come_from_claims_comparisons_failures_and_dynamics(insights):
    told = [(learning.verdict.word, learning.says.text.split(":")[0]) for learning in insights.learnings]
    assert told[:2] == [
        ("confirmed", "The LAB loss is the largest single gain in colour fidelity"),
        ("refuted", "All terms together make colours worse"),
    ]
    assert ("improving", "+ LAB still improves at the end") in told
    assert [text.partition(" from")[0] for word, text in told if word == "overfits"] == ["+ SSIM overfits"]
    assert any(
        word == "worse" and "blue" in one.says.text
        for (word, _), one in zip(told, insights.learnings, strict=True)
    )


def test_a_comparison_that_a_claim_is_about_is_not_told_twice(insights):
    texts = [learning.says.text for learning in insights.learnings]
    assert not any(text.startswith("+ LAB: better than") for text in texts)
    assert any(text.startswith("+ SSIM: better than MSE: ΔE") for text in texts)


def test_no_kind_of_learning_crowds_out_the_others(tmp_path):
    made = synthetic_record(tmp_path, depths=2, claims=False, epochs=4, samples=False)
    words = [learning.verdict.word for learning in build_view(made).insights.learnings]
    assert sum(word in ("better", "worse", "equivalent") for word in words) == MOST_OF_ONE_KIND


def test_nothing_is_learned_without_a_verdict(tmp_path):
    found = build_view(synthetic_record(tmp_path, seeds=1, epochs=3)).insights
    assert found.learnings == ()
    assert found.learnings_note.startswith("No verdict")


def test_what_is_open_names_the_seeds_that_would_settle_it(record, insights):
    (claim,) = [one for one in judge_claims(record) if one.verdict == "inconclusive"]
    found = cells(insights.open, f"Claim: {claim.claim.says}")
    assert found["Seeds to settle"].text == str(claim.seeds_needed)
    assert found["Could have seen"].text == f"{claim.mde:.3f}"
    steps = [row.label for row in insights.open.rows[1:]]
    assert steps == [f"{HOSTILE} vs MSE", f"+ SSIM vs {HOSTILE}"]


# --- the page


def test_sections_stand_in_order_and_in_the_list(html, insights):
    assert re.findall(r'<section id="([^"]+)"', html) == SECTIONS
    assert [section.anchor for section in insights.sections] == SECTIONS


def test_ids_are_unique_and_every_link_inside_leads_somewhere(html):
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_headings_go_down_one_level_at_a_time(html):
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", html)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_page_loads_nothing_and_runs_nothing_of_a_title(html):
    assert not re.search(r"<(link|iframe|object|embed|base)\b|@import|url\(", html)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'\ssrc="([^"]*)"', html))
    assert html.count("<script>") == 1
    assert "alert(1)" in html


def test_the_markdown_has_the_same_sections_and_all_its_files(report):
    text = report.markdown.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings[:7] == [
        "Answer",
        "Key learnings",
        "Final configuration",
        "Architecture",
        "Ablations tried",
        "What matters",
        "Comparison",
    ]
    assert len(headings) == len(SECTIONS)
    files = re.findall(r"\]\(((?:charts|pictures)/[^)]+)\)", text)
    assert len(files) > 20
    assert all((report.markdown.parent / file).is_file() for file in files)


def test_a_run_of_one_variant_without_anything_more_has_a_page(tmp_path):
    made = synthetic_record(
        tmp_path / "store", steps=1, seeds=1, epochs=1, claims=False, samples=False, labels=False, reported={}
    )
    written = write_report(made, tmp_path / "out", "insights", [REPORTS])
    sections = re.findall(r'<section id="([^"]+)"', written.html.read_text(encoding="utf-8"))
    assert sections == [
        "answer",
        "learnings",
        "configuration",
        "architecture",
        "comparison",
        "dynamics",
        "failure-modes",
        "cost",
        "provenance",
    ]


def test_a_run_that_has_no_whole_trial_has_a_page(tmp_path):
    made = synthetic_record(
        tmp_path / "store", steps=2, seeds=1, epochs=5, running=(("mse", 0), ("lpips", 0)), claims=False
    )
    found = build_view(made).insights
    assert found.configuration is None
    assert [section.title for section in found.failure_modes] == ["MSE"]


def test_the_chronicle_reads_no_table_of_images(tmp_path):
    made = synthetic_record(tmp_path, images=True, steps=1, seeds=1, epochs=1)
    for file in tmp_path.glob("artifacts/**/images.parquet"):
        file.unlink()
    view = build_view(made)
    with pytest.raises(StoreError, match=r"images\.parquet"):
        _ = view.insights

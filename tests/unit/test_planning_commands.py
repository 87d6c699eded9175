"""`harness plan` and `harness validate`: what they print, refuse and compare."""

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.api import execute, other_plan, prepare, validate
from harness.cli import app
from harness.errors import HarnessError, SuiteError
from harness.planning.difference import Change, compare_plans
from harness.terminal.plan_page import print_difference, print_plan, print_validation
from harness.testing.tiny import TINY

BATCH_NORM = """\
suite: faults
task: colorization
primary_metric: delta_e
base:
  data: {name: polygons, size: 32, train_size: 8, validation_size: 4}
  model: {name: backbone_head, backbone: test_resnet, head: conv, head_width: 8}
  loss: {mse: 1.0}
  optimizer: {name: adamw}
  train: {epochs: 1, batch_size: 4}
vary:
  - factor: changes
    levels:
      reference: {}
      pyramid: {set: {model.head: upernet, train.batch_size: 1}, why: more context}
      turned: {set: {data.size: [32, 48], train.augment: [rot90]}}
      patches: {set: {model.backbone: vit_small_patch14_dinov2}}
seeds: 1
"""


def printed(write, *arguments):
    console = Console(file=io.StringIO(), width=200, color_system=None, highlight=False, markup=False)
    write(*arguments, console)
    return console.file.getvalue()


def test_the_three_faults_of_the_offroad_study_are_each_one_line_that_names_the_level(write_suite):
    """BatchNorm on a 1x1 map, a quarter turn of pictures that are not square, a size off the patch."""
    with pytest.raises(SuiteError) as caught:
        prepare(write_suite(BATCH_NORM), store="nowhere").checked()
    static = [str(problem).partition("my.yaml:")[2] for problem in caught.value.problems]
    assert len(static) == 2
    assert static[0].startswith("15:58  vary[0].levels.turned: train.augment: rot90")
    assert "square" in static[0]
    assert static[1].startswith(
        "16:39  vary[0].levels.patches: model: size 32x32 is not a multiple of the patch 14"
    )
    sound = BATCH_NORM.replace("train.augment: [rot90]", "train.augment: [hflip]").replace(
        "patches: {set: {", "patches: {set: {data.size: 28, "
    )
    with pytest.raises(SuiteError) as caught:
        prepare(write_suite(sound.replace("data.size: 28", "data.size: 42")), store="nowhere").checked()
    (problem,) = caught.value.problems
    assert (
        str(problem)
        .partition("my.yaml:")[2]
        .startswith(
            "14:62  vary[0].levels.pyramid: train.batch_size: BatchNorm needs more than one value per channel"
        )
    )
    assert "1x1 map" in problem.message


def test_skip_broken_runs_the_rest_and_says_what_is_left_out(write_suite):
    prepared = prepare(write_suite(BATCH_NORM), store="nowhere", skip_broken=True).checked(skip_broken=True)
    assert [variant.name for variant in prepared.plan.variants] == ["reference"]
    assert [note.partition(" is left out: ")[0] for note in prepared.plan.notes] == [
        "turned",
        "patches",
        "pyramid",
    ]


def test_a_broken_reference_is_never_left_out(write_suite):
    broken = BATCH_NORM.replace("head: conv", "head: upernet").replace("batch_size: 4}", "batch_size: 1}")
    with pytest.raises(HarnessError, match="reference is broken"):
        prepare(write_suite(broken), store="nowhere", skip_broken=True).checked(skip_broken=True)


def test_a_plan_tells_which_variants_are_the_same_trials(write_suite, tmp_path):
    text = TINY.replace("      lab: {set", "      again: {set: {loss.l1: 0.5}}\n      lab: {set")
    prepared = prepare(write_suite(text), store=tmp_path / "store")
    shown = printed(print_plan, prepared, prepared.estimate(timing_seconds=0.0))
    assert "2 more are the same as one of these" in shown
    (line,) = [line for line in shown.splitlines() if line.strip().startswith("again")]
    assert "(the same trials as l1)" in line


def test_a_long_plan_is_cut_on_the_screen(write_suite, tmp_path):
    values = list(range(1, 61))
    text = TINY.replace("seeds: 2", f"  - {{factor: e, path: train.epochs, values: {values}}}\nseeds: 1")
    prepared = prepare(write_suite(text), store=tmp_path / "store")
    shown = printed(print_plan, prepared, prepared.estimate(timing_seconds=0.0))
    assert (
        "and 22 more variants; --json tells all" in shown
    )  # 60 epochs, one of them the base's 3; lab, l1, mse
    assert sum(line.strip().startswith("epochs_") for line in shown.splitlines()) == 37


def test_differences_of_plans_name_variants_settings_claims_and_shared_trials(write_suite):
    before = prepare(write_suite(TINY, "before.yaml"), store="nowhere").plan
    changed = (
        TINY.replace("{set: {loss.lab_l1: 0.3}}", "{set: {loss.lab_l1: 0.6}}")
        .replace("      l1: {set", "      ssim: {set: {loss.ssim: 0.1}}\n      l1: {set")
        .replace("seeds: 2", "seeds: 3")
        .replace("direction: better", "direction: better, by: 2")
    )
    after = prepare(write_suite(changed, "after.yaml"), store="nowhere").plan
    found = compare_plans(before, after)
    assert found.added == ("ssim",)
    assert found.removed == ()
    assert found.general == {"seeds": Change([0, 1], [0, 1, 2])}
    assert list(found.changed) == ["l1", "lab"]  # both now follow ssim in the chain
    assert found.changed["lab"]["loss.lab_l1.weight"] == Change(0.3, 0.6)
    assert found.claims_changed == ("lab-helps",)
    assert (found.trials_shared, found.trials_new, found.trials_gone) == (2, 10, 4)  # mse with seeds 0 and 1
    shown = printed(print_difference, found)
    assert "trials: 2 the same, 10 new, 4 gone" in shown
    assert "+ ssim" in shown
    assert "loss.lab_l1.weight: 0.3 -> 0.6" in shown
    assert compare_plans(before, before).changed == {}


def test_a_plan_is_compared_with_a_suite_a_json_file_or_what_is_neither(write_suite, tmp_path):
    path = write_suite(TINY)
    plan = prepare(path, store="nowhere").plan
    saved = tmp_path / "plan.json"
    saved.write_text(plan.model_dump_json())
    assert other_plan(str(path)) == plan
    assert other_plan(str(saved)) == plan
    saved.write_text("[]")
    with pytest.raises(HarnessError, match=r"holds no plan; `harness plan SUITE --json > \S+` writes one$"):
        other_plan(str(saved))
    with pytest.raises(HarnessError, match=r"nowhere\.json cannot be read: No such file"):
        other_plan(str(tmp_path / "nowhere.json"))
    with pytest.raises(HarnessError, match=r"no suite .* and no run"):
        other_plan("nothing", store=tmp_path / "store")


def test_validate_checks_every_profile_and_places_each_mistake(write_suite):
    text = TINY + "profiles:\n  good: {seeds: 1}\n  bad: {base.model.depth: 9}\n"
    found = validate(write_suite(text))
    assert [(one.profile, len(one.problems)) for one in found] == [(None, 0), ("good", 0), ("bad", 1)]
    assert found[0].checked.startswith("checked 3 of 3 structures")
    assert (found[0].variants, found[0].trials, found[1].trials) == (3, 6, 3)
    assert "my.yaml:26:9  base.model.depth" in found[2].problems[0]
    shown = printed(print_validation, found)
    assert "(bad)  1 error" in shown
    assert "(good)  3 variants, 3 trials" in shown


def test_trials_to_run_are_counted_where_nothing_is_known_of_them(write_suite, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    ready = prepare(write_suite(TINY), store=tmp_path / "store")
    shown = printed(print_plan, ready, ready.estimate(timing_seconds=0))
    assert "nothing is known of trials like these" in shown
    assert re.search(r"mse +the reference +2 +2 +– +–", shown)


@pytest.mark.parametrize("page", ["README.md", "docs/suites.md"])
def test_the_suite_on_a_page_of_the_documentation_is_sound(page, write_suite, tmp_path):
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    (suite,) = re.findall(r"```yaml\n(suite:.*?)```", text, re.DOTALL)
    assert prepare(write_suite(suite), store=tmp_path / "store").missing


def test_validate_goes_on_after_a_suite_that_there_is_not(write_suite):
    runner = CliRunner()
    result = runner.invoke(app, ["validate", "nowhere", str(write_suite(TINY)), "--json"])
    assert result.exit_code == 2
    missing, sound = json.loads(result.stdout)
    assert missing["problems"][0].startswith("no 'nowhere' in suites")
    assert (sound["problems"], sound["trials"]) == ([], 6)


def test_a_cache_that_cannot_be_made_is_told_before_anything_starts(write_suite, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("HARNESS_CACHE", str(blocked / "cache"))
    ready = prepare(write_suite(TINY), store=tmp_path / "store")
    with pytest.raises(HarnessError, match="cannot be made: Not a directory; set HARNESS_CACHE"):
        execute(ready, executor="local")
    assert not list((tmp_path / "store" / "runs").iterdir())


def test_the_commands_end_with_the_exit_codes_they_promise(write_suite, tmp_path, monkeypatch):
    runner = CliRunner()
    good = runner.invoke(app, ["validate", str(write_suite(TINY)), "--json"])
    assert good.exit_code == 0
    assert [one["problems"] for one in json.loads(good.stdout)] == [[]]
    bad = runner.invoke(app, ["validate", str(write_suite(TINY.replace("lr: 2e-3", "lr: -1")))])
    assert bad.exit_code == 2
    assert "should be greater than 0, got -1" in bad.stdout


BIG = (
    TINY[: TINY.index("vary:")]
    + """\
design: factorial
vary:
  - {factor: lr, path: optimizer.lr, values: LRS}
  - {factor: decay, path: optimizer.weight_decay, values: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}
  - {factor: epochs, path: train.epochs, values: [3, 6, 9, 12, 15]}
  - {use: skips}
seeds: 5
""".replace("LRS", str([round(0.001 * step, 4) for step in range(1, 21)]))
)


def test_ten_thousand_trials_are_planned_quickly(write_suite, tmp_path):
    """The whole command takes under 5 s on 2 quiet cores (docs/log.md); here CPU seconds, past the imports."""
    prepare(write_suite(TINY), store=tmp_path / "store")
    path = write_suite(BIG, "big.yaml")
    started = time.process_time()
    prepared = prepare(path, store=tmp_path / "store")
    printed(print_plan, prepared, prepared.estimate(timing_seconds=0.0))
    assert time.process_time() - started < 4
    assert len(prepared.plan.trials) == 10_000
    assert len({trial.id for trial in prepared.plan.trials}) == 10_000


def test_a_plan_over_its_budget_is_shown_before_it_is_refused(write_suite, tmp_path):
    path = write_suite(TINY + "budget: {trials: 2}\n")
    result = subprocess.run(
        [Path(sys.executable).parent / "harness", "plan", str(path), "--store", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "loss.l1 = 0.5" in result.stdout
    assert "6 trials of 2" in result.stderr

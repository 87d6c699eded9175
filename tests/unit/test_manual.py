"""What `harness list` and `harness show` tell, through the command line and from Python."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import manual
from harness.cli import app
from harness.errors import HarnessError
from harness.registry import registry

OWN_LOSS = '''
"""A loss of one's own."""
from pydantic import Field
from harness.config import LossConfig
from harness.losses.base import LossTerm


class OwnConfig(LossConfig):
    """Parameters of `Own`."""

    sharpness: int = Field(default=3, ge=1, le=9)
    """How sharp."""
    mode: str | None = None
    """How at all."""


class Own(LossTerm):
    """A loss for nobody else.

    And a second paragraph.
    """

    Config = OwnConfig
    recorded_name = "own"

    def compare(self, prediction, batch):
        return prediction.flatten(1).mean(1)
'''
OWN_ABLATION = """
question: Which of mine?
factor: mine
requires: [optimizer.momentum]
options: {rate: {default: 0.5, help: how much}}
levels:
  control: {}
  more: {set: {optimizer.momentum: "${rate}"}, why: it may help}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Stand in a project with an ablation and a loss of its own."""
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations" / "mine.yaml").write_text(OWN_ABLATION)
    (tmp_path / "own_loss_of_a_test.py").write_text(OWN_LOSS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def told(*arguments):
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_list_without_a_kind_counts_every_kind():
    counts = json.loads(told("list", "--json"))
    assert set(counts) == set(manual.KINDS)
    assert counts["optimizers"] == len(registry.names("optimizer"))
    assert counts["templates"] == 2
    assert "optimizers" in told("list")


@pytest.mark.parametrize("kind", ["loss", "losses"])
def test_a_kind_is_understood_in_the_singular_and_in_the_plural(kind):
    names = [entry["name"] for entry in json.loads(told("list", kind, "--json"))]
    assert names == registry.names("loss")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "lossess"], "no kind 'lossess'; did you mean 'losses'?"),
        (["show", "modle", "x"], "no kind 'modle'"),
        (["show", "model", "conditional_unnet"], "did you mean 'conditional_unet'?"),
        (["show", "metric", "psmr"], "no metric 'psmr'; did you mean 'psnr'?"),
        (["show", "ablation", "skip"], "did you mean 'skips'?"),
        (["show", "template", "chronicel"], "did you mean 'chronicle'?"),
    ],
)
def test_an_unknown_word_gets_a_suggestion(arguments, message):
    with pytest.raises(HarnessError) as error:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert message in str(error.value)


def test_every_name_of_every_list_has_a_page_with_the_same_name():
    for kind in manual.KINDS:
        for entry in manual.entries(kind):
            page = manual.page(kind, entry.name)
            assert page.name == entry.name
            assert page.origin == entry.origin


def test_every_component_has_one_line_and_every_setting_a_meaning():
    for kind in manual.COMPONENTS:
        for entry in manual.entries(kind):
            assert entry.summary, (kind, entry.name)
            page = manual.page(kind, entry.name)
            assert [found.name for found in page.settings if not found.meaning] == []


def test_a_list_tells_what_is_the_projects_own(project):
    entries = {entry["name"]: entry for entry in json.loads(told("list", "ablations", "--json"))}
    assert entries["mine"] == {"name": "mine", "summary": "Which of mine?", "origin": "project"}
    assert entries["skips"]["origin"] == "bundled"
    assert "Which of mine? (project)" in told("list", "ablations")


def test_a_page_gives_type_default_range_and_meaning_of_every_setting():
    page = manual.page("optimizer", "sgd")
    momentum = next(found for found in page.settings if found.name == "momentum")
    assert (momentum.type, momentum.default, momentum.required) == ("number", 0.0, False)
    assert momentum.range == "at least 0 and below 1"
    assert momentum.meaning == "Decay of the running sum of gradients."
    assert {found.name for found in page.settings} == {"lr", "momentum", "nesterov", "weight_decay"}
    assert page.source == "harness.train.optimizers:SGD"


def test_choices_and_none_are_told_in_words():
    settings = {found.name: found for found in manual.page("model", "conditional_unet").settings}
    assert settings["norm"].type == "batch | group | none"
    assert settings["depth"].type == "integer or none"
    assert settings["depth"].range == "1 to 10"
    assert settings["widths"].type == "list of integer"
    assert settings["skips"].type == "true or false"


def test_a_plugin_is_shown_by_module_and_name(project):
    text = told("show", "loss", "own_loss_of_a_test:Own")
    assert text.startswith(
        "own_loss_of_a_test:Own  (losses, project)\nA loss for nobody else.\n\nAnd a second"
    )
    assert "  sharpness  integer, 1 to 9; default 3\n             How sharp.\n" in text
    assert "  mode       text or none; default none\n" in text
    assert "  weight     number, at least 0; required\n" in text


def test_a_metric_tells_unit_direction_and_range():
    page = json.loads(told("show", "metric", "psnr", "--json"))
    facts = page["facts"]
    assert (facts["unit"], facts["direction"], facts["range"]) == ("dB", "higher is better", "0 to 100")
    assert page["summary"].startswith("10 log10(1 / mean squared error)")


def test_an_ablation_tells_to_what_it_applies_its_options_and_how_to_use_it(project):
    facts = json.loads(told("show", "ablation", "mine", "--json"))["facts"]
    assert facts["applies to"] == {"optimizer.momentum": ["sgd", "timm"]}
    assert facts["options"] == {"rate": {"default": 0.5, "help": "how much"}}
    assert facts["levels"]["more"]["why"] == "it may help"
    assert facts["in a suite"] == "vary:\n  - use: mine\n    with: {rate: 0.5}"


def test_the_settings_an_ablation_needs_are_read_from_its_levels_where_it_does_not_say(project):
    path = project / "ablations" / "mine.yaml"
    path.write_text(OWN_ABLATION.replace("requires: [optimizer.momentum]\n", ""))
    facts = manual.page("ablation", "mine").facts
    assert facts["applies to"] == {"optimizer.momentum": ["sgd", "timm"]}


def test_an_ablation_that_fits_nothing_says_so(project):
    path = project / "ablations" / "mine.yaml"
    path.write_text(OWN_ABLATION.replace("[optimizer.momentum]", "[model.wings, train.epochs]"))
    facts = manual.page("ablation", "mine").facts
    assert facts["applies to"] == {"model.wings": "no registered component", "train.epochs": "every suite"}


def test_a_suite_tells_question_factors_profiles_and_claims():
    page = manual.page("suite", "colorization_losses")
    assert page.summary == "Which loss terms does polygon colorization need?"
    assert page.facts["factors"]["loss_terms"]["levels"] == ["mse", "lpips", "ssim", "lab"]
    assert page.facts["factors"]["loss_terms"]["design"] == "cumulative"
    assert "base.train.epochs = 2" in page.facts["profiles"]["smoke"]
    assert page.facts["claims"]["lpips-sharpens"] == "LPIPS sharpens edges and shapes"


def test_where_output_is_no_terminal_lines_are_whole():
    lines = told("show", "model", "conditional_unet").splitlines()
    assert max(map(len, lines)) > 120
    assert not any(line.endswith(" ") for line in lines)


def test_no_list_imports_torch_or_a_plugin(project):
    code = (
        "import sys; from harness.cli import app\n"
        f"for kind in {manual.KINDS!r}: app(['list', kind], standalone_mode=False)\n"
        "app(['list'], standalone_mode=False)\n"
        "print(sorted({'torch', 'ray', 'own_loss_of_a_test'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_page_of_content_does_not_need_its_folder_to_be_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(manual.page("ablation", "skips").source).is_file()

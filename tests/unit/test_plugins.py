import shutil
import sys
from pathlib import Path

import pytest

from harness import plugins, specify
from harness.errors import HarnessError, SuiteError
from harness.planning.build import build_plan
from harness.registry import BUILTIN, Entry, Registry, UnknownNameError
from harness.suite import load_suite
from harness.testing.tiny import TINY
from harness.validation import Mistakes

LOSS = """\
from pydantic import Field
from harness.config import LossConfig
from harness.losses.base import LossTerm


class PowerConfig(LossConfig):
    exponent: float = Field(default=1.5, gt=0)


class Power(LossTerm):
    Config = PowerConfig
    recorded_name = "power"

    def __init__(self, config, context):
        super().__init__()
        self.exponent = config.exponent

    def compare(self, prediction, batch):
        return (prediction - batch["target"]).abs().pow(self.exponent).flatten(1).mean(1)
"""


@pytest.fixture
def enter(tmp_path, monkeypatch):
    """Return a function that goes to a folder as a new process would: nothing of before is imported."""
    path = list(sys.path)

    def forget():
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
                del sys.modules[name]
        sys.path[:] = path

    def enter(folder):
        forget()
        monkeypatch.chdir(folder)
        fresh = Registry(BUILTIN)
        monkeypatch.setattr(specify, "registry", fresh)
        return fresh

    yield enter
    forget()


@pytest.fixture
def project(tmp_path, enter):
    """Return a project folder with a loss in `own_loss.py`, and go there."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "own_loss.py").write_text(LOSS)
    enter(folder)
    return folder


def specified(loss, data=None):
    return specify.specify(
        {
            "data": data or {"name": "polygons", "size": 32},
            "model": {"name": "conditional_unet"},
            "loss": loss,
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "train": {"epochs": 1, "batch_size": 16},
            "perceptual_weights": "random",
        },
        task="colorization",
        primary_metric="delta_e",
        seed=0,
    )


def trial_id():
    return specified({"own_loss:Power": 1.0}).trial_id()


def refusal(kind, name):
    with pytest.raises(HarnessError) as caught:
        Registry(BUILTIN).load(kind, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def install(folder, distribution, entry_points, **modules):
    """Write an installed package: its modules, and the metadata that pip would write."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)


def test_parameters_of_a_plugin_are_checked_with_their_places_in_the_file(project):
    text = TINY.replace(
        "loss: {mse: 1.0}",
        "loss:\n    mse: 1.0\n    own_loss:Power:\n      weight: 1.0\n      exponant: 2.0",
    )
    (project / "suite.yaml").write_text(text)
    with pytest.raises(SuiteError) as caught:
        build_plan(load_suite("suite.yaml"))
    assert str(caught.value).splitlines()[0] == (
        "suite.yaml:12:7  base.loss.own_loss:Power.exponant: no such setting; did you mean 'exponent'?"
    )


def test_a_plan_names_the_plugin_and_what_it_is_made_of(project):
    spec = specified({"mse": 1.0, "own_loss:Power": {"weight": 0.5, "exponent": 2.0}})
    assert spec.plugins == {"own_loss:Power": plugins.source_hash("own_loss:Power")}
    assert spec.loss["own_loss:Power"].exponent == 2.0
    assert specified({"mse": 1.0}).plugins == {}


def test_a_changed_source_is_another_trial(project, enter):
    before = trial_id()
    (project / "own_loss.py").write_text(LOSS.replace(".mean(1)", ".sum(1)"))
    enter(project)
    assert trial_id() != before
    (project / "own_loss.py").write_text(LOSS)
    enter(project)
    assert trial_id() == before


@pytest.mark.parametrize("helper", ["own_helper.py", "own_helpers/deep/maths.py"])
def test_a_changed_module_that_the_plugin_imports_is_another_trial(project, enter, helper):
    module = helper.removesuffix(".py").replace("/", ".")
    (project / helper).parent.mkdir(parents=True, exist_ok=True)
    (project / helper).write_text("FACTOR = 1\n")
    (project / "own_between.py").write_text(
        f"def factor():\n    from {module} import FACTOR\n    return FACTOR\n"
    )
    (project / "own_loss.py").write_text("import own_between\n" + LOSS)
    (project / "unrelated.py").write_text("")
    enter(project)
    before = trial_id()
    (project / "unrelated.py").write_text("x = 1\n")
    enter(project)
    assert trial_id() == before
    (project / helper).write_text("FACTOR = 2\n")
    enter(project)
    assert trial_id() != before


def test_every_module_of_a_plugin_s_package_is_part_of_it(project):
    package = project / "own_package"
    (package / "losses").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "losses" / "power.py").write_text(LOSS)
    (package / "unused.py").write_text("")
    target = "own_package.losses.power:Power"
    before = plugins.source_hash(target)
    (package / "unused.py").write_text("x = 1\n")
    assert plugins.source_hash(target) != before


def test_the_same_project_in_another_folder_is_the_same_trial(project, enter, tmp_path):
    before = trial_id()
    shutil.copytree(project, tmp_path / "another", ignore=shutil.ignore_patterns("__pycache__"))
    enter(tmp_path / "another")
    assert trial_id() == before


def test_a_source_that_changed_after_its_import_is_refused(project):
    trial_id()
    (project / "own_loss.py").write_text(LOSS + "\n# another\n")
    with pytest.raises(HarnessError, match="'own_loss' changed since this process imported it"):
        trial_id()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json:JSONDecoder", "'json' is part of Python, not a plugin"),
        ("os.path:join", "'os' is part of Python, not a plugin"),
        ("harness.losses.pixel:MSE", "is the harness's own; choose its components by their short names"),
        ("__main__:Power", "is in a script, where workers cannot find it"),
        ("own_loss:", "expected package.module:Name, got 'own_loss:'"),
        ("own loss:Power", "expected package.module:Name"),
        ("own_los:Power", "no module 'own_los'; did you mean 'own_loss'?"),
        ("own_loss.deep:Power", "no module 'own_loss.deep'; did you mean 'own_loss'?"),
        ("nowhere:Power", "no module 'nowhere'; expected it in the project folder"),
        ("own_loss:Powr", "'own_loss' has no 'Powr'; did you mean 'Power'?"),
        ("own_loss:Field", "'own_loss:Field' is no loss: expected a class, got"),
        (
            "own_loss:PowerConfig",
            "expected a Config that is a subclass of harness.config.LossConfig, got none",
        ),
    ],
)
def test_what_is_no_plugin_is_refused_in_one_line_with_the_way_out(project, name, message):
    assert message in refusal("loss", name)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("model", "expected a Config that is a subclass of harness.config.ModelConfig"),
        ("data", "expected a Config that is a subclass of harness.config.DataConfig"),
        ("task", "the class lacks choose_perceptual_weights, check, labels_of, metric_infos"),
    ],
)
def test_a_component_of_another_kind_is_refused(project, kind, message):
    assert message in refusal(kind, "own_loss:Power")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nraise RuntimeError('no\\nlicence')\n", "RuntimeError: no licence ({file}:2)"),
        (
            "x = 1\n\nimport absent_library\n",
            "ModuleNotFoundError: No module named 'absent_library' ({file}:3)",
        ),
        ("x = (1\n", "SyntaxError: '(' was never closed ({file}:1)"),
        ("import json\njson.loads('{')\n", "JSONDecodeError: Expecting property name"),
        ("raise SystemExit('bye')\n", "SystemExit: bye ({file}:1)"),
    ],
)
def test_a_module_that_breaks_while_it_is_imported_says_what_and_where(project, source, message):
    file = project / "own_broken.py"
    file.write_text(source)
    found = refusal("loss", "own_broken:Power")
    assert found.startswith("importing 'own_broken' raised ")
    assert message.format(file=file) in found
    assert str(file) in found


def test_what_a_module_prints_while_it_is_imported_goes_to_standard_error(project, capsys):
    (project / "own_loud.py").write_text("print('hello')\n" + LOSS)
    Registry(BUILTIN).load("loss", "own_loud:Power")
    assert capsys.readouterr() == ("", "hello\n")


def test_a_data_set_that_lacks_what_the_task_asks_for_says_what(project):
    (project / "own_data.py").write_text(
        "from harness.config import DataConfig\n"
        "class Photos:\n"
        "    Config = DataConfig\n"
        "    label_names = {'animal': ('cat', 'dog')}\n"
        "    image_channels = staticmethod(lambda config: 3)\n"
        "    def __init__(self, config, cache): ...\n"
        "    def split(self, name): ...\n"
    )
    data = {"name": "own_data:Photos", "size": 32, "train_size": 8, "validation_size": 8}
    with pytest.raises(Mistakes) as caught:
        specified({"mse": 1.0}, data=data)
    assert [(one.path, one.message) for one in caught.value.mistakes] == [
        (("data",), "'own_data:Photos' lacks picture_channels(config), a static method; see docs/plugins.md"),
        (("data",), "'own_data:Photos' has no label 'colour', which says what to paint"),
    ]


def test_a_metric_without_its_meaning_is_refused(project):
    (project / "own_metric.py").write_text(
        "from harness.config import ComponentConfig\n"
        "class Blank:\n    Config = ComponentConfig\n    info = 'blank'\n    def __call__(self, scored): ...\n"
    )
    assert "expected an `info` of the class that is a harness.config.MetricInfo" in refusal(
        "metric", "own_metric:Blank"
    )


def test_an_installed_package_offers_a_component_by_name(tmp_path, enter, monkeypatch):
    install(
        tmp_path,
        "power-losses",
        "[ablation_harness.loss]\npower = installed_losses:Power\n",
        installed_losses=LOSS,
    )
    registry = enter(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry.names("loss") == sorted([*BUILTIN["loss"], "power"])
    assert registry.load("loss", "power").recorded_name == "power"
    assert Entry("loss", "power", "installed_losses:Power", "power-losses") in registry.describe()
    assert Entry("loss", "mse", "harness.losses.pixel:MSE", "built in") in registry.describe()
    assert specified({"power": 1.0}).plugins.keys() == {"installed_losses:Power"}
    with pytest.raises(UnknownNameError, match="no loss 'powr'; did you mean 'power'"):
        registry.load("loss", "powr")


@pytest.mark.parametrize(
    ("name", "origins"),
    [
        ("mse", "offered by the harness and by first-losses"),
        ("power", "offered by first-losses and by second-losses"),
    ],
)
def test_a_name_that_is_offered_twice_is_refused_with_both_origins(
    tmp_path, enter, monkeypatch, name, origins
):
    offer = "[ablation_harness.loss]\npower = installed_twice:Power\n"
    install(tmp_path, "first-losses", offer + "mse = installed_twice:Power\n", installed_twice=LOSS)
    install(tmp_path, "second-losses", offer)
    registry = enter(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(HarnessError) as caught:
        registry.load("loss", name)
    assert origins in str(caught.value)
    assert "write installed_twice:Power in place of the name" in str(caught.value)
    assert registry.load("loss", "installed_twice:Power").recorded_name == "power"


def test_what_is_installed_beside_a_plugin_is_no_part_of_it(tmp_path, enter, monkeypatch):
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "own_installed.py").write_text("import own_library\n")
    (site / "own_library.py").write_text("x = 1\n")
    enter(tmp_path)
    monkeypatch.syspath_prepend(str(site))
    before = plugins.source_hash("own_installed:Power")
    (site / "own_library.py").write_text("x = 2\n")
    assert plugins.source_hash("own_installed:Power") == before

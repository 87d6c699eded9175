"""How a suite asks for several processes, and what planning refuses; no trial is trained here."""

import jsonschema
import pytest

from harness.errors import HarnessError
from harness.planning.build import build_plan
from harness.schema import suite_schema
from harness.specify import respecify
from harness.suite import load_suite
from harness.testing.tiny import TINY
from tests.unit.suites.test_specify import mistakes, spec_of, train

FACTOR = """\
  - factor: sharing
    levels:
      parts: {set: {strategy.name: zero2}}
      offloaded: {set: {strategy: {name: zero3, processes: 4, offload: cpu}}}
"""
WHOLE_OPTIMIZER = """\
from harness.config import ComponentConfig
from harness.train.optimizers import SGD


class Config(ComponentConfig):
    lr: float = 0.1


class Whole(SGD):
    Config = Config
    elementwise = False
"""


@pytest.fixture
def planned(write_suite):
    """Return a function: overrides -> the plan of the tiny suite with them."""

    def plan(*overrides, text=TINY):
        return build_plan(
            load_suite(write_suite(text), overrides=["base.perceptual_weights=random", *overrides])
        )

    return plan


def test_one_process_is_what_a_suite_asks_for_without_a_word(planned):
    plain, said = planned(), planned("base.strategy=single")
    assert [trial.id for trial in said.trials] == [trial.id for trial in plain.trials]
    spec = plain.trials[0].spec
    assert (spec["strategy"], spec["world_size"], "offload" in spec) == ("single", 1, False)


def test_ids_of_several_processes_are_locked(planned):
    """A change here means that no store answers any more: raise IDENTITY_VERSION and say so."""
    assert planned("base.strategy={name: ddp, processes: 2}").trials[0].id == "332fae9ac52438e2"
    assert (
        planned("base.strategy={name: zero3, processes: 2, offload: cpu}").trials[0].id == "756d00b9bc975b47"
    )


def test_a_strategy_can_be_varied(planned):
    text = TINY.replace("vary:\n", f"vary:\n{FACTOR}").replace(
        "  train: {", "  strategy: {name: ddp, processes: 2}\n  train: {"
    )
    plan = planned(text=text)
    specs = [respecify(plan.trial(name, 0).spec) for name in ("mse", "parts", "offloaded")]
    assert [(spec.strategy, spec.world_size, spec.offload) for spec in specs] == [
        ("ddp", 2, "none"),
        ("zero2", 2, "none"),
        ("zero3", 4, "cpu"),
    ]
    assert len({spec.trial_id() for spec in specs}) == 3


@pytest.mark.parametrize(
    ("strategy", "path", "words"),
    [
        ("ddp", ("strategy",), "'processes' is missing; ddp spreads a trial over several"),
        ({"processes": 2}, ("strategy", "processes"), "single trains in one process, got 2"),
        (
            {"name": "single", "processes": 2},
            ("strategy", "processes"),
            "single trains in one process, got 2",
        ),
        (
            {"name": "fsdp", "processes": 1},
            ("strategy", "processes"),
            "fsdp needs at least 2 processes, got 1",
        ),
        ({"name": "ddp", "processes": 2, "offload": "cpu"}, ("strategy", "offload"), "not for ddp"),
        ({"name": "zero4", "processes": 2}, ("strategy", "name"), "zero3"),
        ({"name": "ddp", "ranks": 2}, ("strategy", "ranks"), "known are name, offload, processes"),
        (2, ("strategy",), "should be a name, or a mapping"),
        (
            {"name": "ddp", "processes": 3},
            ("train", "batch_size"),
            "16 samples do not divide into 3 processes x 1",
        ),
    ],
)
def test_mistakes_stand_where_they_were_made(strategy, path, words):
    found = mistakes(strategy=strategy)
    assert found[0][0] == path
    assert words in found[0][1]


@pytest.mark.parametrize("name", ["fsdp", "zero3"])
def test_an_average_needs_whole_weights(name):
    ((path, message),) = mistakes(strategy={"name": name, "processes": 2}, train=train(ema=0.9))
    assert path == ("train", "ema")
    assert f"{name} keeps parts of them; use ddp, zero1 or zero2" in message
    assert spec_of(strategy={"name": "zero2", "processes": 2}, train=train(ema=0.9)).train.ema == 0.9


def test_an_optimizer_that_needs_whole_weights_is_refused_where_they_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "strategies_optimizer.py").write_text(WHOLE_OPTIMIZER)
    own = {"name": "strategies_optimizer:Whole"}
    ((path, message),) = mistakes(strategy={"name": "zero1", "processes": 2}, optimizer=own)
    assert path == ("optimizer", "name")
    assert "elementwise = True" in message
    assert spec_of(strategy={"name": "ddp", "processes": 2}, optimizer=own).strategy == "ddp"


@pytest.mark.parametrize("name", ["fsdp", "zero1", "zero2", "zero3"])
def test_float16_is_for_whole_copies_alone(name):
    ((path, message),) = mistakes(strategy={"name": name, "processes": 2}, train=train(precision="fp16"))
    assert path == ("train", "precision")
    assert "use bf16, or the strategy single or ddp" in message
    assert spec_of(strategy={"name": "ddp", "processes": 2}, train=train(precision="fp16")).world_size == 2


def test_kinds_of_timm_that_look_at_whole_weights_are_refused_where_they_are_shared_out():
    zero = {"name": "zero1", "processes": 2}
    ((path, message),) = mistakes(strategy=zero, optimizer={"name": "timm", "kind": "lamb"})
    assert path == ("optimizer",)
    assert message.endswith("and lamb does not update each number by itself; use single or ddp")
    assert spec_of(strategy=zero, optimizer={"name": "timm", "kind": "lion"}).strategy == "zero1"
    assert spec_of(optimizer={"name": "timm", "kind": "lamb"}).optimizer.name == "timm"


def test_which_weights_stay_is_no_part_of_the_identity(planned):
    kept = planned("checkpoints.keep=[best]")
    assert kept.checkpoints.keep == ("best",)
    assert [trial.id for trial in kept.trials] == [trial.id for trial in planned().trials]
    with pytest.raises(HarnessError, match=r"checkpoints\.keep"):
        planned("checkpoints.keep=[first]")


@pytest.mark.parametrize(
    ("strategy", "right"),
    [
        ("single", True),
        ({"name": "zero2", "processes": 2, "offload": "cpu"}, True),
        ("zero5", False),
        ({"name": "ddp", "ranks": 2}, False),
    ],
)
def test_an_editor_is_told_the_same(strategy, right):
    schema = suite_schema()
    of_strategy = {**schema["properties"]["base"]["properties"]["strategy"], "$defs": schema["$defs"]}
    assert jsonschema.Draft202012Validator(of_strategy).is_valid(strategy) is right

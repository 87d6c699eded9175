import copy
import json
import time
from typing import Annotated, Literal

import pytest
from pydantic import Discriminator, Field, Tag

from harness.config import Frozen
from harness.registry import registry
from harness.specify import Memory, plugins_of, respecify, specify
from harness.validation import Mistakes, check

BASE = {
    "data": {"name": "polygons", "size": 32},
    "model": {"name": "conditional_unet"},
    "loss": {"mse": 1.0},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "train": {"epochs": 1, "batch_size": 16},
    "perceptual_weights": "random",
}
AUGMENTATIONS = ["affine", "background", "colour_jitter", "hflip", "noise", "rot90", "vflip"]
METRIC = """\
from harness.config import ComponentConfig, MetricInfo


class Config(ComponentConfig):
    power: int = 1


def make(recorded):
    class Made:
        Config = Config
        info = MetricInfo(name=recorded, title="T", symbol="T", direction="lower", range=(0, None),
                          description="D.", theme="pixel")
        def __init__(self, config, context):
            self.power = config.power
        def __call__(self, scored):
            return (scored.prediction - scored.target).abs().pow(self.power).flatten(1).mean(1)
    return Made


Own, Again, Taken = make("own"), make("own"), make("psnr")
"""


def spec_of(memory=None, **changes):
    options = {key: changes.pop(key) for key in ("folds", "fold") if key in changes}
    config = {**copy.deepcopy(BASE), **changes}
    return specify(config, task="colorization", primary_metric="delta_e", seed=0, memory=memory, **options)


def mistakes(**changes):
    with pytest.raises(Mistakes) as caught:
        spec_of(**changes)
    return [(mistake.path, mistake.message) for mistake in caught.value.mistakes]


def train(**changes):
    return {**BASE["train"], **changes}


@pytest.fixture
def own_metrics(tmp_path, monkeypatch):
    """Put metrics of one's own into a module that no other test has."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "specify_metrics.py").write_text(METRIC)


def test_augmentations_are_words_or_mappings_and_come_sorted():
    spec = spec_of(train=train(augment=["vflip", {"name": "hflip", "probability": 0.25}]))
    assert [(config.name, config.probability) for config in spec.train.augment] == [
        ("hflip", 0.25),
        ("vflip", 0.5),
    ]
    written = spec_of(train=train(augment=[{"name": "hflip", "probability": 0.25}, {"name": "vflip"}]))
    assert written.trial_id() == spec.trial_id()


@pytest.mark.parametrize(
    ("augment", "expected"),
    [
        (["hflip", "vflip", "hflip"], [(("train", "augment", 2), "'hflip' stands here twice; once at most")]),
        (["hflop"], [(("train", "augment", 0), "no augmentation 'hflop'; did you mean 'hflip'?")]),
        (
            [{"name": "hflop"}],
            [(("train", "augment", 0, "name"), "no augmentation 'hflop'; did you mean 'hflip'?")],
        ),
        (
            ["vflip", {"name": "hflip", "probabilty": 1}],
            [(("train", "augment", 1, "probabilty"), "no such setting; did you mean 'probability'?")],
        ),
        ("hflip", [(("train", "augment"), "should be a list of names, or of mappings with a name")]),
        (None, [(("train", "augment"), "should be a list of names, or of mappings with a name")]),
        ([3], [(("train", "augment", 0), f"'name' is missing; known are {', '.join(AUGMENTATIONS)}")]),
    ],
)
def test_a_wrong_augmentation_is_told_of_at_its_place_in_the_list(augment, expected):
    assert mistakes(train=train(augment=augment)) == expected


def test_all_mistakes_of_a_section_come_together():
    found = mistakes(train={"epochs": "x", "batch_size": 16, "augment": ["hflop"], "clipnorm": 1})
    assert [path for path, _ in found] == [
        ("train", "augment", 0),
        ("train", "epochs"),
        ("train", "clipnorm"),
    ]


def test_metrics_of_a_suite_are_part_of_the_trial(own_metrics):
    spec = spec_of(metrics=[{"name": "specify_metrics:Own", "power": 2}])
    assert spec.metrics[0].power == 2
    assert spec.plugins.keys() == {"specify_metrics:Own"}
    assert spec.trial_id() != spec_of(metrics=["specify_metrics:Own"]).trial_id() != spec_of().trial_id()
    assert mistakes(metrics=[{"name": "specify_metrics:Own", "powr": 2}]) == [
        (("metrics", 0, "powr"), "no such setting; did you mean 'power'?")
    ]


@pytest.mark.parametrize(("names", "taken"), [(["Taken"], "psnr"), (["Own", "Again"], "own")])
def test_two_metrics_do_not_record_under_one_name(own_metrics, names, taken):
    ((path, message),) = mistakes(metrics=[f"specify_metrics:{name}" for name in names])
    assert path == ("metrics",)
    assert f"would be recorded as '{taken}', which is taken" in message


def test_a_specification_survives_json_with_all_that_it_has(own_metrics):
    spec = spec_of(
        metrics=["specify_metrics:Own"],
        train=train(augment=["rot90", "hflip"], balance="colour"),
        data={"name": "polygons", "size": [48, 48]},
        folds=4,
        fold=1,
    )
    again = respecify(json.loads(spec.model_dump_json()))
    assert again.model_dump() == spec.model_dump()
    assert again.trial_id() == spec.trial_id()
    assert (again.folds, again.fold) == (4, 1)
    assert again.plugins == plugins_of(again) != {}


def test_one_memory_gives_what_each_alone_gives():
    changes = [
        {},
        {"loss": {"l1": 1}},
        {"loss": {"l1": 1.0}},
        {"loss": {"mse": True}},
        {"model": None},
        {"train": {}},
    ]
    memory = Memory()

    def outcome(memory, change):
        try:
            return spec_of(memory, **change)
        except Mistakes as found:
            return found.mistakes

    alone = [outcome(None, change) for change in changes]
    assert [outcome(memory, change) for change in changes * 2] == alone * 2


def test_ten_thousand_configurations_are_specified_in_seconds():
    """Without the memory it is several times slower; the bound leaves room for a busy machine."""
    configs = [
        {"optimizer": {"name": "adamw", "lr": 1e-4 * (1 + i % 100)}, "train": train(epochs=1 + i // 100)}
        for i in range(10_000)
    ]
    memory = Memory()
    started = time.process_time()
    specs = [
        specify({**BASE, **config}, task="colorization", primary_metric="delta_e", seed=0, memory=memory)
        for config in configs
    ]
    assert time.process_time() - started < 3.0
    assert len({(spec.optimizer.lr, spec.train.epochs) for spec in specs}) == 10_000


class _First(Frozen):
    name: Literal["first"]
    width: int = 1


class _Second(Frozen):
    name: Literal["second"]
    depth: int = 1


class _Plain(Frozen):
    text: str
    start: int = Field(default=0, alias="from")


class _Grouped(Frozen):
    group: str
    parts: dict[str, _First] = Field(default_factory=dict)


class _Model(Frozen):
    rate: float | tuple[float, float] = 1.0
    whole: Annotated[int, Field(ge=1)] | tuple[int, int] = 1
    words: str | tuple[str, ...] = ""
    part: Annotated[_First | _Second, Field(discriminator="name")] | None = None
    entries: tuple[
        Annotated[
            Annotated[_Plain, Tag("plain")] | Annotated[_Grouped, Tag("group")],
            Discriminator(lambda value: "group" if "group" in value else "plain"),
        ],
        ...,
    ] = ()


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({"rate": "x"}, ("rate",), 'expected a number or a list of 2 numbers, got "x"'),
        ({"rate": [1, "x"]}, ("rate", 1), 'should be a valid number, got "x"'),
        ({"whole": 0}, ("whole",), "should be greater than or equal to 1, got 0"),
        ({"whole": True}, ("whole",), "expected a whole number or a list of 2 whole numbers, got true"),
        ({"words": 3}, ("words",), "expected a text or a list, got 3"),
        ({"words": ["a", 3]}, ("words", 1), "should be a valid string, got 3"),
        ({"part": {"name": "third"}}, ("part",), "expected 'name' 'first', 'second', got 'third'"),
        ({"part": {}}, ("part",), "'name' is missing"),
        (
            {"part": {"name": "second", "x": 2}},
            ("part", "x"),
            "no such setting; known are depth, name",
        ),
        ({"part": {"name": "second", "depth": "x"}}, ("part", "depth"), 'should be a valid integer, got "x"'),
        (
            {"entries": [{"text": "a", "form": 1}]},
            ("entries", 0, "form"),
            "no such setting; did you mean 'from'?",
        ),
        (
            {"entries": [{"text": "a", "from": "x"}]},
            ("entries", 0, "from"),
            'should be a valid integer, got "x"',
        ),
        (
            {"entries": [{"group": "g", "parts": {"p": {"name": "first", "widht": 1}}}]},
            ("entries", 0, "parts", "p", "widht"),
            "no such setting; did you mean 'width'?",
        ),
        ({"entries": [{"group": 1}]}, ("entries", 0, "group"), "should be a valid string, got 1"),
    ],
)
def test_a_wrong_value_of_several_accepted_types_is_one_mistake_where_it_was_written(value, path, message):
    with pytest.raises(Mistakes) as caught:
        check(_Model, value)
    assert [(mistake.path, mistake.message) for mistake in caught.value.mistakes] == [(path, message)]


def test_a_size_is_told_of_as_one_number_or_two():
    assert mistakes(data={"name": "polygons", "size": "abc"}) == [
        (("data", "size"), 'expected a whole number or a list of 2 whole numbers, got "abc"')
    ]
    ((path, _),) = mistakes(data={"name": "polygons", "size": -1})
    assert path == ("data", "size")


def test_another_name_of_a_term_is_the_term():
    spec = spec_of(loss={"l2": 0.5, "l1": 1.0})
    assert list(spec.loss) == ["l1", "mse"]
    assert spec.trial_id() == spec_of(loss={"mse": 0.5, "l1": 1.0}).trial_id()


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_a_term_under_both_its_names_is_a_mistake(weights):
    ((path, message),) = mistakes(loss={"mse": weights[0], "l2": weights[1]})
    assert path == ("loss", "l2")
    assert message == "is another name of mse, which stands here too; leave one out"


def test_a_mistake_in_a_term_is_told_under_the_name_that_was_written():
    assert [path for path, _ in mistakes(loss={"l2": -1})] == [("loss", "l2")]
    assert [path for path, _ in mistakes(loss={"l2": {"weight": 1, "wieght": 2}})] == [
        ("loss", "l2", "wieght")
    ]


def test_a_term_of_weight_zero_and_an_absent_one_are_one_trial():
    absent = spec_of(loss={"mse": 1.0})
    for name in registry.names("loss"):
        if name != "mse":
            assert spec_of(loss={"mse": 1.0, name: 0}).trial_id() == absent.trial_id()


def test_perceptual_chooses_its_weights_by_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet-owt-7be5be79.pth").touch()  # of the metric lpips
    options = {"loss": {"perceptual": 0.1}, "perceptual_weights": "auto"}
    assert spec_of(**options).perceptual_weights == "random"
    ((path, message),) = mistakes(**{**options, "perceptual_weights": "published"})
    assert path == ("perceptual_weights",)
    assert message.startswith("perceptual with published weights needs")
    (folder / "vgg16-397923af.pth").touch()
    assert spec_of(**options).perceptual_weights == "published"

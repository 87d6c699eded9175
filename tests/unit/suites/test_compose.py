"""Suites put together from several files: what wins, and where mistakes are placed."""

import pytest

from harness.errors import SuiteError
from harness.planning.build import plan_suite
from harness.suite import load_suite
from harness.testing.tiny import TINY

ABLATION = """\
# Widths.
factor: width
question: How wide?
requires: [model.widths]
options:
  factors: {default: [2], help: factors}
  who: {default: nobody, help: a title}
levels:
  wide: {scale: {model.widths: 2}, title: "${who}"}
  mask: {set: {data.mask: "${who}"}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def problems(path, **options):
    with pytest.raises(SuiteError) as caught:
        plan_suite(path, **options)
    return [str(problem) for problem in caught.value.problems]


def test_extends_merges_mappings_and_replaces_the_rest(project):
    project(parent=TINY, child="extends: parent.yaml\nsuite: child\nbase: {train: {epochs: 7}}\nclaims: []\n")
    suite = load_suite("child.yaml").suite
    assert suite.suite == "child"
    assert suite.base["train"] == {"epochs": 7, "batch_size": 16, "clip_norm": 1.0, "augment": ["hflip"]}
    assert suite.claims == ()
    assert [factor.factor for factor in suite.vary] == ["loss_terms"]
    assert suite.seeds == (0, 1)


def test_another_component_replaces_the_one_it_extends_with_all_its_settings(project):
    project(parent=TINY, child="extends: parent.yaml\nbase: {optimizer: {name: sgd}, model: {layers: 2}}\n")
    base = load_suite("child.yaml").suite.base
    assert base["optimizer"] == {"name": "sgd"}
    assert base["model"] == {"name": "conditional_unet", "widths": [8, 16], "layers": 2}


def test_includes_add_to_vary_claims_and_exclude(project):
    project(
        main=f"include: [part.yaml, more.yaml]\n{TINY}",
        part="vary: [{use: skips}]\nseeds: 9\n",
        more="vary: [{factor: lr, path: optimizer.lr, values: [0.1]}]\nmargins: {delta_e: 1}\n",
    )
    suite = load_suite("main.yaml").suite
    assert [factor.factor for factor in suite.vary] == ["skips", "lr", "loss_terms"]
    assert suite.seeds == (0, 1)  # the file itself wins
    assert suite.margins == {"delta_e": 1}
    assert len(suite.claims) == 1


def test_a_known_suite_can_be_extended_by_name(project):
    project(child="extends: colorization_losses\nsuite: mine\nseeds: 1\n")
    assert len(plan_suite("child.yaml", profile="smoke").plan.variants) == 4


def test_mistakes_stand_where_they_were_written_whichever_file_that_was(project):
    project(
        parent=TINY.replace("lr: 2e-3", "lr: -1"),
        part="vary:\n  - factor: deep\n    levels: {deep: {set: {model.depth: 99}}}\n",
        child="extends: parent.yaml\ninclude: part.yaml\nclaims: []\nbase:\n  train: {epochs: 0}\n",
    )
    assert problems("child.yaml") == [
        "child.yaml:5:19  base.train.epochs: should be greater than or equal to 1, got 0",
        "parent.yaml:9:32  base.optimizer.lr: should be greater than 0, got -1",
        "part.yaml:3:40  vary[0].levels.deep: model.depth: should be less than or equal to 10, got 99",
    ]


def test_files_that_lead_back_to_themselves_or_are_not_there_are_refused(project):
    project(a=f"extends: b.yaml\n{TINY}", b=f"extends: a.yaml\n{TINY}", c=f"include: [nope.yaml, 3]\n{TINY}")
    assert problems("a.yaml") == ["b.yaml:1:10  extends: a.yaml leads back to itself"]
    found = problems("c.yaml")
    assert found[0].startswith("c.yaml:1:11  include: no 'nope' in suites")
    assert found[1] == "c.yaml:1:22  include: expected the name or the path of a suite"


def test_options_of_an_ablation_are_filled_in(project):
    project(
        ablations__width=ABLATION,
        s=TINY.replace("seeds: 2", "  - {use: width, with: {who: binary}, question: Mine?}\nseeds: 2"),
    )
    plan = plan_suite("s.yaml").plan
    assert plan.variant("wide").title == "binary"
    assert plan.trial("mask", 0).spec["data"]["mask"] == "binary"
    assert plan.questions["width"] == "Mine?"


def test_a_wrong_option_is_placed_in_the_suite_that_gave_it(project):
    project(
        ablations__width=ABLATION,
        s=TINY.replace("seeds: 2", "  - {use: width, with: {who: nobody, whoo: 1}}\nseeds: 2"),
        default=TINY.replace("seeds: 2", "  - {use: width}\nseeds: 2"),
    )
    expected = "data.mask: expected 'none', 'binary' or 'rgb', got \"nobody\""
    assert problems("s.yaml") == [
        f"s.yaml:19:30  vary[1].levels.mask: {expected}",
        "s.yaml:19:38  vary[1].with.whoo: the ablation has no option 'whoo'; did you mean 'who'?",
    ]
    assert problems("default.yaml") == [f"ablations/width.yaml:10:27  vary[1].levels.mask: {expected}"]


def test_an_ablation_that_does_not_fit_the_model_is_refused_with_those_that_do(project):
    project(
        ablations__head="factor: h\nrequires: [model.head]\npath: model.head\nvalues: [linear]\n",
        s=TINY.replace("seeds: 2", "  - {use: head}\nseeds: 2"),
    )
    assert problems("s.yaml") == [
        "s.yaml:19:11  vary[1].use: varies model.head, a setting that the model 'conditional_unet' "
        "does not have; those that have it: backbone_head"
    ]


def test_ablations_can_stand_in_groups(project):
    project(
        s=TINY.replace(
            "seeds: 2",
            "  - group: g\n    factors: [{use: skips}, {use: depth, with: {depths: [2, 3]}}]\nseeds: 2",
        )
    )
    assert [v.name for v in plan_suite("s.yaml").plan.variants][3:] == [
        "depth_3",
        "no_skips",
        "no_skips,depth_3",
    ]


def test_ablations_can_use_ablations_but_not_themselves(project):
    project(
        ablations__both="group: both\nfactors: [{use: skips}, {use: inner, with: {factor: 3}}]\n",
        ablations__inner=(
            "factor: inner\noptions: {factor: {default: 2, help: f}}\n"
            'levels: {wide: {scale: {model.widths: "${factor}"}, title: "x ${factor} wide"}}\n'
        ),
        ablations__loop="group: loop\nfactors: [{use: loop}]\n",
        s=TINY.replace("seeds: 2", "  - {use: both}\nseeds: 2"),
        looped=TINY.replace("seeds: 2", "  - {use: loop}\nseeds: 2"),
    )
    plan = plan_suite("s.yaml").plan
    assert plan.variant("wide").changes == {"model.widths": [24, 48]}
    assert plan.variant("wide").title == "x 3 wide"
    assert problems("looped.yaml") == [
        "ablations/loop.yaml:2:17  vary[1].factors[0].use: 'loop' leads back to itself"
    ]


def test_a_word_that_is_no_option_and_a_file_that_is_no_yaml_hide_no_other_mistake(project):
    project(
        ablations__typo='factor: typo\noptions: {a: {default: 1}}\npath: model.depth\nvalues: ["${b}"]\n',
        ablations__broken="factor: [\n",
        s=TINY.replace("seeds: 2", "  - {use: typo}\n  - {use: broken}\nseeds: 2").replace(
            "lr: 2e-3", "lr: -1"
        ),
        child="extends: odd.yaml\n" + TINY.replace("lr: 2e-3", "lr: -1"),
        odd="suite: [\n",
    )
    found = problems("s.yaml")
    assert "ablations/typo.yaml:4:10  values[0]: the ablation has no option 'b'; known are a" in found
    assert any(problem.startswith("ablations/broken.yaml:2:1  not YAML") for problem in found)
    assert "s.yaml:9:32  base.optimizer.lr: should be greater than 0, got -1" in found
    assert [problem.partition(" ")[0] for problem in problems("child.yaml")] == [
        "child.yaml:10:32",
        "odd.yaml:2:1",
    ]

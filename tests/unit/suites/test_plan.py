import json

import pytest

from harness.errors import HarnessError, SuiteError
from harness.plan import Plan
from harness.planning.build import build_plan, plan_suite
from harness.specify import respecify
from harness.suite import load_suite
from harness.testing.tiny import TINY


def plan_of(write_suite, text=TINY, *, only=(), **options):
    return plan_suite(write_suite(text), only=only, **options).plan


def messages(write_suite, text, **options):
    with pytest.raises(SuiteError) as caught:
        plan_of(write_suite, text, **options)
    return [str(problem).partition("my.yaml:")[2] or str(problem) for problem in caught.value.problems]


def test_a_chain_has_a_variant_a_step_and_a_trial_for_each_seed(write_suite):
    plan = plan_of(write_suite)
    assert [(v.name, v.title, v.previous) for v in plan.variants] == [
        ("mse", "mse", None),
        ("l1", "+ l1", "mse"),
        ("lab", "+ lab", "l1"),
    ]
    assert plan.reference == "mse"
    assert plan.variant("lab").changes == {"loss.l1": 0.5, "loss.lab_l1": 0.3}
    assert plan.variant("lab").levels == {"loss_terms": "lab"}
    assert [(trial.variants, trial.seed) for trial in plan.trials] == [
        (("mse",), 0),
        (("l1",), 0),
        (("lab",), 0),
        (("mse",), 1),
        (("l1",), 1),
        (("lab",), 1),
    ]
    assert plan.loss_terms == ("mse", "l1", "lab_l1")


def test_ids_are_locked(write_suite):
    """A change here means that no store answers any more: raise IDENTITY_VERSION and say so."""
    plan = plan_of(write_suite, overrides=["base.perceptual_weights=random"])
    assert [trial.id for trial in plan.trials[:3]] == [
        "2ad8e66af34a081b",
        "fb111572f413b830",
        "5c9a7c6fcedec296",
    ]


def test_ids_do_not_depend_on_how_the_suite_is_written(write_suite):
    reordered = TINY.replace(
        "{name: polygons, size: 32, train_size: 64, validation_size: 24}",
        "\n    validation_size: 24\n    train_size: 64\n    size: 0x20\n    name: polygons",
    ).replace("lr: 2e-3", "lr: 0.002")
    assert reordered != TINY
    assert [t.id for t in plan_of(write_suite, reordered).trials] == [
        t.id for t in plan_of(write_suite).trials
    ]


def test_what_changes_no_result_changes_no_id(write_suite):
    other = TINY.replace("question: Does this work?", "question: Other?\nmargins: {psnr: 1}").replace(
        "suite: tiny", "suite: other"
    )
    assert [t.id for t in plan_of(write_suite, other).trials] == [t.id for t in plan_of(write_suite).trials]


@pytest.mark.parametrize(
    "override",
    [
        "base.train.epochs=4",
        "base.train.precision=bf16",
        "base.data.seed=1",
        "base.model.skips=false",
        "base.loss.mse=0.5",
        "base.optimizer.lr=1e-3",
        "primary_metric=psnr",
    ],
)
def test_what_changes_a_result_changes_the_id(write_suite, override):
    changed = plan_of(write_suite, overrides=[override])
    assert not {t.id for t in changed.trials} & {t.id for t in plan_of(write_suite).trials}


def test_a_term_of_weight_zero_is_the_same_trial_as_no_term(write_suite):
    zero = plan_of(write_suite, overrides=["base.loss.l1=0"])
    assert zero.trials[0].id == plan_of(write_suite).trials[0].id


def test_more_seeds_keep_the_trials_there_are(write_suite):
    few = {trial.id for trial in plan_of(write_suite).trials}
    many = {trial.id for trial in plan_of(write_suite, seeds=4).trials}
    assert few < many
    assert len(many) == 12


def test_equal_configurations_are_one_trial_under_two_names(write_suite):
    text = TINY.replace("      lab: {set", "      again: {set: {loss.l1: 0.5}}\n      lab: {set")
    plan = plan_of(write_suite, text)
    assert len(plan.variants) == 4
    assert len(plan.trials) == 6
    assert plan.trials[1].variants == ("l1", "again")


def test_factors_share_the_reference_and_stand_side_by_side(write_suite):
    text = TINY.replace(
        "seeds: 2", "  - factor: skips\n    levels: {on: {}, off: {set: {model.skips: false}}}\nseeds: 2"
    )
    plan = plan_of(write_suite, text)
    assert [v.name for v in plan.variants] == ["mse", "l1", "lab", "off"]
    assert plan.variant("mse").levels == {"loss_terms": "mse", "skips": "on"}
    assert plan.variant("off").levels == {"loss_terms": "mse", "skips": "off"}
    assert plan.variant("off").previous is None


def test_without_a_control_level_the_base_is_the_reference(write_suite):
    plan = plan_of(
        write_suite,
        TINY.replace("      mse: {}\n", "").replace("of: lab, versus: l1", "of: lab, versus: base"),
    )
    assert plan.reference == "base"
    assert [v.name for v in plan.variants] == ["base", "l1", "lab"]


def test_a_known_ablation_is_used_by_name(write_suite):
    text = TINY.replace("seeds: 2", "  - use: skips\nseeds: 2")
    plan = plan_of(write_suite, text)
    assert plan.variant("no_skips").changes == {"model.skips": False}


def test_a_profile_and_then_overrides_change_the_suite(write_suite):
    text = TINY + "profiles:\n  long: {base.train.epochs: 9, seeds: [7]}\n"
    plan = plan_of(write_suite, text, profile="long", overrides=["base.train.batch_size=8"])
    spec = respecify(plan.trials[0].spec)
    assert (spec.train.epochs, spec.train.batch_size, plan.seeds) == (9, 8, (7,))
    assert plan.profile == "long"


def test_only_keeps_the_level_and_the_reference_and_says_what_it_left_out(write_suite):
    plan = plan_of(write_suite, only=["loss_terms=lab"])
    assert [v.name for v in plan.variants] == ["mse", "lab"]
    assert plan.claims == ()
    assert plan.notes == ("1 of 1 claims name variants that --only left out",)


@pytest.mark.parametrize("text", ["loss_terms", "loss_term=lab", "loss_terms=labb"])
def test_only_refuses_what_the_suite_does_not_have(write_suite, text):
    with pytest.raises(HarnessError, match="--only"):
        plan_of(write_suite, only=[text])


def test_a_plan_survives_json(write_suite):
    plan = plan_of(write_suite)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    spec = respecify(json.loads(plan.model_dump_json())["trials"][2]["spec"])
    assert spec.trial_id() == plan.trials[2].id


def test_only_on_a_chain_forgets_the_step_that_it_leaves_out(write_suite):
    assert plan_of(write_suite).variant("lab").previous == "l1"
    assert plan_of(write_suite, only=["loss_terms=lab"]).variant("lab").previous is None


def test_a_level_that_two_factors_have_is_named_with_its_factor_also_as_a_predecessor(write_suite):
    text = TINY.replace(
        "seeds: 2", "  - factor: other\n    levels: {l1: {set: {model.skips: false}}}\nseeds: 2"
    ).replace("versus: l1", "versus: loss_terms=l1")
    plan = plan_of(write_suite, text)
    assert [(v.name, v.previous) for v in plan.variants] == [
        ("mse", None),
        ("loss_terms=l1", "mse"),
        ("lab", "loss_terms=l1"),
        ("other=l1", None),
    ]


def test_a_chain_that_returns_to_the_base_begins_with_the_reference(write_suite):
    text = TINY.replace(
        "      lab: {set: {loss.lab_l1: 0.3}}",
        "      lab: {set: {loss.lab_l1: 0.3}}\n      back: {drop: [loss.l1, loss.lab_l1]}",
    )
    plan = plan_of(write_suite, text)
    assert plan.reference == "mse"
    assert plan.variant("back").previous == "lab"
    assert plan.trial("back", 0).variants == ("mse", "back")


def test_the_order_of_augmentations_changes_no_id(write_suite):
    both = ["base.train.augment=[vflip, hflip]"]
    assert plan_of(write_suite, overrides=both).trials[0].id == (
        plan_of(write_suite, overrides=["base.train.augment=[hflip, vflip]"]).trials[0].id
    )


def test_auto_means_the_same_weights_for_every_variant(write_suite, monkeypatch):
    monkeypatch.setattr("harness.tasks.colorization.published_weights_cached", lambda net: net == "alex")
    text = TINY.replace("{loss.lab_l1: 0.3}", "{loss.lpips: {weight: 0.3, net: vgg}}")
    plan = plan_of(write_suite, text)
    assert {trial.spec["perceptual_weights"] for trial in plan.trials} == {"random"}
    assert "lpips_rand" in plan.metrics
    assert "lpips" not in plan.metrics


def test_three_mistakes_are_named_at_once_with_their_places(write_suite):
    text = (
        TINY.replace("name: conditional_unet", "name: conditional_unnet")
        .replace("epochs: 3", "epochs: three")
        .replace("loss.lab_l1: 0.3", "loss.lab: 0.3")
    )
    found = messages(write_suite, text)
    assert found == [
        "7:17  base.model.name: no model 'conditional_unnet'; did you mean 'conditional_unet'?",
        '11:19  base.train.epochs: should be a valid integer, got "three"',
        "18:19  vary[0].levels.lab: loss.lab: no loss 'lab'; did you mean 'lab_l1'?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "task: colorization",
            "task: colorisation",
            "3:7  task: no task 'colorisation'; did you mean 'colorization'?",
        ),
        ("seeds: 2", "sedes: 2", "19:1  sedes: no such setting; did you mean 'seeds'?"),
        ("clip_norm: 1.0", "clip: 1.0", "11:38  base.train.clip: no such setting; did you mean 'clip_norm'?"),
        ("primary_metric: delta_e", "primary_metric: deltae", "4:17  primary_metric: no metric 'deltae'"),
        (
            "versus: l1",
            "versus: l2",
            "23:48  claims[0].expect.versus: no variant 'l2'; known are l1, lab, mse",
        ),
        (
            "direction: better",
            "direction: equivalent",
            "23:13  claims[0].expect: 'equivalent' needs a margin",
        ),
        (
            "direction: better",
            "direction: beter",
            "expected 'better', 'worse' or 'equivalent', got \"beter\"; did you mean 'better'?",
        ),
        (
            "loss: {mse: 1.0}",
            "loss: {mse: -1}",
            "8:15  base.loss.mse: should be greater than or equal to 0, got -1",
        ),
        ("loss: {mse: 1.0}", "loss: {mse: 0}", "base.loss: no term has a weight above 0"),
        ("seeds: 2", "seeds: 0", "19:8  seeds: expected a number of seeds from 1 to 1000, got 0"),
        ("seeds: 2", "seeds: true", "19:8  seeds: "),
        (
            "{set: {loss.l1: 0.5}, why",
            "{set: {model.depth: 9}, why",
            "vary[0].levels.l1: model.depth: depth 9 leaves",
        ),
        (
            "      mse: {}",
            "      mse: {drop: [loss.ssim]}",
            "16:20  vary[0].levels.mse.drop[0]: nothing to drop at loss.ssim",
        ),
        (
            "  - factor: loss_terms",
            "  - use: skps\n    factor: loss_terms",
            "13:10  vary[0].use: no 'skps' in ablations; did you mean 'skips'?",
        ),
        ("batch_size: 16", "batch_size: 16, accumulation: 3", "base.train.accumulation: 3 does not divide"),
        ("  model: {name", "  modle: {name", "7:3  base.modle: no such section; did you mean 'model'?"),
        ("suite: tiny", "suite: ../tiny", "1:8  suite: "),
        ("seeds: 2", "seeds: 20000", "expected a number of seeds from 1 to 1000, got 20000"),
        ("seeds: 2", "seeds: [9223372036854775808]", "the number has more than 64 bits"),
        (
            "widths: [8, 16]",
            "widths: [8, 16], depth: 1000000000",
            "base.model.depth: should be less than or equal to 10",
        ),
        ("lr: 2e-3", "lr: 2e-3, betas: [0.9]", "base.optimizer.betas: needs more than 1 values"),
        ("lr: 2e-3", "lr: 2e-3, betas: [2, 5]", "base.optimizer.betas[0]: should be less than 1, got 2"),
        (
            "augment: [hflip]",
            "augment: [hflip, hflip]",
            "base.train.augment[1]: 'hflip' stands here twice; once at most",
        ),
        ("seeds: 2", "seeds: 2\nmargins: {delta_e: -1}", "margins.delta_e: should be greater than 0, got -1"),
        (
            "direction: better",
            "direction: better, label: colour=redd",
            "the data has no label 'colour=redd'; did you mean 'colour=red'?",
        ),
        ("direction: better", "direction: equivalent, by: 1, margin: 1", "`by` is for better and worse"),
        (
            "seeds: 2",
            "seeds: 2\nreport: {template: nope}",
            "report.template: no template 'nope'; known are chronicle, insights",
        ),
        (
            "seeds: 2",
            "  - {factor: loss_terms, levels: {a: {}}}\nseeds: 2",
            "vary[1].factor: the name 'loss_terms' is taken",
        ),
        (
            "{set: {loss.l1: 0.5}",
            "{set: {" + ".".join("a" * 100) + ": 0.5}",
            "a path of 100 parts is too deep",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_way_out(write_suite, old, new, expected):
    assert old in TINY
    found = messages(write_suite, TINY.replace(old, new))
    assert any(expected in line for line in found), found


def test_mistakes_of_form_and_of_content_are_named_together(write_suite):
    text = TINY.replace("direction: better", "direction: upward").replace("{mse: 1.0}", "{mze: 1.0}")
    text = text.replace("task: colorization", "task: colorization\nsede: 3").replace(
        "delta_e\nbase", "delta\nbase"
    )
    assert [line.partition("  ")[2] for line in messages(write_suite, text)] == [
        "sede: no such setting; did you mean 'seeds'?",
        "primary_metric: no metric 'delta'; did you mean 'delta_e'?",
        "base.loss.mze: no loss 'mze'; did you mean 'mse'?",
        "claims[0].expect.direction: expected 'better', 'worse' or 'equivalent', got \"upward\"",
    ]


def test_claims_are_checked_beside_the_base(write_suite):
    text = TINY.replace("epochs: 3", "epochs: 0").replace("versus: l1", "versus: nobody")
    assert [line.partition("  ")[2].partition(":")[0] for line in messages(write_suite, text)] == [
        "base.train.epochs",
        "claims[0].expect.versus",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("base.train.epochs", "expected PATH=VALUE"),
        (
            "base.train.epochs=many",
            "--set base.train.epochs=many  base.train.epochs: should be a valid integer",
        ),
        ("base.train.epochs.x=1", "base.train.epochs is not a mapping"),
        ("base.train.epoch=1", "no such setting; did you mean 'epochs'?"),
    ],
)
def test_a_wrong_override_is_named_as_it_was_given(write_suite, override, expected):
    found = messages(write_suite, TINY, overrides=[override])
    assert any(expected in line for line in found), found


def test_an_unknown_profile_is_refused(write_suite):
    text = TINY + "profiles: {laptop: {seeds: 3}}\n"
    assert "no profile 'laptopp'; did you mean 'laptop'?" in messages(write_suite, text, profile="laptopp")[0]


def test_a_mistake_that_a_profile_makes_is_placed_in_the_profile(write_suite):
    text = TINY + "profiles:\n  big: {base.data.size: 8}\n"
    assert messages(write_suite, text, profile="big")[0].startswith("25:9  base.data.size: should be greater")


def test_published_weights_that_are_not_here_are_refused_while_planning(write_suite, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = messages(write_suite, TINY, overrides=["base.perceptual_weights=published"])
    assert "alexnet" in found[0]


def test_every_bundled_suite_plans_in_every_profile():
    from harness import catalog

    for name in catalog.names("suites"):
        profiles = [None, *load_suite(name).suite.profiles]
        for profile in profiles:
            plan = build_plan(load_suite(name, profile=profile))
            assert len(plan.variants) > 1


def test_a_wrong_base_hides_no_wrong_metric(write_suite):
    text = TINY.replace("lr: 2e-3", "lr: fast").replace("primary_metric: delta_e", "primary_metric: delta")
    assert messages(write_suite, text) == [
        "4:17  primary_metric: no metric 'delta'; did you mean 'delta_e'?",
        '9:32  base.optimizer.lr: should be a valid number, got "fast"',
    ]


def test_each_variant_watches_the_primary_metric_that_it_records(write_suite, monkeypatch, tmp_path):
    """On published features it is lpips, on random ones lpips_rand."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    weights.parent.mkdir(parents=True)
    weights.touch()
    text = TINY.replace("primary_metric: delta_e", "primary_metric: lpips").replace(
        "seeds: 2",
        "  - factor: features\n    levels:\n      random: {set: {perceptual_weights: random}}\nseeds: 2",
    )
    plan = plan_of(write_suite, text, overrides=["base.perceptual_weights=published"])
    watched = {name: trial.spec["primary_metric"] for trial in plan.trials for name in trial.variants}
    assert (watched["mse"], watched["random"]) == ("lpips", "lpips_rand")

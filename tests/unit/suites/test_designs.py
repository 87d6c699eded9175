"""Which variants a suite leads to: every expectation is written by hand."""

import pytest

from harness.errors import SuiteError
from harness.planning.build import plan_suite
from harness.testing.tiny import TINY

BASE = TINY[: TINY.index("vary:")].replace("loss: {mse: 1.0}", "loss: {mse: 1.0, l1: 0.5, lab_l1: 0.1}")


@pytest.fixture
def plan_of(write_suite):
    def plan(text, **options):
        return plan_suite(write_suite(BASE + "seeds: 1\n" + text), **options).plan

    return plan


@pytest.fixture
def problems_of(plan_of):
    def problems(text, **options):
        with pytest.raises(SuiteError) as caught:
            plan_of(text, **options)
        return [str(problem).partition("my.yaml:")[2] or str(problem) for problem in caught.value.problems]

    return problems


def variants(plan):
    return {variant.name: variant.changes for variant in plan.variants}


def test_each_drops_one_term_at_a_time(plan_of):
    plan = plan_of('vary: [{factor: terms, design: leave_one_out, each: "loss.*"}]')
    assert variants(plan) == {
        "all": {},
        "no_mse": {"loss.mse": None},
        "no_l1": {"loss.l1": None},
        "no_lab_l1": {"loss.lab_l1": None},
    }
    assert plan.variant("no_l1").title == "without l1"


def test_each_passes_over_what_except_names(plan_of, problems_of):
    text = 'vary: [{factor: terms, each: "loss.*", except: [mse]}]'
    assert list(variants(plan_of(text))) == ["base", "no_l1", "no_lab_l1"]
    assert problems_of(text.replace("[mse]", "[mss]")) == [
        "13:49  vary[0].except[0]: loss.* finds no 'mss'; did you mean 'mse'?"
    ]
    assert problems_of('vary: [{factor: x, each: "train.betas.*"}]') == [
        "13:26  vary[0].each: nothing in the base is at train.betas.*"
    ]


LEAVE_ONE_OUT = """
vary:
  - factor: changes
    design: leave_one_out
    levels:
      deep: {set: {model.depth: 3}, title: depth 3, why: more context}
      data: {scale: {data.train_size: 2}}
      l1: {swap: {loss.l1: ssim}}
"""


def test_leave_one_out_compares_the_whole_with_all_but_one(plan_of):
    plan = plan_of(LEAVE_ONE_OUT)
    assert plan.reference == "all"
    assert variants(plan) == {
        "all": {},
        "no_deep": {"model.depth": 2},
        "no_data": {"data.train_size": 64},
        "no_l1": {"loss.ssim": None, "loss.l1": 0.5},
    }
    whole = plan.trial("all", 0).spec
    assert (whole["model"]["depth"], whole["data"]["train_size"], whole["loss"]["ssim"]["weight"]) == (
        3,
        128,
        0.5,
    )
    assert plan.variant("no_deep").title == "without depth 3"
    assert plan.variant("no_deep").why == "more context"


def test_other_factors_stand_on_the_whole_of_a_leave_one_out(plan_of):
    plan = plan_of(LEAVE_ONE_OUT + "  - {factor: skips, levels: {off: {set: {model.skips: false}}}}\n")
    assert list(variants(plan)) == ["all", "no_deep", "no_data", "no_l1", "off"]
    assert plan.trial("off", 0).spec["model"]["depth"] == 3
    assert plan.variant("off").levels == {"changes": "all", "skips": "off"}


def test_factorial_is_the_product_and_control_levels_do_not_show_in_names(plan_of):
    plan = plan_of(
        """
vary:
  - group: capacity
    factors:
      - {factor: depth, levels: {shallow: {}, deep: {set: {model.depth: 3}}}}
      - {factor: lr, path: optimizer.lr, values: [0.002, 0.02, 0.2]}
"""
    )
    assert variants(plan) == {
        "shallow": {},
        "lr_0.02": {"optimizer.lr": 0.02},
        "lr_0.2": {"optimizer.lr": 0.2},
        "deep": {"model.depth": 3},
        "deep,lr_0.02": {"model.depth": 3, "optimizer.lr": 0.02},
        "deep,lr_0.2": {"model.depth": 3, "optimizer.lr": 0.2},
    }
    assert plan.variant("shallow").title == "shallow · lr 0.002"
    assert plan.variant("deep,lr_0.2").levels == {"depth": "deep", "lr": "lr_0.2"}
    assert plan.variant("deep,lr_0.2").title == "deep · lr 0.2"


def test_a_whole_suite_can_be_crossed(plan_of):
    plan = plan_of(
        """
design: factorial
vary:
  - {factor: depth, path: model.depth, values: [2, 3]}
  - {use: skips}
  - {factor: norm, path: model.norm, values: [batch, none]}
"""
    )
    assert len(plan.variants) == 8
    assert [v.name for v in plan.variants][:3] == ["depth_2", "norm_none", "no_skips"]


def test_a_factorial_factor_switches_its_levels_on_and_off(plan_of):
    plan = plan_of(
        """
vary:
  - factor: parts
    design: factorial
    levels: {ssim: {add: {loss.ssim: 0.1}}, deep: {set: {model.depth: 3}}}
"""
    )
    assert variants(plan) == {
        "none": {},
        "deep": {"model.depth": 3},
        "ssim": {"loss.ssim": 0.1},
        "ssim+deep": {"loss.ssim": 0.1, "model.depth": 3},
    }
    assert plan.variant("deep").levels == {"parts.ssim": "off", "parts.deep": "on"}


FIVE = """
vary:
  - factor: parts
    design: factorial
    resolution: RES
    levels:
      a: {set: {model.depth: 3}}
      b: {add: {loss.ssim: 0.1}}
      c: {set: {model.skips: false}}
      d: {drop: [loss.l1]}
      e: {set: {train.clip_norm: 2}}
"""


@pytest.mark.parametrize(("resolution", "runs", "words"), [(3, 8, 2), (5, 16, 1)])
def test_a_fraction_keeps_its_resolution_and_tells_its_aliases(plan_of, resolution, runs, words):
    """2^(5-2) of resolution III and 2^(5-1) of V: Box, Hunter and Hunter, Statistics for Experimenters."""
    plan = plan_of(FIVE.replace("RES", str(resolution)))
    assert len(plan.variants) == runs
    assert plan.reference == "none"
    on = {v.name: [int(v.levels[f"parts.{part}"] == "on") * 2 - 1 for part in "abcde"] for v in plan.variants}
    rows = list(on.values())
    for one in range(5):
        assert sum(row[one] for row in rows) == 0  # balanced
        for other in range(one):
            assert sum(row[one] * row[other] for row in rows) == 0  # orthogonal
    assert plan.notes[0].startswith(
        f"parts: {runs} of 32 combinations, resolution {'III' if resolution == 3 else 'V'} or better; aliased: "
    )
    aliases = plan.notes[0].partition("aliased: ")[2]
    if resolution == 5:
        assert aliases == "no effects of one or two factors"
    else:
        chains = [chain.split(" = ") for chain in aliases.split("; ")]
        for chain in chains:  # what is said to be alike is alike, up to sign, in the rows themselves
            columns = []
            for effect in chain:
                column = [1] * runs
                for part in effect.split(" x "):
                    column = [c * row["abcde".index(part)] for c, row in zip(column, rows, strict=True)]
                columns.append(column)
            for column in columns[1:]:
                assert column in (columns[0], [-c for c in columns[0]])


def test_a_resolution_that_no_design_has_is_told(problems_of):
    text = FIVE.replace("RES", "7")
    assert "no fraction of 5 factors has resolution 7" not in "".join(
        problems_of(text.replace("e: {set", "e: {sett"))
    )
    three = text.replace("design: factorial", "design: cumulative")
    assert problems_of(three)[0].endswith("`resolution` is for the design factorial")
    grid = """
vary:
  - group: grid
    resolution: 3
    factors:
      - {factor: lr, path: optimizer.lr, values: [0.002, 0.02, 0.2]}
      - {use: skips}
"""
    assert problems_of(grid) == ["15:5  vary[0]: a fraction needs two levels of every factor, lr has 3"]


def test_paired_factors_go_together_step_by_step(plan_of, problems_of):
    text = """
vary:
  - group: scaling
    design: paired
    factors:
      - {factor: width, path: model.widths, values: [[8, 16], [16, 32], [32, 64]]}
      - {factor: lr, path: optimizer.lr, values: [0.002, 0.001, 0.0005]}
"""
    assert variants(plan_of(text)) == {
        "widths_8-16": {},
        "widths_16-32,lr_0.001": {"model.widths": [16, 32], "optimizer.lr": 0.001},
        "widths_32-64,lr_0.0005": {"model.widths": [32, 64], "optimizer.lr": 0.0005},
    }
    assert problems_of(text.replace(", 0.0005", "")) == [
        "16:13  vary[0].design: paired factors need equally many levels: width has 3, lr has 2"
    ]


def test_a_list_names_its_variants_and_adds_none(plan_of):
    plan = plan_of(
        """
vary:
  - factor: models
    design: list
    levels:
      small: {set: {model.widths: [4, 8]}}
      deeper: {from: small, set: {model.depth: 3}, title: small and deep}
      plain: {from: deeper, set: {model.skips: false}}
"""
    )
    assert plan.reference == "small"
    assert plan.trial("plain", 0).spec["model"]["widths"] == [4, 8]
    assert plan.trial("plain", 0).spec["model"]["depth"] == 3
    assert [(v.name, v.previous) for v in plan.variants] == [
        ("small", None),
        ("deeper", "small"),
        ("plain", "deeper"),
    ]


def test_a_group_can_list_its_combinations(plan_of, problems_of):
    text = """
vary:
  - group: models
    design: list
    variants:
      first: {depth: depth_2}
      second: {depth: depth_3, skips: no_skips}
    factors:
      - {factor: depth, path: model.depth, values: [2, 3]}
      - {use: skips}
"""
    plan = plan_of(text)
    assert variants(plan) == {"first": {}, "second": {"model.depth": 3, "model.skips": False}}
    assert problems_of(text.replace("skips: no_skips", "skip: no_skips").replace("depth_3", "depth_4")) == [
        "19:23  vary[0].variants.second.depth: no level 'depth_4'; did you mean 'depth_3'?",
        "19:32  vary[0].variants.second.skip: no factor 'skip' in the group; did you mean 'skips'?",
    ]


def test_groups_nest_crossed_and_side_by_side(plan_of):
    plan = plan_of(
        """
vary:
  - group: all
    factors:
      - {use: skips}
      - group: either
        design: side_by_side
        factors:
          - {factor: depth, levels: {two: {}, three: {set: {model.depth: 3}}}}
          - {factor: norm, path: model.norm, values: [none]}
  - factor: chain
    design: cumulative
    levels: {wide: {scale: {model.widths: 2}}, long: {scale: {train.epochs: 2}}}
"""
    )
    assert [(v.name, v.previous) for v in plan.variants] == [
        ("skips", None),
        ("three", None),
        ("norm_none", None),
        ("no_skips", None),
        ("no_skips,three", None),
        ("no_skips,norm_none", None),
        ("wide", None),
        ("long", "wide"),
    ]


def test_a_chain_can_be_crossed(plan_of):
    plan = plan_of(
        """
design: factorial
vary:
  - factor: chain
    design: cumulative
    levels: {a: {}, b: {set: {model.depth: 3}}, c: {set: {model.norm: none}}}
  - {use: skips}
"""
    )
    assert [(v.name, v.previous) for v in plan.variants] == [
        ("a", None),
        ("no_skips", None),
        ("b", "a"),
        ("b,no_skips", "no_skips"),
        ("c", "b"),
        ("c,no_skips", "b,no_skips"),
    ]


CONDITIONAL = """
design: factorial
vary:
  - {factor: norm, path: model.norm, values: [batch, group]}
  - {factor: groups, path: model.groups, values: [2, 4], when: {model.norm: group}}
"""


def test_a_level_stands_only_where_its_condition_holds(plan_of, problems_of):
    plan = plan_of(CONDITIONAL)
    assert variants(plan) == {
        "norm_batch": {},  # the condition looks at defaults, too: the base does not name a norm
        "norm_group,groups_2": {"model.norm": "group", "model.groups": 2},
        "norm_group,groups_4": {"model.norm": "group", "model.groups": 4},
    }
    assert plan.notes == (
        "groups=groups_2 applies only with model.norm = group, and stands nowhere else",
        "groups=groups_4 applies only with model.norm = group, and stands nowhere else",
    )
    nowhere = CONDITIONAL.replace("values: [batch, group]", "values: [batch, none]")
    assert problems_of(nowhere) == [
        "17:51  vary[1].values[0]: applies nowhere: it asks for model.norm = group",
    ]


def test_a_condition_takes_a_list_of_values(plan_of):
    plan = plan_of(CONDITIONAL.replace("model.norm: group}", "model.norm: [group, batch]}"))
    assert len(plan.variants) == 4


EXCLUDE = """
design: factorial
vary:
  - {use: skips}
  - {factor: depth, path: model.depth, values: [2, 3, 4]}
exclude:
  - {match: {skips: no_skips, depth: [depth_3, depth_4]}, why: too deep without skips}
"""


def test_excluded_combinations_are_left_out_and_the_plan_says_why(plan_of, problems_of):
    plan = plan_of(EXCLUDE)
    assert [v.name for v in plan.variants] == ["skips", "depth_3", "depth_4", "no_skips"]
    assert plan.notes == ("left out: no_skips,depth_3; no_skips,depth_4: too deep without skips",)
    wrong = EXCLUDE.replace("depth_3, depth_4", "depth_9").replace("skips: no_skips", "skip: no_skips")
    assert problems_of(wrong) == [
        "19:14  exclude[0].match.skip: no factor 'skip'; did you mean 'skips'?",
        "19:37  exclude[0].match.depth: no level 'depth_9'; did you mean 'depth_4'?",
    ]
    assert problems_of(EXCLUDE.replace("skips: no_skips", "skips: skips").replace("depth_3, ", "depth_2, "))[
        0
    ].endswith("this leaves out the reference")


def test_the_reference_can_be_chosen_by_name(plan_of, problems_of):
    text = "reference: no_skips\nvary: [{use: skips}, {factor: depth, path: model.depth, values: [3]}]\n"
    plan = plan_of(text)
    assert [v.name for v in plan.variants] == ["no_skips", "skips", "depth_3"]
    assert variants(plan)["depth_3"] == {"model.skips": True, "model.depth": 3}
    assert problems_of(text.replace("reference: no_skips", "reference: no_skip")) == [
        "13:12  reference: no variant 'no_skip'; did you mean 'no_skips'?"
    ]


def test_folds_multiply_seeds(plan_of):
    plan = plan_of("folds: 3\nvary: [{use: skips}]\n", seeds=2)
    assert [(t.variants, t.seed, t.fold) for t in plan.trials][:7] == [
        (("skips",), 0, 0),
        (("no_skips",), 0, 0),
        (("skips",), 0, 1),
        (("no_skips",), 0, 1),
        (("skips",), 0, 2),
        (("no_skips",), 0, 2),
        (("skips",), 1, 0),
    ]
    assert plan.trials[2].spec["folds"] == 3
    assert len({trial.id for trial in plan.trials}) == 12


def test_only_chooses_within_crossed_factors(plan_of):
    names = [v.name for v in plan_of(CONDITIONAL, only=["groups=groups_4"]).variants]
    assert names == ["norm_batch", "norm_group,groups_4"]
    both = [v.name for v in plan_of(EXCLUDE, only=["skips=no_skips", "depth=depth_3"]).variants]
    assert both == ["skips", "depth_3", "no_skips"]


def test_skip_broken_leaves_out_what_is_wrong_but_never_the_reference(plan_of, problems_of):
    text = "vary: [{factor: depth, path: model.depth, values: [2, 11, 3]}]\n"
    assert problems_of(text) == [
        "13:55  vary[0] (depth_11): model.depth: should be less than or equal to 10, got 11"
    ]
    plan = plan_of(text, skip_broken=True)
    assert [v.name for v in plan.variants] == ["depth_2", "depth_3"]
    assert "depth_11 is left out" in plan.notes[0]
    assert "less than or equal to 10" in plan.notes[0]


def test_a_crossed_each_includes_the_whole(plan_of):
    plan = plan_of(
        """
vary:
  - group: both
    factors:
      - {factor: terms, design: leave_one_out, each: "loss.*", except: [mse]}
      - {use: skips}
"""
    )
    assert [v.name for v in plan.variants] == [
        "all",
        "no_skips",
        "no_l1",
        "no_l1,no_skips",
        "no_lab_l1",
        "no_lab_l1,no_skips",
    ]


def test_what_a_reader_could_miss_is_noted(plan_of):
    idle = plan_of("vary: [{use: skips}, {factor: width, path: model.widths, scale: [1.01]}]\n")
    assert idle.notes == ("width: its levels change nothing, so it adds no variant",)
    group = plan_of(
        "vary: [{group: g, factors: [{factor: w, path: model.widths, scale: [0.5, 2]}, {use: skips}]}]\n"
    )
    assert group.reference == "widths_x0.5"
    assert group.notes == ("no variant is the base; all are compared with widths_x0.5",)


def test_joined_levels_have_joined_titles(plan_of):
    plan = plan_of('vary: [{factor: terms, design: factorial, each: "loss.*", except: [mse]}]\n')
    assert plan.variant("no_l1+no_lab_l1").title == "without l1 + without lab_l1"


LISTED = """
design: factorial
vary:
  - group: models
    design: list
    variants: {first: {depth: depth_2}, second: {depth: depth_3, norm: norm_none}}
    factors:
      - {factor: depth, path: model.depth, values: [2, 3]}
      - {factor: norm, path: model.norm, values: [batch, none]}
  - {use: skips}
"""


def test_a_crossed_list_is_named_after_its_variants(plan_of):
    plan = plan_of(LISTED)
    assert variants(plan) == {
        "first": {},
        "no_skips": {"model.skips": False},
        "second": {"model.depth": 3, "model.norm": "none"},
        "second,no_skips": {"model.skips": False, "model.depth": 3, "model.norm": "none"},
    }


def test_a_list_does_not_pick_from_combinations(problems_of):
    text = """
vary:
  - group: outer
    design: list
    variants: {one: {depth: depth_2}}
    factors:
      - group: inner
        factors: [{factor: depth, path: model.depth, values: [2, 3]}, {use: skips}]
"""
    assert problems_of(text) == [
        "15:5  vary[0]: `variants` picks levels of factors; inner has combinations of levels"
    ]


def test_each_factor_whose_condition_holds_nowhere_is_named(problems_of):
    text = """
vary:
  - {factor: groups, path: model.groups, values: [2, 4], when: {model.norm: group}}
  - {factor: width, path: model.widths, scale: [2], when: {model.norm: group}}
"""
    assert [line.partition(":  ")[0].partition("  ")[2] for line in problems_of(text)] == [
        "vary[0].values[0]: applies nowhere: it asks for model.norm = group",
        "vary[1].scale[0]: applies nowhere: it asks for model.norm = group",
    ]

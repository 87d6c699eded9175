"""What a suite may claim: every form is read and told apart, every mistake is one clear line."""

import pytest

from harness.errors import SuiteError
from harness.expectation import FORMS, Difference
from harness.plan import Plan
from harness.planning.build import plan_suite
from harness.planning.claims import variants_of
from harness.testing.tiny import TINY

CLAIM = "{metric: delta_e, of: lab, versus: l1, direction: better}"
FORM_OF = {
    CLAIM: "difference",
    "{metric: [delta_e, psnr], of: lab, versus: l1, direction: better, label: [colour=red]}": "difference",
    "{metric: delta_e, of: lab, at_least: 3}": "bounds",
    "{metric: parameters, of: lab, at_most: 1e9}": "bounds",
    "{metric: delta_e, of: lab, reported: 9, tolerance: 5%}": "reported",
    "{metric: parameters, of: lab, reported: 1234}": "reported",
    "{metric: delta_e, ranked: [lab, l1, mse], by: 0.5}": "ranked",
    "{metric: delta_e, best: lab}": "best",
    "{metric: delta_e, largest_gain: lab}": "largest_gain",
    "{metric: delta_e, interaction: [l1, lab], together: mse, neither: lab0, direction: better}": "interaction",
    "{metric: delta_e, of: lab, curve: plateaued, by_epoch: 2}": "curve",
    "{cost: train_seconds, of: lab, versus: mse, direction: more, by: 1.3}": "cost",
    "{correlate: [psnr, lpips], of: lab, over: images, at_least: 0.6}": "correlation",
    "{correlate: [psnr, ssim], over: variants, at_most: 0.9}": "correlation",
}
SUITE = TINY.replace(
    "      lab: {set: {loss.lab_l1: 0.3}}\n",
    "      lab: {set: {loss.lab_l1: 0.3}}\n      lab0: {set: {loss.ssim: 0.1}}\n",
)


def plan_of(write_suite, expect, *, text=SUITE, only=(), **options):
    assert CLAIM in text
    return plan_suite(write_suite(text.replace(CLAIM, expect)), only=only, **options).plan


def mistakes(write_suite, expect, text=SUITE):
    with pytest.raises(SuiteError) as caught:
        plan_of(write_suite, expect, text=text)
    return [str(problem).partition("claims[0].expect")[2] for problem in caught.value.problems]


@pytest.mark.parametrize(("expect", "form"), FORM_OF.items())
def test_a_form_is_told_by_its_key_and_survives_the_store(write_suite, expect, form):
    plan = plan_of(write_suite, expect)
    assert type(plan.claims[0].expect) is FORMS[form][1]
    assert Plan.model_validate_json(plan.model_dump_json()).claims == plan.claims


def test_every_form_is_tried_here():
    assert set(FORM_OF.values()) == set(FORMS)


def test_a_plan_of_an_older_store_is_read(write_suite):
    """Its comparisons had these keys, and no form but this one."""
    older = {"metric": "delta_e", "of": "lab", "versus": "l1", "direction": "better"}
    older |= {"by": 0.5, "margin": None, "label": None}
    plan = plan_of(write_suite, CLAIM).model_dump(mode="json")
    plan["claims"][0]["expect"] = older
    assert Plan.model_validate(plan, strict=False).claims[0].expect == Difference(
        metric="delta_e", of="lab", versus="l1", direction="better", by=0.5
    )


@pytest.mark.parametrize(
    ("expect", "expected"),
    [
        ("3", ": expected one of the keys versus, at_least, at_most, reported, ranked, "),
        (
            "{metric: delta_e, of: lab}",
            ": expected one of the keys versus, at_least, at_most, reported, ranked, ",
        ),
        ("{metric: delta_e, of: lab, at_lest: 3}", ".at_lest: no such setting; did you mean 'at_least'?"),
        (
            "{metric: delta_e, of: lab, verses: mse, direction: better}",
            ".verses: no such setting; did you mean",
        ),
        ("{metric: 3, of: lab, at_least: 3}", ".metric: expected a text or a list, got 3"),
        ("{metric: deltae, of: lab, at_least: 3}", ".metric: no metric 'deltae'; did you mean 'delta_e'?"),
        ("{metric: [psnr, deltae], of: lab, at_least: 3}", ".metric[1]: no metric 'deltae'; did you mean"),
        ("{metric: [psnr, psnr], of: lab, at_least: 3}", ".metric: 'psnr' stands here twice; once at most"),
        (
            "{metric: paramters, of: lab, at_least: 3}",
            ".metric: no metric 'paramters'; did you mean 'parameters'?",
        ),
        (
            "{metric: [parameters, psnr], of: lab, at_least: 3}",
            ".metric[0]: 'parameters' is a cost: it stands alone",
        ),
        (
            "{metric: parameters, of: lab, versus: l1, direction: worse}",
            ".metric: no metric 'parameters'; costs are",
        ),
        ("{metric: delta_e, of: lab, at_least: 3, at_most: 2}", ": `at_least` 3 is not below `at_most` 2"),
        ("{metric: delta_e, of: lab, reported: 3}", ": 'reported' needs a tolerance for delta_e, such as"),
        (
            "{metric: delta_e, of: lab, reported: 3, tolerance: much}",
            ".tolerance: string should match pattern",
        ),
        (
            "{metric: delta_e, of: lab, reported: 3, tolerance: true}",
            ".tolerance: expected a number or a text",
        ),
        ("{metric: delta_e, of: lab, reported: 0, tolerance: 5%}", ": 5% of 0 is no tolerance; give it in"),
        ("{metric: delta_e, ranked: [lab, l2]}", ".ranked[1]: no variant 'l2'; known are l1, lab"),
        ("{metric: delta_e, ranked: [lab, lab]}", ".ranked: 'lab' stands here twice; once at most"),
        ("{metric: delta_e, best: lap}", ".best: no variant 'lap'; did you mean 'lab'?"),
        ("{metric: delta_e, best: lab, among: [lab]}", ".among[0]: 'lab' stands here twice; once at most"),
        ("{metric: delta_e, largest_gain: mse}", ".largest_gain: 'mse' has no step before it; known are"),
        ("{metric: delta_e, largest_gain: lab, among: [mse]}", ".among[0]: 'mse' has no step before it"),
        (
            "{metric: delta_e, interaction: [l1, mse], together: lab, direction: better}",
            ": 'mse' is the reference, which stands for `neither` unless that is given",
        ),
        (
            "{metric: delta_e, interaction: [l1, lab], together: lab0, direction: equivalent}",
            ": 'equivalent' needs a margin: here, or for delta_e under `margins`",
        ),
        (
            "{metric: delta_e, of: lab, curve: plateaud}",
            ".curve: expected 'plateaued', 'improving' or 'worsening'",
        ),
        (
            "{metric: delta_e, of: lab, curve: plateaued, by_epoch: 3}",
            ".by_epoch: expected an epoch before the last, 'lab' has 3, got 3",
        ),
        ("{cost: train_second, of: lab, versus: mse, direction: more}", "did you mean 'train_seconds'?"),
        (
            "{cost: parameters, of: lab, versus: lab, direction: more}",
            ".versus: 'lab' is compared with itself",
        ),
        (
            "{cost: parameters, of: lab, versus: mse, direction: better}",
            ".direction: expected 'more' or 'less'",
        ),
        (
            "{cost: parameters, of: lab, versus: mse, direction: more, by: 0.5}",
            ".by: should be greater than or",
        ),
        (
            "{metric: delta_e, best: lab, label: [colour=red, colour=redd]}",
            ".label[1]: the data has no label 'colour=redd'; did you mean 'colour=red'?",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_the_way_out(write_suite, expect, expected):
    (line,) = mistakes(write_suite, expect)
    assert expected in line


def test_the_only_step_of_a_chain_is_no_largest_gain(write_suite):
    text = SUITE.replace("      lab: {set: {loss.lab_l1: 0.3}}\n      lab0: {set: {loss.ssim: 0.1}}\n", "")
    found = mistakes(write_suite, "{metric: delta_e, largest_gain: l1}", text=text)
    assert found == [".largest_gain: 'l1' is the only step of its chain"]


def test_a_claim_asks_for_a_bounded_number_of_comparisons(write_suite):
    levels = "".join(f"      e{i}: {{set: {{train.epochs: {i + 3}}}}}\n" for i in range(600))
    text = SUITE.replace("      mse: {}\n", f"      mse: {{}}\n{levels}").replace(
        "cumulative", "one_at_a_time"
    )
    found = mistakes(write_suite, "{metric: [delta_e, psnr], best: mse}", text=text)
    assert found == [": expected 1000 comparisons at most, this asks for about 1208"]


@pytest.mark.parametrize(
    ("expect", "about"),
    [
        ("{metric: delta_e, best: l1}", {"mse", "l1", "lab", "lab0"}),
        ("{metric: delta_e, best: l1, among: [mse]}", {"mse", "l1"}),
        ("{metric: delta_e, ranked: [lab, mse]}", {"mse", "lab"}),
        ("{metric: delta_e, largest_gain: lab, among: [l1]}", {"mse", "l1", "lab"}),
        ("{metric: delta_e, largest_gain: l1, among: [lab0]}", {"mse", "l1", "lab", "lab0"}),
        ("{metric: delta_e, interaction: [l1, lab], together: lab0, direction: better}", {"mse", "l1", "lab", "lab0"}),
        ("{metric: delta_e, interaction: [l1, mse], neither: lab, together: lab0, direction: better}",
         {"mse", "l1", "lab", "lab0"}),
        ("{metric: delta_e, of: lab, at_most: 3}", {"lab"}),
    ],
)  # fmt: skip
def test_a_claim_speaks_of_the_variants_that_its_numbers_are_made_of(write_suite, expect, about):
    plan = plan_of(write_suite, expect)
    assert set(variants_of(plan.claims[0].expect, plan.variants, plan.reference)) == about


@pytest.mark.parametrize(
    ("expect", "kept"),
    [
        ("{metric: delta_e, best: l1}", False),
        ("{metric: delta_e, best: l1, among: [mse]}", True),
        ("{metric: delta_e, largest_gain: l1}", False),
        ("{metric: delta_e, of: l1, at_least: 3}", True),
        ("{metric: delta_e, of: lab, at_least: 3}", False),
    ],
)
def test_only_drops_claims_about_variants_that_it_leaves_out(write_suite, expect, kept):
    plan = plan_of(write_suite, expect, only=["loss_terms=l1"])
    assert len(plan.claims) == kept
    assert plan.notes == (() if kept else ("1 of 1 claims name variants that --only left out",))

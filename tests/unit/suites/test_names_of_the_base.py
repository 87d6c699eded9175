"""The base has one name of its own; a suite may call it after every level that changes nothing."""

import pytest

from harness.errors import SuiteError
from harness.planning.build import plan_suite

SUITE = """
suite: names
task: colorization
primary_metric: delta_e
base:
  data: {name: polygons, size: 32, train_size: 64, validation_size: 24}
  model: {name: conditional_unet, widths: [4, 8], site: bottleneck}
  loss: {mse: 1.0}
  optimizer: {name: adamw}
  train: {epochs: 1, batch_size: 8}
vary:
  - factor: loss
    levels: {mse: {}, l1: {swap: {loss.mse: l1}}}
  - factor: site
    levels: {bottleneck: {set: {model.site: bottleneck}}, film: {set: {model.site: film}}}
seeds: 2
claims:
  - {id: c, says: it is so, expect: EXPECT}
"""


@pytest.mark.parametrize(
    ("expect", "key", "named"),
    [
        ("{metric: delta_e, of: film, versus: bottleneck, direction: better}", "versus", "mse"),
        ("{metric: delta_e, ranked: [film, bottleneck]}", "ranked", ("film", "mse")),
        ("{metric: delta_e, best: bottleneck, among: [film, l1]}", "best", "mse"),
    ],
)
def test_a_claim_calls_the_base_after_any_of_its_levels(write_suite, expect, key, named):
    plan = plan_suite(write_suite(SUITE.replace("EXPECT", expect))).plan
    assert [variant.name for variant in plan.variants] == ["mse", "l1", "film"]
    assert getattr(plan.claims[0].expect, key) == named


def test_the_reference_of_a_suite_may_be_called_so_too(write_suite):
    expect = "{metric: delta_e, of: film, versus: bottleneck, direction: better}"
    text = SUITE.replace("EXPECT", expect) + "reference: bottleneck\n"
    assert plan_suite(write_suite(text)).plan.reference == "mse"


def test_two_names_of_the_base_are_one_variant(write_suite):
    expect = "{metric: delta_e, of: mse, versus: bottleneck, direction: better}"
    with pytest.raises(SuiteError, match=r"versus: 'mse'"):
        plan_suite(write_suite(SUITE.replace("EXPECT", expect)))


def test_a_level_that_changes_nothing_only_beside_another_is_no_name_of_the_base(write_suite):
    """In a crossed design `bottleneck` is one half of several combinations."""
    expect = "{metric: delta_e, of: film, versus: bottleneck, direction: better}"
    text = SUITE.replace("EXPECT", expect).replace("seeds: 2", "seeds: 2\ndesign: factorial")
    with pytest.raises(SuiteError, match="no variant 'bottleneck'"):
        plan_suite(write_suite(text))

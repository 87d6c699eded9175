"""What holds for every suite: of the ways to write one, of designs, overrides, patches and identities."""

import copy
import itertools
from math import prod
from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from written_suites import AXES, LOSSES, Writer, axes, suite, suites, written

from harness.ablate import Patch, PatchError, apply_patch
from harness.plan import Plan
from harness.planning.build import plan_suite

TRIES = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,  # the same tries everywhere
    suppress_health_check=[HealthCheck.too_slow],
)
RANDOMS = st.integers(0, 2**32).map(Random)


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Return a function that writes a suite, in some spelling, and plans it."""
    path = tmp_path_factory.mktemp("properties") / "made.yaml"

    def plan(value, random=None, **options):
        path.write_text(written(value, random or Random(0)), encoding="utf-8")
        return plan_suite(path, **options).plan

    return plan


def values_of(plan, variant):
    """Return the value that a variant has on every axis, as its first trial says."""
    spec = plan.trial(variant, plan.seeds[0]).spec
    return {path: spec[path.split(".")[0]][path.split(".")[1]] for path in AXES}


def changed(plan, variant):
    """Return path -> value where a variant is not at an axis's first value."""
    return {path: value for path, value in values_of(plan, variant).items() if value != AXES[path][0]}


# ---- ways to write, identity


@TRIES
@given(suites(), RANDOMS, RANDOMS)
def test_a_plan_does_not_depend_on_how_its_suite_is_written(planned, value, one, other):
    assert planned(value, one) == planned(value, other)


@TRIES
@given(suites(), RANDOMS)
def test_the_writer_of_these_tests_writes_what_it_is_given(value, random):
    text = Writer(random).text(value)
    assert YAML(typ="safe", pure=True).load(text) == value


@TRIES
@given(suites())
def test_names_and_ids_are_distinct_and_every_variant_has_all_its_trials(planned, value):
    plan = planned(value)
    assert planned(value) == plan
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    names = [variant.name for variant in plan.variants]
    assert len(set(names)) == len(names)
    assert len({trial.id for trial in plan.trials}) == len(plan.trials)
    for name in names:
        of = [(trial.seed, trial.fold) for trial in plan.trials if name in trial.variants]
        folds = range(value["folds"]) if "folds" in value else [None]
        assert of == list(itertools.product(range(value["seeds"]), folds))


@TRIES
@given(suites(), st.integers(1, 4), st.integers(1, 4))
def test_more_seeds_keep_the_trials_of_fewer(planned, value, few, more):
    fewer, all_ = (planned(value, seeds=seeds).trials for seeds in sorted((few, more)))
    assert all_[: len(fewer)] == fewer


@TRIES
@given(axes(1, 3), st.data())
def test_equal_configurations_are_one_trial_whatever_their_names(planned, paths, data):
    level = {"set": {path: data.draw(st.sampled_from(AXES[path][1:])) for path in paths}}
    factors = [{"factor": f"f{i}", "levels": {f"a{i}": level, f"b{i}": level}} for i in range(2)]
    plan = planned(suite(factors, seeds=1))
    assert [trial.variants for trial in plan.trials] == [("base",), ("a0", "b0", "a1", "b1")]


# ---- designs


@TRIES
@given(axes(1, 6))
def test_leaving_one_out_of_k_levels_gives_all_and_k_without_one(planned, paths):
    levels = {f"l{i}": {"set": {path: AXES[path][1]}} for i, path in enumerate(paths)}
    plan = planned(suite([{"factor": "f", "design": "leave_one_out", "levels": levels}], seeds=1))
    whole = {path: AXES[path][1] for path in paths}
    assert {variant.name: changed(plan, variant.name) for variant in plan.variants} == {
        "all": whole,
        **{f"no_l{i}": {p: v for p, v in whole.items() if p != path} for i, path in enumerate(paths)},
    }


@TRIES
@given(st.lists(st.sampled_from(LOSSES), min_size=2, unique=True))
def test_leaving_one_out_of_k_terms_gives_all_of_them_and_k_without_one(planned, losses):
    factor = {"factor": "f", "design": "leave_one_out", "each": "loss.*"}
    plan = planned(suite([factor], losses, seeds=1))
    terms = {variant.name: set(plan.trial(variant.name, 0).spec["loss"]) for variant in plan.variants}
    assert terms == {"all": set(losses), **{f"no_{name}": set(losses) - {name} for name in losses}}


@TRIES
@given(axes(1, 6))
def test_a_chain_of_k_levels_has_k_steps_each_after_the_one_before(planned, paths):
    levels = {f"l{i}": {"set": {path: AXES[path][1]}} for i, path in enumerate(paths)}
    plan = planned(suite([{"factor": "f", "design": "cumulative", "levels": levels}], seeds=1))
    steps = [(f"l{i}", f"l{i - 1}" if i else None) for i in range(len(paths))]
    assert [(variant.name, variant.previous) for variant in plan.variants] == [("base", None), *steps]
    for index, (name, _) in enumerate(steps):
        assert changed(plan, name) == {path: AXES[path][1] for path in paths[: index + 1]}


@TRIES
@given(axes(2, 4), st.data())
def test_a_factorial_is_the_product_without_what_is_excluded(planned, paths, data):
    counts = [data.draw(st.integers(2, 3)) for _ in paths]
    factors = [
        {"factor": f"f{i}", "levels": {f"x{i}_{n}": {"set": {path: AXES[path][n]}} for n in range(count)}}
        for i, (path, count) in enumerate(zip(paths, counts, strict=True))
    ]
    left_out = [data.draw(st.integers(1, count - 1)) for count in counts[:2]]
    match = {f"f{i}": f"x{i}_{n}" for i, n in enumerate(left_out)}
    exclude = data.draw(st.booleans())
    more = {"exclude": [{"match": match, "why": "too large"}]} if exclude else {}
    plan = planned(suite([{"group": "g", "factors": factors}], seeds=1, **more))
    points = itertools.product(*map(range, counts))
    expected = [p for p in points if not (exclude and list(p[:2]) == left_out)]
    assert len(expected) == prod(counts) - exclude * prod(counts[2:])
    found = [tuple(AXES[p].index(values_of(plan, v.name)[p]) for p in paths) for v in plan.variants]
    assert sorted(found) == expected


@TRIES
@given(st.integers(3, 7), st.integers(3, 5))
def test_a_fraction_is_a_balanced_orthogonal_power_of_two_of_the_resolution_asked(planned, count, resolution):
    assume(resolution <= count)
    paths = sorted(AXES)[:count]
    levels = {f"l{i}": {"set": {path: AXES[path][1]}} for i, path in enumerate(paths)}
    factor = {"factor": "f", "design": "factorial", "resolution": resolution, "levels": levels}
    plan = planned(suite([factor], seeds=1))
    rows = [[1 if path in changed(plan, v.name) else -1 for path in paths] for v in plan.variants]
    assert len(rows).bit_count() == 1
    assert len(rows) <= 2**count
    assert [-1] * count in rows
    # A word of the defining relation is a product of columns that is constant: none is shorter.
    for size in range(1, resolution):
        for columns in itertools.combinations(range(count), size):
            assert sum(prod(row[column] for column in columns) for row in rows) == 0


@TRIES
@given(axes(1, 5), st.integers(1, 4))
def test_paired_factors_are_zipped(planned, paths, count):
    factors = [
        {"factor": f"f{i}", "path": path, "values": AXES[path][:count]} for i, path in enumerate(paths)
    ]
    plan = planned(suite([{"group": "g", "design": "paired", "factors": factors}], seeds=1))
    found = [tuple(values_of(plan, variant.name)[path] for path in paths) for variant in plan.variants]
    assert found == list(zip(*(AXES[path][:count] for path in paths), strict=True))


@TRIES
@given(st.lists(st.dictionaries(st.sampled_from(sorted(AXES)), st.integers(1, 3)), min_size=1, max_size=5))
def test_a_list_is_exactly_its_variants(planned, chosen):
    assume(len({tuple(sorted(picks.items())) for picks in chosen}) == len(chosen))
    sets = [{path: AXES[path][n] for path, n in picks.items()} for picks in chosen]
    levels = {f"l{i}": {"set": picks} for i, picks in enumerate(sets)}
    plan = planned(suite([{"factor": "f", "design": "list", "levels": levels}], seeds=1))
    assert {variant.name: changed(plan, variant.name) for variant in plan.variants} == {
        f"l{i}": picks for i, picks in enumerate(sets)
    }


# ---- overrides and profiles


def overrides(paths, data):
    return [f"base.{path}={data.draw(st.sampled_from(AXES[path]))}" for path in paths]


@TRIES
@given(suites(), axes(2, 5), st.data(), RANDOMS)
def test_overrides_of_different_paths_commute_and_say_nothing_twice(planned, value, paths, data, random):
    texts = overrides(paths, data)
    shuffled = random.sample(texts + texts, 2 * len(texts))
    assert planned(value, overrides=texts) == planned(value, overrides=shuffled)


@TRIES
@given(suites(), axes(1, 1), st.data())
def test_the_last_override_of_a_path_wins(planned, value, paths, data):
    first, last = overrides(paths * 2, data)
    assert planned(value, overrides=[first, last]) == planned(value, overrides=[last])


@TRIES
@given(suites(), axes(0, 4), st.data())
def test_a_profile_is_the_same_as_its_overrides(planned, value, paths, data):
    profile = {f"base.{path}": data.draw(st.sampled_from(AXES[path])) for path in paths}
    profile["seeds"] = data.draw(st.integers(1, 3))
    given_ = planned(value, overrides=[f"{path}={entry}" for path, entry in profile.items()])
    named = planned({**value, "profiles": {"p": profile}}, profile="p")
    assert named == given_.model_copy(update={"profile": "p"})


# ---- patches

KEYS = st.sampled_from(["a", "b", "c", "d.e"])
NUMBERS = st.one_of(st.integers(1, 100), st.floats(1e-3, 1e3))
TREES = st.recursive(
    NUMBERS | st.sampled_from(["x", "y"]) | st.none(),
    lambda below: st.dictionaries(KEYS, below, max_size=3) | st.lists(below, max_size=3),
    max_leaves=8,
)
CONFIGURATIONS = st.dictionaries(KEYS, TREES, max_size=3)
PATHS = st.lists(st.sampled_from(["a", "b", "c", '"d.e"', "0", "x", "f"]), min_size=1, max_size=3).map(
    ".".join
)


@settings(TRIES, max_examples=300)
@given(
    CONFIGURATIONS,
    st.builds(
        Patch,
        drop=st.lists(PATHS, max_size=1),
        swap=st.dictionaries(PATHS, st.sampled_from(["x", "g"]), max_size=1),
        set=st.dictionaries(PATHS, TREES, max_size=1),
        add=st.dictionaries(PATHS, TREES, max_size=1),
        scale=st.dictionaries(PATHS, st.floats(0.1, 10), max_size=1),
    ),
)
def test_a_patch_leaves_its_configuration_as_it_was(configuration, patch):
    before, operands = copy.deepcopy(configuration), copy.deepcopy(patch)
    try:
        apply_patch(configuration, patch)
    except PatchError as error:
        assert (error.operator, error.path) in list(patch.paths())
    assert configuration == before
    assert patch == operands


@settings(TRIES, max_examples=200)
@given(CONFIGURATIONS, PATHS, TREES)
def test_dropping_what_was_added_gives_back_what_was(configuration, path, value):
    parent, _, key = path.rpartition(".")
    if parent:  # where mappings are made on the way they stay
        configuration = apply_or_reject(configuration, Patch(set={parent: {}}))
    assume(parent or key.strip('"') not in configuration)
    added = apply_or_reject(configuration, Patch(add={path: value}))
    assert added != configuration
    assert apply_patch(added, Patch(drop=[path])) == configuration


def apply_or_reject(configuration, patch):
    try:
        return apply_patch(configuration, patch)
    except PatchError:
        assume(False)


@settings(TRIES, max_examples=100)
@given(
    st.floats(1e-6, 1e6) | st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
)
def test_scaling_twice_is_scaling_by_the_product(value, first, second):
    scaled = apply_patch({"a": {"b": value}}, Patch(scale={"a.b": first}))
    scaled = apply_patch(scaled, Patch(scale={"a.b": second}))
    once = apply_patch({"a": {"b": value}}, Patch(scale={"a.b": first * second}))
    assert scaled["a"]["b"] == pytest.approx(once["a"]["b"], rel=1e-12)

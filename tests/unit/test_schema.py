"""The schema accepts what the harness accepts, and refuses what an editor should mark."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from harness import catalog, manual
from harness.document import parse_document, read_document
from harness.grammar import WrittenSuite
from harness.registry import registry
from harness.schema import header, suite_schema
from harness.testing.tiny import TINY

HARNESS = str(Path(sys.executable).parent / "harness")
TEMPLATE = Path(__file__).parents[2] / "harness" / "template"


@pytest.fixture(scope="module")
def schema():
    return suite_schema()


@pytest.fixture(scope="module")
def validator(schema):
    return Draft202012Validator(schema)


@pytest.fixture
def suite():
    return copy.deepcopy(parse_document(TINY, "tiny").value)


def wrong_at(validator, value):
    return sorted({error.json_path for error in validator.iter_errors(value)})


def test_it_is_a_schema_of_draft_2020_12(schema):
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", catalog.names("suites"))
def test_bundled_suites_are_right(validator, name):
    assert wrong_at(validator, read_document(catalog.find("suites", name)).value) == []


def test_the_suite_of_a_new_project_is_right(validator):
    assert wrong_at(validator, read_document(TEMPLATE / "suites" / "example.yaml").value) == []


def test_the_tiny_suite_is_right(validator, suite):
    assert wrong_at(validator, suite) == []


def change(suite, path, value):
    *parents, last = path.split(".")
    place = suite
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = value


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("sedes", 2, "$"),
        ("seeds", "three", "$.seeds"),
        ("seeds", 0, "$.seeds"),
        ("base.modell", {}, "$.base"),
        ("base.model.name", "conditional_unnet", "$.base.model.name"),
        ("base.model.dept", 3, "$.base.model"),
        ("base.model.depth", "deep", "$.base.model.depth"),
        ("base.model.depth", 0, "$.base.model.depth"),
        ("base.model.norm", "layer", "$.base.model.norm"),
        ("base.data.size", "big", "$.base.data.size"),
        ("base.loss.mssim", 1.0, "$.base.loss"),
        ("base.loss.lpips", "much", "$.base.loss.lpips"),
        ("base.loss.lpips", {"weight": 1.0, "net": "alexa"}, "$.base.loss.lpips.net"),
        ("base.loss.mse", -1, "$.base.loss.mse"),
        ("base.optimizer.learning_rate", 0.1, "$.base.optimizer"),
        ("base.train.epochs", "x", "$.base.train.epochs"),
        ("base.train.clip", 1.0, "$.base.train"),
        ("base.train.augment", ["spin"], "$.base.train.augment[0]"),
        ("base.perceptual_weights", "best", "$.base.perceptual_weights"),
        ("task", "colourisation", "$.task"),
        ("vary", [{"factor": "f", "levles": {}}], "$.vary[0]"),
        ("vary", [{"use": "skips", "wiht": {}}], "$.vary[0]"),
        ("vary", [{"factor": "f", "levels": {"a": {"sett": {}}}}], "$.vary[0]"),
        ("claims", [{"id": "a", "says": "b"}], "$.claims[0]"),
        ("claims.0.expect", {"metric": "delta_e", "of": "lab"}, "$.claims[0].expect"),
        ("claims.0.expect", {"metric": "delta_e", "ranked": ["lab"]}, "$.claims[0].expect.ranked"),
        ("claims.0.expect.by", -1, "$.claims[0].expect.by"),
        ("claims.0.expect", {"cost": "speed", "of": "lab", "versus": "l1"}, "$.claims[0].expect.cost"),
        ("claims.0.expect", {"metric": "psnr", "best": "lab", "curve": "plateaued"}, "$.claims[0].expect"),
        ("resources", {"cpu": 1}, "$.resources"),
    ],
)
def test_a_mistake_is_marked_where_it_is(validator, suite, path, value, where):
    change(suite, path, value)
    assert where in wrong_at(validator, suite)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seeds", [3, 7, 11]),
        ("base.loss.lpips", {"weight": 0.5, "net": "vgg"}),
        ("base.loss", {"l2": 0.5}),
        ("base.loss", {"my_parts:Mine": 1.0}),
        ("base.model", {"name": "my_parts:Net", "anything": [1, 2]}),
        ("base.optimizer", {"name": "adamw", "betas": [0.9, 0.95]}),
        ("base.data.size", [32, 48]),
        ("base.train.augment", ["hflip", {"name": "vflip"}]),
        ("vary", [{"use": "skips"}]),
        ("vary", [{"use": "skips", "levels": {"a": {}}, "design": "cumulative"}]),
        ("vary", [{"group": "g", "factors": [{"use": "skips"}, {"factor": "f", "levels": {"a": {}}}]}]),
        ("vary", [{"factor": "f", "path": "optimizer.lr", "values": [1e-3, 1e-4]}]),
        ("profiles", {"p": {"base.model.depth": 2, "anything": [1]}}),
        ("primary_metric", "my_metric"),
        ("claims.0.expect", {"metric": ["delta_e", "psnr"], "best": "lab", "among": ["l1"], "by": 1}),
        ("claims.0.expect", {"metric": "delta_e", "of": "lab", "at_least": 1, "at_most": 3}),
        ("claims.0.expect", {"metric": "parameters", "of": "lab", "reported": 12, "tolerance": "5%"}),
        ("claims.0.expect", {"metric": "delta_e", "largest_gain": "lab"}),
        ("claims.0.expect", {"correlate": ["psnr", "lpips"], "of": "lab", "at_least": 0.6}),
        ("claims.0.expect", {"correlate": ["psnr", "lpips"], "over": "variants", "at_most": 0.6}),
        ("claims.0.expect", {"metric": "delta_e", "of": "lab", "curve": "improving", "by_epoch": 2}),
        ("claims.0.expect", {"cost": "parameters", "of": "lab", "versus": "l1", "direction": "less"}),
        (
            "claims.0.expect",
            {"metric": "psnr", "interaction": ["l1", "lab"], "together": "mse", "direction": "worse"},
        ),
    ],
)
def test_what_the_harness_may_accept_is_not_marked(validator, suite, path, value):
    change(suite, path, value)
    assert wrong_at(validator, suite) == []


def test_a_suite_that_stands_alone_has_a_whole_base_and_one_that_extends_another_has_not(validator, suite):
    part = {"suite": "deeper", "extends": "tiny", "base": {"model": {"depth": 2}}}
    assert wrong_at(validator, part) == []
    assert wrong_at(validator, {"suite": "deeper", "base": {"model": {"depth": 2}}}) == [
        "$",
        "$.base",
        "$.base.model",
    ]
    del suite["base"]["optimizer"]
    assert wrong_at(validator, suite) == ["$.base"]


def test_every_setting_of_a_suite_and_of_every_component_is_in_it_with_its_meaning(schema):
    assert set(schema["properties"]) == set(WrittenSuite.model_fields)
    assert schema["properties"]["margins"]["description"].startswith("Metric -> largest difference")
    for kind in ("data", "model", "optimizer", "schedule"):
        branches = schema["properties"]["base"]["properties"][kind]["allOf"]
        told = {branch["if"]["properties"]["name"]["const"]: branch["then"]["$ref"] for branch in branches}
        assert sorted(told) == registry.names(kind)
        for name, reference in told.items():
            definition = schema["$defs"][reference.rpartition("/")[2]]
            meanings = {key: part.get("description") for key, part in definition["properties"].items()}
            page = {found.name: found.meaning for found in manual.page(kind, name).settings}
            assert {key: " ".join((meanings[key] or "").split()) for key in page} == page


def test_the_names_of_ablations_are_offered(schema):
    offered = schema["$defs"]["Use"]["properties"]["use"]["anyOf"][0]["enum"]
    assert offered == catalog.names("ablations")


def test_the_command_prints_it_or_writes_it_and_tells_the_line_for_editors(schema, tmp_path):
    printed = subprocess.run([HARNESS, "schema"], capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == schema
    out = tmp_path / "new" / "suite.schema.json"
    wrote = subprocess.run([HARNESS, "schema", "--out", str(out)], capture_output=True, text=True, check=True)
    assert json.loads(out.read_text()) == schema
    assert wrote.stdout.splitlines()[-1] == "# yaml-language-server: $schema=suite.schema.json"
    assert (TEMPLATE / "suites" / "example.yaml").read_text().startswith(header() + "\n")

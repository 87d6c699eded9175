"""The workflows fit the published schema, and the commands in them exist."""

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from harness.cli import app

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_fits_the_published_schema(file):
    vendor = files("check_jsonschema") / "builtin_schemas" / "vendor" / "github-workflows.json"
    jsonschema.validate(YAML(typ="safe").load(file), json.loads(vendor.read_text(encoding="utf-8")))


def test_every_command_of_the_gate_exists_with_its_options():
    text = (FOLDER / "ablation.yml").read_text(encoding="utf-8")
    lines = re.findall(r"\.venv/bin/harness (.*?)(?: \|\| .*)?$", text, flags=re.MULTILINE)
    assert [shlex.split(line)[0] for line in lines] == ["run", "gate", "baseline"]
    for line in lines:
        name, *rest = shlex.split(line)
        command = get_command(app).commands[name]
        if hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= known


def test_the_suite_of_the_gate_has_seeds_enough_to_be_judged():
    text = (FOLDER / "ablation.yml").read_text(encoding="utf-8")
    assert int(re.search(r"--seeds (\d+)", text).group(1)) >= 3

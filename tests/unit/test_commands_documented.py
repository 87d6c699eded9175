"""docs/commands.md names every command and every option, and no other ones."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from harness.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `([a-z -]+)`\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))


def commands(group, prefix=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(get_command(app)))


def test_every_command_has_a_section_and_a_link_and_no_other_has():
    assert set(SECTIONS) == set(COMMANDS)
    for name in COMMANDS:
        assert f"(#{name.replace(' ', '-')})" in PAGE.partition("\n## ")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_explained_and_no_other_is(name):
    options = {
        option
        for parameter in COMMANDS[name].params
        if parameter.param_type_name == "option"
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option != "--help"
    }
    explained = {
        option
        for row in re.findall(r"^\| (`-.*?) \|", SECTIONS[name], flags=re.MULTILINE)
        for option in re.findall(r"`(--?[a-z][a-z-]*)", row)
    }
    assert explained == options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_in_help_what_it_does(name):
    assert COMMANDS[name].help
    assert [
        parameter.name for parameter in COMMANDS[name].params if not getattr(parameter, "help", None)
    ] == []

"""Manifests filled from settings.

Every value that a template prints is quoted: in YAML as JSON, which is YAML, in a shell script as one word
of the shell.  Only what templates themselves write stands bare, so that no value can break out of its place.
"""

from __future__ import annotations

import json
import shlex
import unicodedata
from collections.abc import Callable
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.catalog import search_path
from harness.errors import HarnessError
from harness.launch.settings import Settings


class Verbatim(str):
    """Text that a template made from quoted values: it is printed as it is."""

    __slots__ = ()


def fill(template: str, settings: Settings, **more: Any) -> str:
    """Return a manifest: a template of `cluster/`, the user's project first, filled with settings.

    Args:
        template: the name of its file; the second last suffix says what it is (`.yaml`, `.sh`, `.sbatch`).
        settings: each is a name in the template, as are its properties `address` and `project`.
        more: further names.

    Raises:
        HarnessError: there is no such template, it is wrong, or a value has no place in a shell script.
    """
    quote = yaml_value if template.endswith(".yaml.j2") else shell_value
    names = {name: getattr(settings, name) for name in type(settings).model_fields}
    derived = {name: getattr(settings, name) for name in ("address", "project") if hasattr(settings, name)}
    try:
        return _environment(quote, settings).get_template(template).render({**names, **derived, **more})
    except TemplateNotFound as error:
        raise HarnessError(f"no manifest {error.name} in {_looked_in()}") from error
    except TemplateError as error:
        raise HarnessError(f"the manifest {template} is wrong: {error}") from error


def yaml_value(value: Any) -> str:
    """Return a value as YAML: JSON on one line, which every reader of YAML takes for the same value."""
    return value if isinstance(value, Verbatim) else json.dumps(value)


def shell_value(value: Any) -> str:
    """Return a value as one word of the shell.

    Raises:
        HarnessError: it has control characters: a line break would end a comment or an #SBATCH line.
    """
    if isinstance(value, Verbatim):
        return value
    text = str(value)
    if any(unicodedata.category(sign) == "Cc" for sign in text):
        raise HarnessError(f"a value for a shell script has control characters: {text[:60]!r}")
    return shlex.quote(text)


def shell(pattern: str, *values: Any) -> str:
    """Return a command: each {} of a pattern is replaced by a value as one word of the shell."""
    return pattern.format(*(shell_value(value) for value in values))


def home_path(path: str) -> Verbatim:
    """Return a path as a word of the shell, where `~` is the home folder."""
    return Verbatim(f'"$HOME"{shell_value(path[1:])}' if path.startswith("~") else shell_value(path))


def _token_path(file: str) -> Verbatim:
    return Verbatim(f"export RAY_AUTH_TOKEN_PATH={home_path(file)}")


def _lines(text: str, indent: int) -> Verbatim:
    return Verbatim("\n".join(" " * indent + line for line in str(text).splitlines() if line.strip()))


def _environment(quote: Callable[[Any], str], settings: Settings) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(search_path("cluster")),
        undefined=StrictUndefined,
        autoescape=False,
        finalize=quote,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["lines"] = _lines
    environment.globals["shell"] = shell
    if hasattr(settings, "token_file"):
        environment.globals["token_path"] = lambda: _token_path(settings.token_file)
    return environment


def _looked_in() -> str:
    return " or ".join(str(folder) for folder in search_path("cluster"))

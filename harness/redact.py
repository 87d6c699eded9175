"""Secrets taken out of texts before they are kept or shown.

What counts as a secret: the values of environment variables whose names say so, credentials in
addresses, keys and tokens that are known by their shape, and what is set under a name that says so.
Nothing finds a secret that has neither a name nor a shape: a password in a title stays.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
REFUSED = (
    "this is, or is named as, a secret; settings are kept with every result, so let the plugin read it from "
    "an environment variable"
)
SHORTEST = 6
"""Characters that a value has at least to count: `true`, `token` or `8080` would be found everywhere."""

_WORDS = (
    r"token|secrets?|password|passwd|pwd|passphrase|credentials?|signature"
    r"|(?:api|access|secret|private|account|encryption)[_-]?key(?:[_-]?id)?"
)
SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:AUTH|PAT|PASS|PWD|[A-Z]*(?:KEY|TOKEN|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?))(?:_|\d|$)"
)
NO_SECRET = re.compile(r"(?:_FILE|_FILES|_PATH|_DIR|_SOCK|_MODE|_TYPE|_HOST|_PORT|_NAME)$|^(?:OLD)?PWD$")
"""Variables that say where a secret lies, or how it is used; PWD is a folder."""
SECRET_SETTING = re.compile(
    rf"(?:(?:access|auth|api|bearer|refresh|hub|hf|session|security)[_-]?)?(?:{_WORDS})", re.IGNORECASE
)
"""The whole name of a setting that says that its value is a secret; `class_token` of a model does not."""

# Each is linear in the text: bounded, or begun by a sign that its own repetition excludes.
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/'\"<>]{1,1000}@")
_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"  # ids of AWS keys
    r"|\bgh[pousr]_[A-Za-z0-9]{20,255}|\bgithub_pat_\w{20,255}|\bglpat-[\w-]{16,255}"
    r"|\bhf_[A-Za-z0-9]{20,255}|\bsk-[A-Za-z0-9_-]{20,255}|\bxox[abeprs]-[A-Za-z0-9-]{10,255}"
    r"|\bAIza[\w-]{30,255}|\beyJ[\w-]{8,4000}\.[\w-]{8,4000}\.[\w-]{0,4000}"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-\"]{0,20000}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
)
_CARRIED = re.compile(
    r"(?P<before>\bbearer\s{1,9}|\bauthorization['\"]?\s{0,9}[:=]\s{0,9}['\"]?(?:(?:basic|token|bearer)\s{1,9})?)"
    r"(?!\*\*\*|(?:basic|token|bearer)\s)[\w.~+/=-]{6,4000}",
    re.IGNORECASE,
)
_NAMED = re.compile(
    rf"(?P<before>(?:(?<![A-Za-z0-9])|(?<=[a-z0-9])(?=[A-Z]))(?:{_WORDS})"
    r"(?:=['\"]?|['\"]\s{0,3}:\s{0,3}['\"]))"
    r"(?P<value>[^\s&'\",;)\]}]{6,4000})",
    re.IGNORECASE,
)
"""`x.token=...`, `--password=...`, `&X-Amz-Signature=...`, `"api_key": "..."`."""
_PLAIN = re.compile(r"[+-]?[\d.]{1,7}(?:[eE][+-]?\d{1,3})?|\*+|\$\{?\w+\}?")
"""Short numbers, what is hidden already, and names of shell variables."""


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text with `***` in the place of every secret in it.

    Args:
        text: of any length; the time grows with it.
        environment: variables whose values count; those of this process when none.
    """
    text = _known_out(text, _values_of(os.environ if environment is None else environment))
    text = _IN_ADDRESS.sub(f"{HIDDEN}@", text)
    text = _SHAPES.sub(HIDDEN, text)
    text = _CARRIED.sub(lambda found: f"{found['before']}{HIDDEN}", text)
    return _NAMED.sub(_hide_value, text)


def redact_command(words: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Return a command as one line that a shell reads back, without its secrets.

    Args:
        words: the program and its arguments; `--set a.token=x y` is hidden to its end.
        environment: variables whose values count; those of this process when none.
    """
    return shlex.join(_word(word, environment) for word in words)


def secret_settings(values: Any) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of the texts in nested plain values that hold a secret, or are named as one."""
    found = list(_texts(values, ()))
    together = "\n".join(text for _, text in found)
    held = redact(together) != together  # most often nothing is, and one look is enough
    for path, text in found:
        if _is_named(str(path[-1]), text) or (held and redact(text) != text):
            yield path


def _texts(values: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    below: Iterable[tuple[str | int, Any]] = ()
    if isinstance(values, dict):
        below = values.items()
    elif isinstance(values, (list, tuple)):
        below = enumerate(values)
    for key, value in below:
        if isinstance(value, str):
            yield (*path, key), value
        else:
            yield from _texts(value, (*path, key))


def _is_named(name: str, value: str) -> bool:
    """Tell whether the last part of a name says that the value is a secret, and the value looks like one."""
    last = name.rpartition(".")[2]
    return bool(SECRET_SETTING.fullmatch(last)) and len(value) >= SHORTEST and not _PLAIN.fullmatch(value)


def _word(word: str, environment: Mapping[str, str] | None) -> str:
    name, sign, value = word.partition("=")
    last = re.split(r"[.\s\"']", name.lstrip("-"))[-1]
    if sign and SECRET_SETTING.fullmatch(last) and value and not _PLAIN.fullmatch(value):
        return f"{name}={HIDDEN}"
    return redact(word, environment)


def _hide_value(found: re.Match[str]) -> str:
    return found[0] if _PLAIN.fullmatch(found["value"]) else f"{found['before']}{HIDDEN}"


def _values_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of variables that are secrets, the longest first."""
    found = {
        value.strip()
        for name, value in environment.items()
        if SECRET_VARIABLE.search(name.upper()) and not NO_SECRET.search(name.upper())
    }
    return tuple(sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True))


def _known_out(text: str, values: tuple[str, ...]) -> str:
    pattern = _pattern(values)
    return pattern.sub(HIDDEN, text) if pattern else text


@lru_cache(maxsize=8)
def _pattern(values: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return what finds the values, as they are and as addresses, JSON, Python and headers write them."""
    forms = {form for value in values for form in _forms(value)}
    if not forms:
        return None
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=lambda one: (-len(one), one))))


def _forms(value: str) -> Iterator[str]:
    yield value
    yield from (line for line in value.splitlines() if len(line.strip()) >= 16)
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield repr(value)[1:-1]
    yield base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()

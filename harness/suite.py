"""Loading a suite: composed from its files, with a profile and overrides, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import catalog
from harness.canonical import content_hash
from harness.compose import compose
from harness.document import Document, Path_, dotted, parse_value, shown, split_path
from harness.errors import HarnessError, Position, Problem, SuiteError, did_you_mean
from harness.grammar import Group, Suite, entries
from harness.redact import REFUSED, redact, secret_settings
from harness.validation import Mistake, Mistakes, check

NAMING_VARIANTS: dict[str, Any] = {"claims": (), "exclude": (), "reference": None}
"""Settings that name variants or levels, left empty: for a suite whose `vary` is not right."""
PLACEHOLDERS: dict[str, Any] = {"suite": "unnamed", "primary_metric": "", "base": {}}
"""What stands in for required settings that are missing, while the rest is looked through."""


@dataclass(frozen=True)
class LoadedSuite:
    """A suite, and the document that tells where each of its settings was written."""

    suite: Suite
    document: Document
    profile: str | None

    @property
    def suite_hash(self) -> str:
        """Content hash of the suite as merged with its profile and the overrides, its trackers apart."""
        return content_hash(self.suite.model_dump(mode="json", exclude={"profiles", "trackers"}))

    def problems(self, mistakes: Sequence[Mistake]) -> list[Problem]:
        """Return mistakes with the places where their paths were written."""
        return _located(self.document, mistakes)


def load_suite(
    path: Path | str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    trackers: Sequence[str] = (),
) -> LoadedSuite:
    """Read a suite file, apply a profile and then overrides, and check the whole.

    Args:
        path: a file, or the name of a suite of the project or of the bundled ones.
        profile: name of one of the suite's profiles; none for the suite as written.
        overrides: texts such as "base.train.epochs=2"; the value is YAML.
        seeds: number of seeds, in place of the suite's.
        trackers: names of trackers, beside those of the suite.

    Raises:
        SuiteError: everything that is wrong, with file, line and column.
        HarnessError: there is no such file.
    """
    composed = compose(catalog.find_suite(str(path)))
    document, mistakes = composed.document, composed.mistakes
    mistakes = [*mistakes, *_apply_profile(document, profile)]
    problems = _located(document, mistakes)
    for text in overrides:
        problems += _apply_override(document, text)
    if seeds is not None:
        document.set(("seeds",), seeds, Position(f"--seeds {seeds}"))
    for name in trackers:
        _add_tracker(document, name)
    problems += document.problems
    problems += _located(document, [Mistake(place, REFUSED) for place in secret_settings(document.value)])
    try:
        suite: Suite | None = check(Suite, document.value)
    except Mistakes as found:
        problems += _located(document, found.mistakes)
        suite = _without(document, found.mistakes)
    if suite is not None:
        problems += _located(document, _taken_names(suite))
        if any(mistake.path[:1] == ("vary",) for mistake in mistakes):
            suite = suite.model_copy(update=NAMING_VARIANTS)  # the variants are not known now
    loaded = None if suite is None else LoadedSuite(suite, document, profile)
    if problems or loaded is None:
        raise SuiteError(problems, rest=loaded)
    return loaded


def _without(document: Document, mistakes: Sequence[Mistake]) -> Suite | None:
    """Return the suite without its wrong top-level settings, to look for further mistakes in the rest."""
    wrong = {mistake.path[0] for mistake in mistakes if mistake.path}
    if "vary" in wrong:
        wrong |= set(NAMING_VARIANTS)
    rest = {key: value for key, value in document.value.items() if key not in wrong}
    try:
        return check(Suite, {**PLACEHOLDERS, **rest})
    except Mistakes:
        return None


def _taken_names(suite: Suite) -> Iterator[Mistake]:
    """Yield factors, groups and claims that are named like one before them."""
    named: list[tuple[Path_, str]] = [
        ((*place, "group"), entry.group) if isinstance(entry, Group) else ((*place, "factor"), entry.factor)
        for place, entry in entries(suite)
    ]
    claims: list[tuple[Path_, str]] = [
        (("claims", index, "id"), claim.id) for index, claim in enumerate(suite.claims)
    ]
    for kind in (named, claims):
        seen: set[str] = set()
        for path, name in kind:
            if name in seen:
                yield Mistake(path, f"the name '{name}' is taken")
            seen.add(name)


def _apply_profile(document: Document, name: str | None) -> list[Mistake]:
    if name is None:
        return []
    profiles = document.value.get("profiles")
    known = profiles if isinstance(profiles, dict) else {}
    if name not in known:
        message = f"no profile '{shown(name)}'{did_you_mean(name, known) or '; the suite has none'}"
        return [Mistake(("profiles",), message, of_key=True)]
    mistakes: list[Mistake] = []
    entries = known[name]
    for path, value in list(entries.items()) if isinstance(entries, dict) else ():
        place = ("profiles", name, path)
        try:
            document.set(split_path(path), value, document.position(place, of_key=True))
        except HarnessError as error:
            mistakes.append(Mistake(place, str(error), of_key=True))
    return mistakes


def _apply_override(document: Document, text: str) -> list[Problem]:
    path, separator, value = text.partition("=")
    position = Position(f"--set {shown(redact(text))}")
    if shown(path) != path:
        return [Problem(position, "", "control characters and halves of surrogate pairs are no path")]
    if not separator or not path:
        return [Problem(position, "", "expected PATH=VALUE, such as base.train.epochs=2")]
    try:
        document.set(split_path(path), parse_value(value), position)
    except SuiteError as error:
        return [Problem(position, path, problem.message) for problem in error.problems]
    except HarnessError as error:
        return [Problem(position, path, str(error))]
    return []


def _add_tracker(document: Document, name: str) -> None:
    """Add a tracker to those of the suite, a list or a mapping; what is neither is told of later."""
    known = document.value.get("trackers", [])
    position = Position(f"--tracker {shown(redact(name))}")
    if isinstance(known, list) and name not in known:
        document.set(("trackers",), [*known, name], position)
    elif isinstance(known, dict) and name not in known:
        document.set(("trackers", name), {}, position)


def _located(document: Document, mistakes: Iterable[Mistake]) -> list[Problem]:
    return [
        Problem(document.position(mistake.path, of_key=mistake.of_key), dotted(mistake.path), mistake.message)
        for mistake in mistakes
    ]

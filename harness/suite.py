"""The suite: what a user writes, merged with a profile and overrides, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness import catalog
from harness.canonical import content_hash
from harness.config import Frozen
from harness.document import Document, Path_, dotted, parse_value, read_document, split_path
from harness.errors import HarnessError, Position, Problem, SuiteError, did_you_mean
from harness.validation import Mistake, Mistakes, check

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"  # becomes part of file names and of command lines


class Expectation(Frozen):
    """What a claim says in numbers."""

    metric: str
    """Name of a metric, or of its random-feature stand-in (`lpips` finds `lpips_rand`)."""
    of: str
    """The variant that the claim is about."""
    versus: str
    """The variant it is compared with."""
    direction: Literal["better", "worse", "equivalent"]
    by: float = Field(default=0.0, ge=0)
    """Least difference, in the metric's unit, for `better` and `worse`."""
    margin: float | None = Field(default=None, gt=0)
    """Largest difference, in the metric's unit, that still counts as `equivalent`."""
    label: str | None = Field(default=None, pattern=r"^[a-z_]+=.+$")
    """A part of the data, such as `colour=red` or `shape=star`; none for the whole."""


class Claim(Frozen):
    """A statement that the suite puts to the test."""

    id: str = Field(pattern=NAME)
    says: str = Field(min_length=1)
    """The claim in words, as a reader would say it."""
    expect: Expectation
    source: str | None = None
    """Where the claim was made first."""


class Level(Frozen):
    """One setting of a factor; an empty one is the control."""

    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted path below `base` -> value."""
    drop: tuple[str, ...] = ()
    """Dotted paths below `base` to remove."""
    title: str | None = None
    """Name for people."""
    why: str | None = None
    """Why this level is tried."""
    reported: dict[str, float] = Field(default_factory=dict)
    """Figures that the source of the study gave, for instance `parameters`."""
    links: dict[str, str] = Field(default_factory=dict)
    """Title -> address of a tracker page or of a published model."""

    @field_validator("links")
    @classmethod
    def _only_web_addresses(cls, links: dict[str, str]) -> dict[str, str]:
        for address in links.values():
            if not re.match(r"https?://\S+$", address):
                raise ValueError(f"'{address}' is not an http or https address")
        return links


class Factor(Frozen):
    """What is varied, how, and its levels; `use` takes one from `ablations/` by name."""

    factor: str = Field(pattern=NAME)
    design: Literal["one_at_a_time", "cumulative"] = "one_at_a_time"
    """`one_at_a_time`: each level on the base; `cumulative`: each on top of the one before."""
    question: str | None = None
    """What the factor is to find out."""
    levels: dict[str, Level] = Field(min_length=1)

    @field_validator("levels")
    @classmethod
    def _levels_have_names(cls, levels: dict[str, Level]) -> dict[str, Level]:
        for name in levels:
            if not re.match(NAME, name):
                raise ValueError(f"'{name}' is no name for a level; use letters, digits and . _ + -")
        return levels


class Resources(Frozen):
    """What one trial occupies while it runs; not part of its identity."""

    cpus: int = Field(default=1, ge=1)
    """CPUs, and threads that it computes with."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs; a fraction shares one (bookkeeping only, memory is not isolated)."""


class ReportOptions(Frozen):
    """What a suite asks of its report."""

    template: str = Field(default="chronicle", pattern=NAME)
    metrics: tuple[str, ...] = ()
    """Metrics of the comparison table, in order; none for all, the primary one first."""


class Suite(Frozen):
    """A base configuration, the factors to vary, seeds, claims and profiles."""

    suite: str = Field(pattern=NAME)
    question: str | None = None
    """Title of the report."""
    description: str = ""
    task: str
    primary_metric: str
    """The metric that orders variants, picks checkpoints and stands first everywhere."""
    base: dict[str, Any]
    """Configuration of the reference: data, model, loss, optimizer, schedule, train."""
    vary: tuple[Factor, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    """A number of seeds (0, 1, ...), or the seeds themselves."""
    margins: dict[str, float] = Field(default_factory=dict)
    """Metric -> largest difference that counts as equivalent, in the metric's unit."""
    claims: tuple[Claim, ...] = ()
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Name -> dotted path from the top of the suite -> value: the same study at another scale."""
    resources: Resources = Resources()
    report: ReportOptions = ReportOptions()

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, seeds: Any) -> Any:
        if isinstance(seeds, int) and not isinstance(seeds, bool):
            return tuple(range(min(seeds, 10_000)))
        return tuple(seeds) if isinstance(seeds, list) else seeds

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError("expected a number of seeds from 1 to 10000, or distinct seeds of 0 and above")
        return seeds

    @model_validator(mode="after")
    def _distinct_names(self) -> Suite:
        for kind, all_names in (
            ("factor", [factor.factor for factor in self.vary]),
            ("claim", [claim.id for claim in self.claims]),
        ):
            for name in all_names:
                if all_names.count(name) > 1:
                    raise ValueError(f"two {kind}s are named '{name}'")
        return self


@dataclass(frozen=True)
class LoadedSuite:
    """A suite, and the document that tells where each of its settings was written."""

    suite: Suite
    document: Document
    profile: str | None

    @property
    def suite_hash(self) -> str:
        """Content hash of the suite as merged with its profile and the overrides."""
        return content_hash(self.suite.model_dump(mode="json", exclude={"profiles"}))

    def problems(self, mistakes: Sequence[Mistake]) -> list[Problem]:
        """Return mistakes with the places where their paths were written."""
        return _located(self.document, mistakes)


def load_suite(
    path: Path | str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
) -> LoadedSuite:
    """Read a suite file, apply a profile and then overrides, and check the whole.

    Args:
        path: a file, or the name of a suite of the project or of the bundled ones.
        profile: name of one of the suite's profiles; none for the suite as written.
        overrides: texts such as "base.train.epochs=2"; the value is YAML.
        seeds: number of seeds, in place of the suite's.

    Raises:
        SuiteError: everything that is wrong, with file, line and column.
        HarnessError: there is no such file.
    """
    document = _merged_document(path, profile, overrides, seeds)
    try:
        return LoadedSuite(check(Suite, document.value), document, profile)
    except Mistakes as found:
        problems = _located(document, found.mistakes)
        rest = _without(document, found.mistakes)
    raise SuiteError(problems, rest=None if rest is None else LoadedSuite(rest, document, profile))


def _merged_document(
    path: Path | str, profile: str | None, overrides: Sequence[str], seeds: int | None
) -> Document:
    document = read_document(catalog.find_suite(str(path)))
    if not isinstance(document.value, dict):
        message = "a suite is a mapping that begins like `suite: my_study`"
        raise SuiteError([Problem(document.position(()), "", message)])
    _include_ablations(document)
    _apply_profile(document, profile)
    for text in [*overrides, *([f"seeds={seeds}"] if seeds is not None else [])]:
        _apply_override(document, text)
    return document


def _without(document: Document, mistakes: Sequence[Mistake]) -> Suite | None:
    """Return the suite without its wrong top-level settings, to look for further mistakes in the rest."""
    wrong = {mistake.path[0] for mistake in mistakes if mistake.path}
    if "vary" in wrong:
        wrong.add("claims")  # they name variants that are not known now
    try:
        return check(Suite, {key: value for key, value in document.value.items() if key not in wrong})
    except Mistakes:
        return None


def _include_ablations(document: Document) -> None:
    """Put the content of ablations/NAME.yaml in the place of `use: NAME`; keys beside `use` win."""
    factors = document.value.get("vary")
    for index, factor in enumerate(factors if isinstance(factors, list) else []):
        if not isinstance(factor, dict) or "use" not in factor:
            continue
        place: Path_ = ("vary", index)
        try:
            included = read_document(catalog.find("ablations", str(factor["use"])))
        except HarnessError as error:
            if isinstance(error, SuiteError):
                raise
            raise SuiteError([Problem(document.position((*place, "use")), "use", str(error))]) from None
        if not isinstance(included.value, dict):
            raise SuiteError([Problem(included.position(()), "", "an ablation is a mapping with `levels`")])
        document.graft(place, included, keep=[key for key in factor if key != "use"])


def _apply_profile(document: Document, name: str | None) -> None:
    if name is None:
        return
    profiles = document.value.get("profiles")
    known = profiles if isinstance(profiles, dict) else {}
    if name not in known:
        message = f"no profile '{name}'{did_you_mean(name, known) or '; the suite has none'}"
        raise SuiteError([Problem(document.position(("profiles",), of_key=True), "profiles", message)])
    entries = known[name]
    for path, value in entries.items() if isinstance(entries, dict) else ():
        position = document.position(("profiles", name, path), of_key=True)
        _set(document, path, value, position)


def _apply_override(document: Document, text: str) -> None:
    path, separator, value = text.partition("=")
    position = Position(f"--set {text}")
    if not separator or not path:
        raise SuiteError([Problem(position, "", "expected PATH=VALUE, such as base.train.epochs=2")])
    _set(document, path, parse_value(value), position)


def _set(document: Document, path: str, value: Any, position: Position) -> None:
    try:
        document.set(split_path(path), value, position)
    except HarnessError as error:
        raise SuiteError([Problem(position, path, str(error))]) from None


def _located(document: Document, mistakes: Sequence[Mistake]) -> list[Problem]:
    return [
        Problem(document.position(mistake.path, of_key=mistake.of_key), dotted(mistake.path), mistake.message)
        for mistake in mistakes
    ]


def only_filter(texts: Sequence[str], factors: Mapping[str, Factor]) -> dict[str, set[str]]:
    """Return factor -> levels that `--only FACTOR=LEVEL` texts name.

    Raises:
        HarnessError: a text is no FACTOR=LEVEL, or names none of the suite's.
    """
    chosen: dict[str, set[str]] = {}
    for text in texts:
        name, separator, level = text.partition("=")
        if not separator:
            raise HarnessError(f"--only {text}: expected FACTOR=LEVEL")
        if name not in factors:
            raise HarnessError(f"--only {text}: no factor '{name}'{did_you_mean(name, factors)}")
        if level not in factors[name].levels:
            raise HarnessError(
                f"--only {text}: no level '{level}'{did_you_mean(level, factors[name].levels)}"
            )
        chosen.setdefault(name, set()).add(level)
    return chosen

"""The suite: what a user writes, merged with a profile and overrides, and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness import catalog
from harness.canonical import content_hash
from harness.config import Frozen
from harness.document import (
    LARGEST_INTEGER,
    Document,
    Path_,
    dotted,
    parse_value,
    read_document,
    split_path,
)
from harness.errors import HarnessError, Position, Problem, SuiteError, did_you_mean
from harness.validation import Mistake, Mistakes, check

NAME = f"^{catalog.NAME}$"
MOST_SEEDS = 1000


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

    @model_validator(mode="after")
    def _by_is_for_better_and_worse(self) -> Self:
        if self.direction == "equivalent" and self.by:
            raise ValueError("`by` is for better and worse; `equivalent` has a `margin`")
        if self.direction != "equivalent" and self.margin is not None:
            raise ValueError("`margin` is for equivalent; better and worse have `by`")
        return self


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
            if not re.fullmatch(r"https?://\S+", address):
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
            if not re.fullmatch(catalog.NAME, name):
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
    seeds: tuple[Annotated[int, Field(ge=0, lt=LARGEST_INTEGER)], ...] = (0, 1, 2)
    """A number of seeds (0, 1, ...), or the seeds themselves."""
    margins: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
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
            if not 1 <= seeds <= MOST_SEEDS:
                raise ValueError(f"expected a number of seeds from 1 to {MOST_SEEDS}, got {seeds}")
            return tuple(range(seeds))
        return tuple(seeds) if isinstance(seeds, list) else seeds

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not 1 <= len(seeds) <= MOST_SEEDS or len(set(seeds)) < len(seeds):
            raise ValueError(f"expected 1 to {MOST_SEEDS} distinct seeds")
        return seeds


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
    document = read_document(catalog.find_suite(str(path)))
    if not isinstance(document.value, dict):
        message = "a suite is a mapping that begins like `suite: my_study`"
        raise SuiteError([Problem(document.position(()), "", message)])
    mistakes = [*_include_ablations(document), *_apply_profile(document, profile)]
    problems = _located(document, mistakes)
    for text in overrides:
        problems += _apply_override(document, text)
    if seeds is not None:
        document.set(("seeds",), seeds, Position(f"--seeds {seeds}"))
    problems += document.problems
    try:
        suite: Suite | None = check(Suite, document.value)
    except Mistakes as found:
        problems += _located(document, found.mistakes)
        suite = _without(document, found.mistakes)
    if suite is not None:
        problems += _located(document, _taken_names(suite))
        if any(mistake.path[0] == "vary" for mistake in mistakes):
            suite = suite.model_copy(update={"claims": ()})  # they name variants that are not known now
    loaded = None if suite is None else LoadedSuite(suite, document, profile)
    if problems or loaded is None:
        raise SuiteError(problems, rest=loaded)
    return loaded


def _without(document: Document, mistakes: Sequence[Mistake]) -> Suite | None:
    """Return the suite without its wrong top-level settings, to look for further mistakes in the rest."""
    wrong = {mistake.path[0] for mistake in mistakes if mistake.path}
    if "vary" in wrong:
        wrong.add("claims")  # they name variants that are not known now
    rest = {key: value for key, value in document.value.items() if key not in wrong}
    try:
        return check(Suite, {**PLACEHOLDERS, **rest})
    except Mistakes:
        return None


def _taken_names(suite: Suite) -> Iterator[Mistake]:
    """Yield factors and claims that are named like one before them."""
    kinds: tuple[tuple[str, str, list[str]], ...] = (
        ("vary", "factor", [factor.factor for factor in suite.vary]),
        ("claims", "id", [claim.id for claim in suite.claims]),
    )
    for section, key, names in kinds:
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Mistake((section, index, key), f"the name '{name}' is taken")


def _include_ablations(document: Document) -> list[Mistake]:
    """Put the content of ablations/NAME.yaml in the place of `use: NAME`; keys beside `use` win."""
    mistakes: list[Mistake] = []
    factors = document.value.get("vary")
    for index, factor in enumerate(factors if isinstance(factors, list) else []):
        if not isinstance(factor, dict) or "use" not in factor:
            continue
        place: Path_ = ("vary", index)
        try:
            included = read_document(catalog.find("ablations", str(factor["use"])))
        except SuiteError:
            raise  # the ablation's own file is no YAML
        except HarnessError as error:
            mistakes.append(Mistake((*place, "use"), str(error)))
            factor.update({"factor": f"unknown_{index}", "levels": {"unknown": {}}})
            del factor["use"]
            continue
        if not isinstance(included.value, dict):
            raise SuiteError([Problem(included.position(()), "", "an ablation is a mapping with `levels`")])
        document.graft(place, included, keep=[key for key in factor if key != "use"])
    return mistakes


def _apply_profile(document: Document, name: str | None) -> list[Mistake]:
    if name is None:
        return []
    profiles = document.value.get("profiles")
    known = profiles if isinstance(profiles, dict) else {}
    if name not in known:
        message = f"no profile '{name}'{did_you_mean(name, known) or '; the suite has none'}"
        return [Mistake(("profiles",), message, of_key=True)]
    mistakes: list[Mistake] = []
    entries = known[name]
    for path, value in entries.items() if isinstance(entries, dict) else ():
        place = ("profiles", name, path)
        try:
            document.set(split_path(path), value, document.position(place, of_key=True))
        except HarnessError as error:
            mistakes.append(Mistake(place, str(error), of_key=True))
    return mistakes


def _apply_override(document: Document, text: str) -> list[Problem]:
    path, separator, value = text.partition("=")
    position = Position(f"--set {text}")
    if not separator or not path:
        return [Problem(position, "", "expected PATH=VALUE, such as base.train.epochs=2")]
    try:
        document.set(split_path(path), parse_value(value), position)
    except SuiteError as error:
        return [Problem(position, path, problem.message) for problem in error.problems]
    except HarnessError as error:
        return [Problem(position, path, str(error))]
    return []


def _located(document: Document, mistakes: Iterable[Mistake]) -> list[Problem]:
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

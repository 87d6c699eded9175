"""The grammar of suites: what may stand in a file, as models whose docstrings are the reference."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from harness import catalog
from harness.ablate import Patch
from harness.budget import Budget
from harness.config import Frozen
from harness.document import LARGEST_INTEGER, Path_, split_path
from harness.errors import HarnessError, did_you_mean
from harness.expectation import Expectation
from harness.failures import FailureRules
from harness.pruning import Pruning

NAME = f"^{catalog.NAME}$"
FACTOR_NAME = f"^{catalog.NAME.replace('.', '')}$"  # a dot joins it to a part of a factorial
MOST_SEEDS = 1000
MOST_FOLDS = 100
MOST_PATHS = 200  # settings that one level changes


class Claim(Frozen):
    """A statement that the suite puts to the test."""

    id: str = Field(pattern=NAME)
    says: str = Field(min_length=1)
    """The claim in words, as a reader would say it."""
    expect: Expectation
    """The claim in numbers; a key such as `versus`, `at_least` or `ranked` tells its form."""
    source: str | None = None
    """Where the claim was made first."""


def _is_path(text: str) -> str:
    try:
        split_path(text)
    except HarnessError as error:
        raise ValueError(str(error)) from None
    return text


DottedPath = Annotated[str, AfterValidator(_is_path)]


class Level(Frozen):
    """One setting of a factor; an empty one is the control.

    What it changes is given by dotted paths below `base`, and applied in the order drop, swap, set, add,
    scale.
    """

    drop: tuple[DottedPath, ...] = ()
    """Paths to remove; an element of a list goes by its name, as in train.augment.hflip."""
    swap: dict[DottedPath, Any] = Field(default_factory=dict)
    """Path -> the component that takes the place of the one there, by name with its defaults, or whole.
    A loss term is renamed and keeps its weight: {loss.mse: l1}."""
    set: dict[DottedPath, Any] = Field(default_factory=dict)
    """Path -> value."""
    add: dict[DottedPath, Any] = Field(default_factory=dict)
    """Path -> value where none was given yet; values to append where there is a list."""
    scale: dict[DottedPath, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Path -> factor of the number, or of every number of the list, given there; whole numbers stay whole."""
    when: dict[DottedPath, Any] = Field(default_factory=dict)
    """Path -> value, or list of values, with which the level applies; it is left out elsewhere."""
    from_: str | None = Field(default=None, alias="from")
    """A level of this factor to start from, in place of the base."""
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

    @model_validator(mode="after")
    def _each_path_once(self) -> Self:
        uses = Counter(path for _, path in self.patch.paths())
        if len(uses) > MOST_PATHS:
            raise ValueError(f"a level changes at most {MOST_PATHS} settings, this one {len(uses)}")
        if twice := next((path for path, count in uses.items() if count > 1), None):
            raise ValueError(f"{twice} is changed twice; say it with one operator")
        return self

    @property
    def patch(self) -> Patch:
        """What the level changes."""
        return Patch(drop=self.drop, swap=self.swap, set=self.set, add=self.add, scale=self.scale)


class Factor(Frozen):
    """What is varied, how, and its levels: given by name, or made from `each`, or from `path`."""

    factor: str = Field(pattern=FACTOR_NAME)
    design: Literal["one_at_a_time", "leave_one_out", "cumulative", "factorial", "list"] = "one_at_a_time"
    """`one_at_a_time`: each level on the base. `leave_one_out`: all levels together, and all but each in
    turn. `cumulative`: each on top of those before. `factorial`: every level on or off, in all
    combinations. `list`: each level is a variant, and none stands for the base."""
    question: str | None = None
    """What the factor is to find out."""
    levels: dict[str, Level] | None = Field(default=None, min_length=1)
    """Name -> level."""
    each: str | None = None
    """Pattern of paths, such as loss.*: one level for each path that it finds, dropped."""
    except_: tuple[str, ...] = Field(default=(), alias="except")
    """Names that `each` passes over."""
    path: str | None = None
    """A path, for levels made from `values` or `scale`."""
    values: tuple[Any, ...] | None = Field(default=None, min_length=1)
    """One level for each value, set at `path`."""
    scale: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(default=None, min_length=1)
    """One level for each factor that the number at `path` is multiplied by."""
    when: dict[DottedPath, Any] = Field(default_factory=dict)
    """Path -> value, or list of values, with which the factor's levels apply; they are left out elsewhere."""
    resolution: int | None = Field(default=None, ge=3, le=7)
    """Of a fractional factorial: main effects are aliased with effects of `resolution - 1` factors at the
    least; none for all combinations."""
    requires: tuple[DottedPath, ...] = ()
    """Paths of settings that the base must know; for ablations that fit some components only."""

    @field_validator("levels")
    @classmethod
    def _levels_have_names(cls, levels: dict[str, Level] | None) -> dict[str, Level] | None:
        for name in levels or ():
            if not re.fullmatch(catalog.NAME, name):
                raise ValueError(f"'{name}' is no name for a level; use letters, digits and . _ + -")
        return levels

    @model_validator(mode="after")
    def _levels_come_from_one_place(self) -> Self:
        if (self.levels is not None) + (self.each is not None) + (self.path is not None) != 1:
            raise ValueError("expected one of `levels`, `each`, or `path` with `values` or `scale`")
        if (self.path is not None) != ((self.values is not None) + (self.scale is not None) == 1):
            raise ValueError("`path` goes with one of `values` and `scale`")
        if self.except_ and self.each is None:
            raise ValueError("`except` goes with `each`")
        return self

    @model_validator(mode="after")
    def _conditions_fit_the_design(self) -> Self:
        conditions = [self.when, *(level.when for level in (self.levels or {}).values())]
        if any(conditions) and self.design in ("leave_one_out", "factorial"):
            raise ValueError(f"`when` is not for the design {self.design}; make a group of factors")
        return self

    @model_validator(mode="after")
    def _resolution_is_for_factorials(self) -> Self:
        if self.resolution is not None and self.design != "factorial":
            raise ValueError("`resolution` is for the design factorial")
        return self

    @model_validator(mode="after")
    def _levels_start_from_levels(self) -> Self:
        starts = {name: level.from_ for name, level in (self.levels or {}).items() if level.from_}
        if starts and self.design not in ("one_at_a_time", "list"):
            raise ValueError("`from` is for the designs one_at_a_time and list")
        for name, start in starts.items():
            if start not in (self.levels or {}):
                raise ValueError(f"{name} starts from '{start}'{did_you_mean(start, self.levels or {})}")
        return self


class Group(Frozen):
    """Factors that are combined with each other, under one name."""

    group: str = Field(pattern=FACTOR_NAME)
    design: Literal["factorial", "paired", "list", "side_by_side"] = "factorial"
    """`factorial`: all combinations. `paired`: first levels together, second levels together, and so
    on. `list`: the combinations that `variants` names. `side_by_side`: each factor on its own."""
    question: str | None = None
    """What the group is to find out."""
    factors: tuple[Entry, ...] = Field(min_length=1)
    """Factors, or further groups."""
    variants: dict[str, dict[str, str]] | None = Field(default=None, min_length=1)
    """Of the design list: name -> factor -> level; a factor that is not named stays as in the base."""
    resolution: int | None = Field(default=None, ge=3, le=7)
    """Of a fractional factorial of factors with two levels each; none for all combinations."""

    @model_validator(mode="after")
    def _settings_fit_the_design(self) -> Self:
        if (self.variants is not None) != (self.design == "list"):
            raise ValueError("`variants` goes with the design list, and the design list with `variants`")
        if self.resolution is not None and self.design != "factorial":
            raise ValueError("`resolution` is for the design factorial")
        combined = [entry.group for entry in self.factors if isinstance(entry, Group) and entry.is_combined]
        if self.design == "list" and combined:
            raise ValueError(f"`variants` picks levels of factors; {combined[0]} has combinations of levels")
        return self

    @property
    def is_combined(self) -> bool:
        """Whether its points are combinations, and not levels of one factor."""
        return self.design in ("factorial", "paired")

    @field_validator("variants")
    @classmethod
    def _variants_have_names(
        cls, variants: dict[str, dict[str, str]] | None
    ) -> dict[str, dict[str, str]] | None:
        for name in variants or ():
            if not re.fullmatch(catalog.NAME, name):
                raise ValueError(f"'{name}' is no name for a variant; use letters, digits and . _ + -")
        return variants


class Use(BaseModel):
    """A factor or group from `ablations/`; keys beside these replace those of the file."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    use: str = Field(pattern=NAME)
    """Name of the file."""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """Options of the ablation, as `harness show ablation NAME` lists them."""


def _kind_of_entry(value: Any) -> str:
    keys = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    return "group" if "group" in keys else "use" if "use" in keys else "factor"


Entry = Annotated[
    Annotated[Factor, Tag("factor")] | Annotated[Group, Tag("group")], Discriminator(_kind_of_entry)
]
"""What stands under `vary` once ablations are in their place."""
Group.model_rebuild()


class Exclusion(Frozen):
    """Combinations of levels that are left out."""

    match: dict[str, str | tuple[str, ...]] = Field(min_length=1)
    """Factor -> level, or list of levels; all of them have to match."""
    why: str = Field(min_length=1)
    """Why they are left out; the plan and the report say it."""


def _at_least_one(amount: ByteSize) -> ByteSize:
    if amount < 1:
        raise ValueError("expected at least one byte")
    return amount


Bytes = Annotated[
    ByteSize,
    AfterValidator(_at_least_one),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^\s*(\d*\.?\d+)\s*(\w+)?$"},
            ]
        }
    ),
]
"""A number of bytes, or a text such as "8 GiB" (2^30 bytes each) or "8 GB" (10^9)."""


class Resources(Frozen):
    """What each process of a trial occupies while it runs; not part of the trial's identity."""

    cpus: int = Field(default=1, ge=1)
    """CPUs, and threads that it computes with."""
    gpus: float | None = Field(default=None, ge=0)
    """GPUs: a whole number, or a part of one below 1. Where nothing is given a trial takes, where there
    are GPUs, the part that its expected memory needs, and computes on the CPU elsewhere. With 0 it
    computes on the CPU."""
    memory: Bytes | None = None
    """Main memory, such as "8 GiB", "512 MB" or a number of bytes; by default that of like trials in the
    store, with a quarter on top."""
    accelerator: str | None = Field(default=None, min_length=1)
    """Model of the GPU as Ray calls it, such as A100; none for any. For the executor ray."""
    node: dict[str, str] = Field(default_factory=dict)
    """Labels that the node must have. For the executor ray."""
    fewest_processes: int | None = Field(default=None, ge=1)
    """Trials of several processes run with fewer, down to this, where the machines there are never hold all
    of them; none for exactly as many as the strategy says."""

    @field_validator("gpus")
    @classmethod
    def _part_of_one_or_whole(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"expected a part of one GPU, or a whole number of them, got {gpus:g}")
        return gpus


class Checkpoints(Frozen):
    """Which weights of a trial stay; not part of its identity."""

    keep: tuple[Literal["best", "last"], ...] = ("best", "last")
    """`best`: those of the epoch with the best primary metric. `last`: those of the last epoch."""


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
    vary: tuple[Entry, ...] = ()
    """Factors and groups of factors."""
    design: Literal["side_by_side", "factorial"] = "side_by_side"
    """How the entries of `vary` combine: each on its own beside the shared reference, or all crossed."""
    exclude: tuple[Exclusion, ...] = Field(default=(), max_length=500)
    """Combinations of levels that are left out."""
    reference: str | None = None
    """The variant that all others are compared with; by default the one that equals the base."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=LARGEST_INTEGER)], ...] = (0, 1, 2)
    """A number of seeds (0, 1, ...), or the seeds themselves."""
    folds: int | None = Field(default=None, ge=2, le=MOST_FOLDS)
    """Parts of a k-fold cross-validation: every seed trains once for each part, validated on it."""
    margins: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Metric -> largest difference that counts as equivalent, in the metric's unit."""
    claims: tuple[Claim, ...] = ()
    profiles: dict[Annotated[str, Field(pattern=NAME)], dict[str, Any]] = Field(default_factory=dict)
    """Name -> dotted path from the top of the suite -> value: the same study at another scale."""
    resources: Resources = Resources()
    budget: Budget | None = None
    """The most that one run may take; none for no limit."""
    failures: FailureRules = FailureRules()
    """What is done about trials that fail."""
    pruning: Pruning | None = None
    """Which trials are ended early; none for all of them trained to their end."""
    checkpoints: Checkpoints = Checkpoints()
    """Which weights of every trial stay."""
    report: ReportOptions = ReportOptions()
    trackers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Where trials are shown while they train: a list of names, or name -> settings; nowhere by default."""

    @field_validator("trackers", mode="before")
    @classmethod
    def _trackers_by_name(cls, trackers: Any) -> Any:
        if isinstance(trackers, list):
            if len({name for name in trackers if isinstance(name, str)}) < len(trackers):
                raise ValueError("expected distinct names, or a mapping of names to settings")
            return {name: {} for name in trackers}
        if isinstance(trackers, dict):
            return {name: {} if value is None else value for name, value in trackers.items()}
        return trackers

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


class WrittenSuite(Suite):
    """A suite as people write it: parts of other files not yet in their place."""

    extends: str | None = None
    """A suite to start from, by name or path: mappings are merged, all else here replaces what is there."""
    include: str | tuple[str, ...] = ()
    """Files with parts of a suite: merged below this one; their `vary`, `claims` and `exclude` come first."""
    vary: tuple[
        Annotated[
            Annotated[Factor, Tag("factor")] | Annotated[Group, Tag("group")] | Annotated[Use, Tag("use")],
            Discriminator(_kind_of_entry),
        ],
        ...,
    ] = ()  # type: ignore[assignment]  # `use` is gone after loading
    """Factors, groups of factors, and ablations by name."""


def entries(suite: Suite) -> Iterator[tuple[Path_, Factor | Group]]:
    """Yield every factor and group of a suite, however deep, with its path."""

    def below(place: Path_, found: Sequence[Factor | Group]) -> Iterator[tuple[Path_, Factor | Group]]:
        for index, entry in enumerate(found):
            yield (*place, index), entry
            if isinstance(entry, Group):
                yield from below((*place, index, "factors"), entry.factors)

    yield from below(("vary",), suite.vary)

"""What a claim expects, in numbers: one model for each form, told apart by a key that it alone has."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from harness.config import Frozen

MOST_NAMES = 50  # metrics, labels or variants that one list of a claim names

CostName = Literal[
    "parameters",
    "trainable_parameters",
    "forward_flops",
    "peak_memory_bytes",
    "latency_seconds",
    "latency_p95_seconds",
    "train_seconds",
    "cpu_hours",
    "gpu_hours",
    "images_per_second",
]
"""The costs that a store has figures of; harness.analysis.costs says what they mean."""
COST_NAMES: tuple[str, ...] = get_args(CostName)
EXACT_COSTS = ("parameters", "trainable_parameters", "forward_flops")
"""Costs that a variant has whatever the seed and the machine."""


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise ValueError(f"'{twice}' stands here twice; once at most")
    return names


Names = Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_NAMES), AfterValidator(_distinct)]
Label = Annotated[str, Field(pattern=r"^[a-z_]+=.+$")]
Labels = Annotated[tuple[Label, ...], Field(min_length=1, max_length=MOST_NAMES), AfterValidator(_distinct)]
Percentage = Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,6})?%$")]
Positive = Annotated[float, Field(gt=0)]


class OfMetrics(Frozen):
    """An expectation about one metric, or about each of several."""

    metric: str | Names
    """Name of a metric, or of its random-feature stand-in (`lpips` finds `lpips_rand`); of a list, the claim
    has to hold for each."""
    label: Label | Labels | None = None
    """A part of the data, such as `colour=red` or `shape=star`; none for the whole. Of a list, the claim has
    to hold for each."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that is asked about."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric

    @property
    def labels(self) -> tuple[str | None, ...]:
        """Every part of the data that is asked about; none stands for the whole."""
        return self.label if isinstance(self.label, tuple) else (self.label,)


class _Directed(OfMetrics):
    """Better or worse by so much, or equivalent within so much."""

    direction: Literal["better", "worse", "equivalent"]
    by: float = Field(default=0.0, ge=0)
    """Least difference, in the metric's unit, for `better` and `worse`."""
    margin: float | None = Field(default=None, gt=0)
    """Largest difference, in the metric's unit, that still counts as `equivalent`."""

    @model_validator(mode="after")
    def _by_is_for_better_and_worse(self) -> Self:
        if self.direction == "equivalent" and self.by:
            raise ValueError("`by` is for better and worse; `equivalent` has a `margin`")
        if self.direction != "equivalent" and self.margin is not None:
            raise ValueError("`margin` is for equivalent; better and worse have `by`")
        return self


class Difference(_Directed):
    """Two variants: one is better or worse than the other, or equivalent to it."""

    of: str
    """The variant that the claim is about."""
    versus: str
    """The variant it is compared with."""


class Bounds(OfMetrics):
    """One variant: its own mean is at least, or at most, a fixed number, or lies between two."""

    of: str
    """The variant that the claim is about."""
    at_least: float | None = None
    """Lower end, in the metric's unit."""
    at_most: float | None = None
    """Upper end, in the metric's unit."""

    @model_validator(mode="after")
    def _ends_are_in_order(self) -> Self:
        _check_ends(self.at_least, self.at_most)
        return self


def _check_ends(at_least: float | None, at_most: float | None) -> None:
    if at_least is None and at_most is None:
        raise ValueError("expected `at_least`, `at_most` or both")
    if at_least is not None and at_most is not None and at_least >= at_most:
        raise ValueError(f"`at_least` {at_least:g} is not below `at_most` {at_most:g}")


class Reported(OfMetrics):
    """One variant: its own mean is what somebody reported, within a tolerance."""

    of: str
    """The variant that the claim is about."""
    reported: float
    """The figure as it was reported, in the metric's unit."""
    tolerance: Positive | Percentage | None = None
    """Largest difference that still counts as the same: in the metric's unit, or as a percentage of the
    reported figure, such as 5%. Figures without noise, such as `parameters`, may do without."""

    @property
    def margin(self) -> float:
        """The tolerance in the metric's unit; 0 where there is none."""
        if isinstance(self.tolerance, str):
            return abs(self.reported) * float(self.tolerance[:-1]) / 100
        return self.tolerance or 0.0

    @model_validator(mode="after")
    def _a_percentage_is_a_tolerance(self) -> Self:
        if isinstance(self.tolerance, str) and not 0 < self.margin < math.inf:
            raise ValueError(
                f"{self.tolerance} of {self.reported:g} is no tolerance; give it in the metric's unit"
            )
        return self


class Ranked(OfMetrics):
    """Several variants in order: each is better than the next."""

    ranked: Annotated[tuple[str, ...], Field(min_length=2, max_length=MOST_NAMES), AfterValidator(_distinct)]
    """Variants, the best first."""
    by: float = Field(default=0.0, ge=0)
    """Least difference between neighbours, in the metric's unit."""


class Best(OfMetrics):
    """One variant is better than every other."""

    best: str
    """The variant that the claim is about."""
    among: Names | None = None
    """The variants it is compared with; none for all others."""
    by: float = Field(default=0.0, ge=0)
    """Least difference from each of them, in the metric's unit."""


class LargestGain(OfMetrics):
    """In a chain: what one step adds to the step before it is a gain, and larger than that of every other."""

    largest_gain: str
    """The variant whose step the claim is about."""
    among: Names | None = None
    """The steps it is compared with; none for all others of its chain."""


class Interaction(_Directed):
    """Two changes together do better or worse than the sum of what each does alone, or as well."""

    interaction: tuple[str, str]
    """The variants that have one of the changes each."""
    together: str
    """The variant that has both."""
    neither: str | None = None
    """The variant that has none of them; the reference if left out."""


class Curve(OfMetrics):
    """The validation curve of a variant: what it still gains after some epoch."""

    of: str
    """The variant that the claim is about."""
    curve: Literal["plateaued", "improving", "worsening"]
    """`plateaued`: the gain lies within the tolerance. `improving`, `worsening`: it lies above, or below."""
    by_epoch: int | None = Field(default=None, ge=1)
    """Epoch from which the gain is counted; by default the last quarter of the epochs is compared with the
    quarter before."""
    tolerance: float | None = Field(default=None, gt=0)
    """In the metric's unit. By default a plateau gains at most 2 % of the change from the first epoch to the
    best; for the others it is 0."""


class Correlation(Frozen):
    """Two metrics: how far they agree on what is better, as a rank correlation from -1 to 1."""

    correlate: tuple[str, str]
    """The metrics. Positive is agreement: what is better by one is better by the other, whichever way each
    of them counts."""
    over: Literal["images", "variants"] = "images"
    """What is ranked: the validation images of one trained model, or the variants of one seed."""
    of: str | None = None
    """The variant whose images they are; the reference if left out."""
    at_least: float | None = Field(default=None, gt=-1, lt=1)
    """Lower end of the mean correlation over seeds."""
    at_most: float | None = Field(default=None, gt=-1, lt=1)
    """Upper end of it."""

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        _check_ends(self.at_least, self.at_most)
        if self.correlate[0] == self.correlate[1]:
            raise ValueError(f"'{self.correlate[0]}' is correlated with itself")
        if self.over == "variants" and self.of is not None:
            raise ValueError("`of` is for `over: images`; over variants all of them are ranked")
        return self


class CostFactor(Frozen):
    """Two variants: one costs more or less than the other, as a ratio."""

    cost: CostName
    of: str
    """The variant that the claim is about."""
    versus: str
    """The variant it is compared with."""
    direction: Literal["more", "less"]
    by: float = Field(default=1.0, ge=1)
    """Least factor: 1.3 is 1.3 times as much, or as little."""


_TAGS = {
    "ranked": "ranked",
    "best": "best",
    "largest_gain": "largest_gain",
    "interaction": "interaction",
    "together": "interaction",
    "curve": "curve",
    "by_epoch": "curve",
    "reported": "reported",
    "cost": "cost",
    "correlate": "correlation",
    "at_least": "bounds",
    "at_most": "bounds",
    "versus": "difference",
    "direction": "difference",
}
"""Key -> form, the first that a claim has decides."""
FORMS: dict[str, tuple[tuple[str, ...], type[Frozen]]] = {
    "difference": (("versus",), Difference),
    "bounds": (("at_least", "at_most"), Bounds),
    "reported": (("reported",), Reported),
    "ranked": (("ranked",), Ranked),
    "best": (("best",), Best),
    "largest_gain": (("largest_gain",), LargestGain),
    "interaction": (("interaction",), Interaction),
    "curve": (("curve",), Curve),
    "cost": (("cost",), CostFactor),
    "correlation": (("correlate",), Correlation),
}
"""Form -> the keys that tell it from the others, and its model."""
_EXPECTED = f"expected one of the keys {', '.join(key for keys, _ in FORMS.values() for key in keys)}"


def _form(value: Any) -> str | None:
    """Return which form a value has: by a key, by one that is nearly right, or none."""
    if isinstance(value, BaseModel):
        return next(name for name, (_, model) in FORMS.items() if isinstance(value, model))
    if not isinstance(value, dict):
        return None
    for key, form in _TAGS.items():
        if key in value:
            return form
    near = (difflib.get_close_matches(str(key)[:MOST_NAMES], _TAGS, n=1) for key in list(value)[:MOST_NAMES])
    return next((_TAGS[found[0]] for found in near if found), None)


Expectation = Annotated[
    Annotated[Difference, Tag("difference")]
    | Annotated[Bounds, Tag("bounds")]
    | Annotated[Reported, Tag("reported")]
    | Annotated[Ranked, Tag("ranked")]
    | Annotated[Best, Tag("best")]
    | Annotated[LargestGain, Tag("largest_gain")]
    | Annotated[Interaction, Tag("interaction")]
    | Annotated[Curve, Tag("curve")]
    | Annotated[CostFactor, Tag("cost")]
    | Annotated[Correlation, Tag("correlation")],
    Discriminator(_form, custom_error_type="expectation_form", custom_error_message=_EXPECTED),
]
"""What stands under `expect`."""


def written_variants(expect: Expectation) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the variants that an expectation names, each with the path of its name below `expect`."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    for key in (
        "of",
        "versus",
        "ranked",
        "best",
        "largest_gain",
        "interaction",
        "together",
        "neither",
        "among",
    ):
        value = getattr(expect, key, None)
        if isinstance(value, str):
            found.append(((key,), value))
        elif value is not None:
            found += [((key, index), name) for index, name in enumerate(value)]
    return found


def with_names(expect: Expectation, names: Mapping[str, str]) -> Expectation:
    """Return an expectation with variants called by other names.

    Args:
        expect: the expectation.
        names: name that is written -> name in its place; others stay.
    """
    changed: dict[str, Any] = {}
    for (key, *_), name in written_variants(expect):
        value = getattr(expect, str(key))
        if name in names:
            changed[str(key)] = (
                names[name] if isinstance(value, str) else tuple(names.get(one, one) for one in value)
            )
    return expect.model_copy(update=changed) if changed else expect


def written_names(
    expect: Expectation, key: Literal["metric", "label"]
) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the metrics or labels that an expectation names, each with its path below `expect`."""
    if isinstance(expect, Correlation) and key == "metric":
        return [(("correlate", index), name) for index, name in enumerate(expect.correlate)]
    value: str | Sequence[str] | None = getattr(expect, key, None)
    if value is None:
        return []
    return [((key,), value)] if isinstance(value, str) else [((key, i), name) for i, name in enumerate(value)]

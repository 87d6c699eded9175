"""From a claim to its questions: each is about one number, and the values that it may have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

from harness.analysis.claims.agreement import correlation_info, image_agreement, variant_agreement
from harness.analysis.claims.samples import (
    Sample,
    Tables,
    contrast,
    cost_sample,
    gain_sample,
    logarithms,
)
from harness.analysis.costs import COST_INFOS, Cost, CostInfo
from harness.analysis.values import resolve_metric
from harness.config import MetricInfo
from harness.expectation import (
    Best,
    Bounds,
    Correlation,
    CostFactor,
    Curve,
    Difference,
    Expectation,
    Interaction,
    LargestGain,
    Ranked,
    Reported,
)
from harness.planning.claims import is_cost, previous_of, rivals_of, variants_of

Scale = Literal["difference", "value", "ratio"]
"""What the number is: a difference of means, one mean, or a ratio of geometric means."""
Direction = Literal[
    "better", "worse", "equivalent", "at least", "at most", "between", "reported", "more", "less"
]


@dataclass(frozen=True)
class Question:
    """Whether the mean of a - b lies above or below `claimed`, or within `margin` of it.

    On the scale `ratio` a, b and `claimed` are logarithms; of a correlation they are Fisher's z.
    """

    quantity: MetricInfo | CostInfo
    label: str | None
    scale: Scale
    direction: Direction
    by: float
    """How much better or worse, or how many times more or less, is claimed."""
    claimed: float
    above: bool
    """Whether the claim is that the mean is above `claimed`; without meaning where there is a margin."""
    margin: float | None
    sample: Sample
    variants: tuple[str, ...]
    """That the number is made of."""
    lead: str = ""
    """What the number is, where a claim asks several questions or its form does not say it."""
    smaller: str = ""
    """The word for the contrary, where it is not that of the direction."""

    @property
    def exact(self) -> bool:
        """Whether the number has no noise: a property of the configuration, compared without a test."""
        return isinstance(self.quantity, CostInfo) and not self.quantity.measured

    @property
    def name(self) -> str:
        """The metric or cost as recorded."""
        return self.quantity.name


class Asker:
    """Turns claims into questions about one record."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.record = tables.record
        self.plan = tables.record.plan
        self.titles = {variant.name: variant.title for variant in self.plan.variants}

    def ask(self, expect: Expectation) -> list[Question]:
        """Return the questions of a claim; it holds where each of them is answered with yes.

        Raises:
            HarnessError: the claim names a metric that the run does not record.
        """
        if isinstance(expect, CostFactor):
            return [self._factor(expect)]
        if isinstance(expect, Correlation):
            return [self._agreement(expect)]
        if isinstance(expect, Bounds | Reported) and is_cost(expect, expect.metrics[0], self.plan.metrics):
            return [self._cost_level(expect, cast(Cost, expect.metrics[0]))]
        return [
            question
            for metric in expect.metrics
            for label in expect.labels
            for question in self._of_metric(expect, self._info(metric), label)
        ]

    def _info(self, metric: str) -> MetricInfo:
        return self.plan.metrics[resolve_metric(self.plan, metric)]

    def _of_metric(self, expect: Expectation, info: MetricInfo, label: str | None) -> Iterator[Question]:
        match expect:
            case Difference():
                yield self._directed(expect, info, label, (expect.of,), (expect.versus,))
            case Bounds() | Reported():
                sample = contrast(self.tables.of_metric(info.name, label), (expect.of,), ())
                yield _level(expect, info, label, sample)
            case Ranked():
                for of, versus in zip(expect.ranked, expect.ranked[1:], strict=False):
                    yield self._ahead(info, label, of, versus, expect.by)
            case Best():
                for rival in rivals_of(expect, self.plan.variants):
                    yield self._ahead(info, label, expect.best, rival, expect.by)
            case LargestGain():
                yield from self._gains(expect, info, label)
            case Interaction():
                first, second = expect.interaction
                neither = expect.neither or self.plan.reference
                lead = f"{self._title(first)} and {self._title(second)} together, against their sum"
                yield self._directed(expect, info, label, (expect.together, neither), (first, second), lead)
            case Curve():
                yield self._gain_since(expect, info, label)

    def _directed(
        self,
        expect: Difference | Interaction,
        info: MetricInfo,
        label: str | None,
        plus: tuple[str, ...],
        minus: tuple[str, ...],
        lead: str = "",
    ) -> Question:
        sample = contrast(self.tables.of_metric(info.name, label), plus, minus)
        names = _distinct(plus, minus)
        if expect.direction == "equivalent":
            margin = expect.margin or self.plan.margins.get(info.name)
            assert margin is not None, "a suite without a margin is refused when it is planned"
            return Question(
                info, label, "difference", "equivalent", 0.0, 0.0, True, margin, sample, names, lead
            )
        return _one_sided(info, label, expect.direction, expect.by, sample, names, lead)

    def _ahead(self, info: MetricInfo, label: str | None, of: str, versus: str, by: float) -> Question:
        sample = contrast(self.tables.of_metric(info.name, label), (of,), (versus,))
        lead = f"{self._title(of)} against {self._title(versus)}"
        return _one_sided(info, label, "better", by, sample, (of, versus), lead)

    def _gains(self, expect: LargestGain, info: MetricInfo, label: str | None) -> Iterator[Question]:
        """Yield whether the step is a gain at all, and whether it is a larger one than every other."""
        table, previous = self.tables.of_metric(info.name, label), previous_of(self.plan.variants)
        step = expect.largest_gain
        before = previous[step]
        lead = f"step of {self._title(step)}"
        own = contrast(table, (step,), (before,))
        yield _one_sided(info, label, "better", 0.0, own, _distinct((step, before)), lead)
        for rival in rivals_of(expect, self.plan.variants):
            sample = contrast(table, (step, previous[rival]), (before, rival))
            names = _distinct((step, before, rival, previous[rival]))
            yield _one_sided(
                info,
                label,
                "better",
                0.0,
                sample,
                names,
                lead=f"{lead} less that of {self._title(rival)}",
                smaller="a smaller gain",
            )

    def _gain_since(self, expect: Curve, info: MetricInfo, label: str | None) -> Question:
        sample, usual = gain_sample(self.record, info, label, expect.of, expect.by_epoch)
        lead = "last quarter of epochs" if expect.by_epoch is None else f"after epoch {expect.by_epoch}"
        if expect.curve == "plateaued":
            # A curve that is best at its first epoch gives no tolerance of its own, and is not judged.
            margin = expect.tolerance or usual or 0.0
            return Question(
                info, label, "difference", "equivalent", 0.0, 0.0, True, margin, sample, (expect.of,), lead
            )
        direction: Direction = "better" if expect.curve == "improving" else "worse"
        word = "improving" if expect.curve == "worsening" else "worsening"
        by = expect.tolerance or 0.0
        return _one_sided(info, label, direction, by, sample, (expect.of,), lead, smaller=word)

    def _factor(self, expect: CostFactor) -> Question:
        info = COST_INFOS[expect.cost]
        sample = cost_sample(self.tables.of_cost(expect.cost), (expect.of,), (expect.versus,))
        more = expect.direction == "more"
        return Question(
            quantity=info,
            label=None,
            scale="ratio",
            direction=expect.direction,
            by=expect.by,
            claimed=math.log(expect.by) * (1 if more else -1),
            above=more,
            margin=None,
            sample=logarithms(sample) if info.measured else sample,
            variants=(expect.of, expect.versus),
        )

    def _agreement(self, expect: Correlation) -> Question:
        first, second = (self._info(name) for name in expect.correlate)
        variants = variants_of(expect, self.plan.variants, self.plan.reference)
        if expect.over == "images":
            sample = image_agreement(self.record, first, second, *variants)
        else:
            table, versus = (self.tables.of_metric(info.name, None) for info in (first, second))
            sample = variant_agreement(table, versus, first, second)
        ends = {
            name: None if end is None else math.atanh(end)
            for name, end in (("at_least", expect.at_least), ("at_most", expect.at_most))
        }
        on_scale = expect.model_copy(update=ends)  # of Fisher's z, as the sample
        asked = _level(on_scale, correlation_info(first, second), None, sample)
        return replace(asked, variants=variants, lead=f"over {expect.over}")

    def _cost_level(self, expect: Bounds | Reported, cost: Cost) -> Question:
        return _level(expect, COST_INFOS[cost], None, cost_sample(self.tables.of_cost(cost), (expect.of,)))

    def _title(self, variant: str) -> str:
        return self.titles.get(variant, variant)


def _one_sided(
    info: MetricInfo,
    label: str | None,
    direction: Direction,
    by: float,
    sample: Sample,
    names: tuple[str, ...],
    lead: str = "",
    smaller: str = "",
) -> Question:
    """Return whether a contrast is better, or worse, by so much."""
    better = direction == "better"
    return Question(
        quantity=info,
        label=label,
        scale="difference",
        direction=direction,
        by=by,
        claimed=info.improvement(by if better else -by),
        above=better == (info.direction == "higher"),
        margin=None,
        sample=sample,
        variants=names,
        lead=lead,
        smaller=smaller,
    )


def _level(
    expect: Bounds | Reported | Correlation,
    quantity: MetricInfo | CostInfo,
    label: str | None,
    sample: Sample,
) -> Question:
    """Return whether the mean of one variant is where a claim has it."""
    direction: Direction
    margin: float | None = None
    if isinstance(expect, Reported):
        direction, claimed, margin = "reported", expect.reported, expect.margin
    elif expect.at_least is not None and expect.at_most is not None:
        direction, claimed = "between", (expect.at_least + expect.at_most) / 2
        margin = (expect.at_most - expect.at_least) / 2
    elif expect.at_least is not None:
        direction, claimed = "at least", expect.at_least
    else:
        assert expect.at_most is not None, "the grammar asks for one of both"
        direction, claimed = "at most", expect.at_most
    above = direction == "at least"
    names = () if expect.of is None else (expect.of,)
    return Question(quantity, label, "value", direction, 0.0, claimed, above, margin, sample, names)


def _distinct(*names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))

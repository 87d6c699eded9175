"""Claims beside the plan that they are about: the variants they speak of, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from harness.canonical import canonical_json
from harness.config import MetricInfo, TrialSpec
from harness.document import Path_
from harness.errors import did_you_mean
from harness.expectation import (
    COST_NAMES,
    EXACT_COSTS,
    Best,
    Bounds,
    Correlation,
    CostFactor,
    Curve,
    Difference,
    Expectation,
    Interaction,
    LargestGain,
    OfMetrics,
    Reported,
    with_names,
    written_names,
    written_variants,
)
from harness.grammar import Suite
from harness.plan import Variant, recorded_name
from harness.validation import Mistake

MOST_COMPARISONS = 1000  # that one claim makes
FEWEST_RANKED = 3  # variants, or images, that a rank correlation is taken over


def variants_of(expect: Expectation, variants: Sequence[Variant], reference: str) -> tuple[str, ...]:
    """Return the variants that an expectation speaks of, also those that it does not name itself.

    Args:
        expect: the expectation; names that the plan lacks are returned as they are.
        variants: all variants of the plan.
        reference: the variant that others are compared with.
    """
    if isinstance(expect, Best):
        return (expect.best, *rivals_of(expect, variants))
    if isinstance(expect, LargestGain):
        previous = previous_of(variants)
        steps = (expect.largest_gain, *rivals_of(expect, variants))
        return tuple(dict.fromkeys(name for step in steps for name in (step, previous.get(step)) if name))
    if isinstance(expect, Correlation) and expect.over == "variants":
        return tuple(variant.name for variant in variants)
    named = [name for _, name in written_variants(expect)]
    if isinstance(expect, Correlation) and expect.of is None:
        named.append(reference)
    if isinstance(expect, Interaction) and expect.neither is None:
        named.append(reference)
    return tuple(dict.fromkeys(named))


def with_base_named(suite: Suite, names: Collection[str], controls: Mapping[str, str]) -> Suite:
    """Return the suite with claims that call the base by its name.

    It is called after one level that changes nothing; in a claim each other such level stands for it, too.

    Args:
        suite: the suite.
        names: of all variants.
        controls: such a level -> name of the base.
    """
    others = {level: base for level, base in controls.items() if level not in names}
    claims = tuple(
        claim.model_copy(update={"expect": with_names(claim.expect, others)}) for claim in suite.claims
    )
    return suite.model_copy(update={"claims": claims})


def previous_of(variants: Sequence[Variant]) -> dict[str, str]:
    """Return the steps of chains: name -> the variant before it."""
    return {variant.name: variant.previous for variant in variants if variant.previous is not None}


def rivals_of(expect: Best | LargestGain, variants: Sequence[Variant]) -> tuple[str, ...]:
    """Return the variants that the best one, or the steps that the largest gain, is compared with."""
    if expect.among is not None:
        return expect.among
    if isinstance(expect, Best):
        return tuple(variant.name for variant in variants if variant.name != expect.best)
    previous = previous_of(variants)
    before = _line(expect.largest_gain, previous)
    chain = [name for name in previous if name in before or expect.largest_gain in _line(name, previous)]
    return tuple(name for name in chain if name != expect.largest_gain)


def _line(name: str, previous: Mapping[str, str]) -> set[str]:
    """Return a variant and all that come before it in its chain."""
    line = {name}
    while name in previous and previous[name] not in line:
        name = previous[name]
        line.add(name)
    return line


# --- what may be wrong


def name_mistakes(suite: Suite, variants: Sequence[Variant]) -> Iterator[Mistake]:
    """Yield claims about variants that do not exist, or that cannot be compared as the claim asks.

    Args:
        suite: the suite.
        variants: all of its variants, the reference first.
    """
    names = [variant.name for variant in variants]
    for index, claim in enumerate(suite.claims):
        place: Path_ = ("claims", index, "expect")
        found = [
            Mistake(path, f"no variant '{name}'{did_you_mean(name, names)}")
            for path, name in written_variants(claim.expect)
            if name not in names
        ]
        found = found or [
            *_twice(claim.expect, names[0]),
            *_no_chain(claim.expect, variants),
            *_too_many(claim.expect, variants, names[0]),
        ]
        yield from [mistake.below(place) for mistake in found]


def late_epochs(suite: Suite, specs: Mapping[str, TrialSpec]) -> Iterator[Mistake]:
    """Yield claims about an epoch that leaves none after it: a mistake, or what a small profile cannot tell.

    Args:
        suite: the suite.
        specs: the specification of every variant whose configuration is right.
    """
    for index, claim in enumerate(suite.claims):
        expect = claim.expect
        if isinstance(expect, Curve) and expect.by_epoch is not None and expect.of in specs:
            epochs = specs[expect.of].train.epochs
            if expect.by_epoch >= epochs:
                wanted = (
                    f"expected an epoch before the last, '{expect.of}' has {epochs}, got {expect.by_epoch}"
                )
                yield Mistake(("claims", index, "expect", "by_epoch"), wanted)


def metric_mistakes(suite: Suite, metrics: Mapping[str, MetricInfo]) -> Iterator[Mistake]:
    """Yield claims about metrics and costs that the run does not record, or without the margin they need.

    Args:
        suite: the suite.
        metrics: name -> metric that some variant records; empty where that is not known.
    """
    for index, claim in enumerate(suite.claims):
        place: Path_ = ("claims", index, "expect")
        found = [*_unknown(claim.expect, metrics), *_without_margin(claim.expect, suite.margins)]
        yield from [mistake.below(place) for mistake in found]


def label_mistakes(suite: Suite, task: Any, specs: Mapping[str, TrialSpec]) -> Iterator[Mistake]:
    """Yield claims about parts that the data does not have."""
    asked = [
        (("claims", index, "expect", *path), label)
        for index, claim in enumerate(suite.claims)
        for path, label in written_names(claim.expect, "label")
    ]
    if not asked or not specs:
        return
    data = {canonical_json(spec.data.model_dump(mode="json")): spec for spec in specs.values()}
    labels = {
        f"{kind}={name}"
        for spec in data.values()
        for kind, names in task.labels_of(spec).items()
        for name in names
    }
    for place, label in asked:
        if label not in labels:
            yield Mistake(place, f"the data has no label '{label}'{did_you_mean(label, labels)}")


def is_cost(expect: OfMetrics, name: str, metrics: Mapping[str, MetricInfo]) -> bool:
    """Return whether what a claim calls a metric is a cost: only the mean of one variant may be one."""
    known = recorded_name(metrics, name) in metrics
    return isinstance(expect, Bounds | Reported) and not known and name in COST_NAMES


def _twice(expect: Expectation, reference: str) -> Iterator[Mistake]:
    if isinstance(expect, Difference | CostFactor):
        if expect.of == expect.versus:
            yield Mistake(("versus",), f"'{expect.of}' is compared with itself")
        return
    seen: set[str] = set()
    for path, name in written_variants(expect):
        if name in seen:
            yield Mistake(path, f"'{name}' stands here twice; once at most")
        seen.add(name)
    if isinstance(expect, Interaction) and expect.neither is None and reference in seen:
        yield Mistake((), f"'{reference}' is the reference, which stands for `neither` unless that is given")


def _no_chain(expect: Expectation, variants: Sequence[Variant]) -> Iterator[Mistake]:
    if isinstance(expect, LargestGain):
        steps = [*previous_of(variants)]
        for path, name in written_variants(expect):
            if name not in steps:
                yield Mistake(path, f"'{name}' has no step before it{did_you_mean(name, steps)}")
        if expect.largest_gain in steps and not rivals_of(expect, variants):
            yield Mistake(("largest_gain",), f"'{expect.largest_gain}' is the only step of its chain")
    if isinstance(expect, Best) and not rivals_of(expect, variants):
        yield Mistake(("best",), f"'{expect.best}' is the only variant")
    if isinstance(expect, Correlation) and expect.over == "variants" and len(variants) < FEWEST_RANKED:
        yield Mistake(("over",), f"expected {FEWEST_RANKED} variants at least to rank, got {len(variants)}")


def _too_many(expect: Expectation, variants: Sequence[Variant], reference: str) -> Iterator[Mistake]:
    if isinstance(expect, CostFactor | Correlation):
        return
    count = len(variants_of(expect, variants, reference)) * len(expect.metrics) * len(expect.labels)
    if count > MOST_COMPARISONS:
        yield Mistake((), f"expected {MOST_COMPARISONS} comparisons at most, this asks for about {count}")


def _unknown(expect: Expectation, metrics: Mapping[str, MetricInfo]) -> Iterator[Mistake]:
    """Yield metrics that nobody records, and costs where only metrics are asked about."""
    if isinstance(expect, CostFactor) or not metrics:
        return
    known = [*metrics, *(COST_NAMES if isinstance(expect, Bounds | Reported) else ())]
    for path, name in written_names(expect, "metric"):
        if isinstance(expect, OfMetrics) and is_cost(expect, name, metrics):
            if len(expect.metrics) > 1 or expect.label is not None:
                yield Mistake(path, f"'{name}' is a cost: it stands alone and has no label")
        elif recorded_name(metrics, name) not in metrics:
            more = "; costs are compared as in {cost: train_seconds, of: ..., versus: ..., direction: less}"
            told = more if name in COST_NAMES else did_you_mean(name, known)
            yield Mistake(path, f"no metric '{name}'{told}")


def _without_margin(expect: Expectation, margins: Mapping[str, float]) -> Iterator[Mistake]:
    if (
        isinstance(expect, Difference | Interaction)
        and expect.direction == "equivalent"
        and not expect.margin
    ):
        for name in expect.metrics:
            if not margins.get(name):
                message = f"'equivalent' needs a margin: here, or for {name} under `margins`"
                yield Mistake((), message)
    if isinstance(expect, Reported) and not expect.margin:
        noisy = [name for name in expect.metrics if name not in EXACT_COSTS]
        if noisy:
            message = f"'reported' needs a tolerance for {noisy[0]}, such as tolerance: 5%"
            yield Mistake((), message)

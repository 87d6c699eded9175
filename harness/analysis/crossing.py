"""The factors of a plan, and which of them are crossed: read from the levels of its variants alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.plan import Plan
from harness.planning.designs import ALL, OFF, ON, WITHOUT

TOGETHER = " with "  # between factors whose levels always change together


@dataclass(frozen=True)
class Factor:
    """What a plan varies: its levels, and the one that every variant has."""

    name: str
    title: str
    """For people: of a part of a factorial factor its name alone, where no other factor is called so."""
    levels: tuple[str, ...]
    """The level that the others are compared with first: `off`, or else that of the reference."""
    of: Mapping[str, int]
    """Variant -> index of its level."""


@dataclass(frozen=True)
class Crossing:
    """Factors that a plan combines: a factorial, whole, as a fraction or with combinations left out."""

    factors: tuple[Factor, ...]
    """At least two, with at least two levels each."""
    variants: tuple[str, ...]
    """One for every combination that is there, in the order of the plan."""
    combinations: int
    """How many there could be."""
    twins: tuple[tuple[str, str], ...]
    """(variant, the one of `variants` that is the same configuration): its values count once."""
    outside: tuple[str, ...]
    """Variants of the plan that are no combination of these factors alone."""

    def factor(self, name: str) -> Factor:
        """Return the factor of that name."""
        return next(factor for factor in self.factors if factor.name == name)


def factors_of(plan: Plan) -> tuple[Factor, ...]:
    """Return every factor that has two levels or more in the plan.

    Factors whose levels always change together cannot be told apart: they are one, "width with batch".
    """
    names = dict.fromkeys(name for variant in plan.variants for name in variant.levels)
    by_name = {name: [variant.levels[name] for variant in plan.variants] for name in names}
    varied = {name: levels for name, levels in by_name.items() if len(set(levels)) > 1}
    titles = _titles(varied)
    together: dict[tuple[int, ...], list[str]] = {}
    for name, levels in varied.items():
        together.setdefault(_pattern(levels), []).append(name)
    return tuple(_factor(plan, members, varied, titles) for members in together.values())


def _factor(
    plan: Plan, members: Sequence[str], varied: Mapping[str, Sequence[str]], titles: Mapping[str, str]
) -> Factor:
    """Return factors that move in step as one."""
    told = [" + ".join(chosen) for chosen in zip(*(varied[name] for name in members), strict=True)]
    levels = list(dict.fromkeys(told))
    if set(levels) == {ON, OFF}:
        levels = [OFF, ON]
    return Factor(
        name=TOGETHER.join(members),
        title=TOGETHER.join(titles[name] for name in members),
        levels=tuple(levels),
        of={variant.name: levels.index(level) for variant, level in zip(plan.variants, told, strict=True)},
    )


def _pattern(levels: Sequence[str]) -> tuple[int, ...]:
    """Return levels as the numbers of their first appearance: alike for factors that move in step."""
    order = {level: index for index, level in enumerate(dict.fromkeys(levels))}
    return tuple(order[level] for level in levels)


def _titles(varied: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the name of the part for `factor.part: on/off` where that is enough to know it by."""
    parts = {
        name: name.partition(".")[2] if set(levels) == {ON, OFF} and "." in name else name
        for name, levels in varied.items()
    }
    uses = Counter(parts.values())
    return {name: part if uses[part] == 1 else name for name, part in parts.items()}


def parts_of(plan: Plan, factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Return factors with those whose levels build on each other as one factor a step.

    A step of a cumulative chain is on from its level onwards; a level of `leave_one_out` is on
    except in the variant without it.  Other factors stay as they are.
    """
    return tuple(part for factor in factors for part in _steps(plan, factor) or _left_out(factor) or [factor])


def _steps(plan: Plan, factor: Factor) -> list[Factor]:
    """Return the steps of a chain; none where the levels are no chain from the first to the last."""
    chain = _chain(plan, factor)
    rest = [level for level in range(len(factor.levels)) if level not in chain]
    if not chain or rest not in ([], [0]):
        return []
    path = [*rest, *chain]
    return [_part(factor, factor.levels[level], on=path[at:]) for at, level in enumerate(path) if at]


def _chain(plan: Plan, factor: Factor) -> list[int]:
    """Return the levels that follow one another, in order; none where they branch or break off."""
    after: dict[int, int] = {}
    for variant in plan.variants:
        if variant.previous is not None and variant.previous in factor.of:
            before, level = factor.of[variant.previous], factor.of[variant.name]
            if before != level and after.setdefault(before, level) != level:
                return []
    starts = [level for level in after if level not in after.values()]
    if len(starts) != 1:
        return []
    chain = starts
    while chain[-1] in after:
        chain.append(after[chain[-1]])
    return chain if len(chain) == len(after) + 1 else []


def _left_out(factor: Factor) -> list[Factor]:
    """Return the parts of a leave_one_out factor; none where it is another one."""
    whole, *others = factor.levels
    if whole != ALL or len(others) < 2 or not all(level.startswith(WITHOUT) for level in others):
        return []
    return [
        _part(factor, level.removeprefix(WITHOUT), on={*range(len(factor.levels))} - {at})
        for at, level in enumerate(others, 1)
    ]


def _part(factor: Factor, part: str, on: Collection[int]) -> Factor:
    of = {variant: int(level in on) for variant, level in factor.of.items()}
    return Factor(f"{factor.name}.{part}", part, (OFF, ON), of)


def find_crossings(plan: Plan) -> tuple[Crossing, ...]:
    """Return the factorials of a plan: sets of factors, none within another, that it combines.

    Two factors are crossed where at least two levels of the one stand with the same two levels of
    the other.  Every crossed pair is in one set at least; of the variants that a set leaves open by other
    factors, the most that share one setting of those are taken.
    """
    factors = factors_of(plan)
    crossed = {
        frozenset((one.name, other.name))
        for one, other in combinations(factors, 2)
        if _are_crossed(one, other)
    }
    found: dict[frozenset[str], Crossing] = {}
    for pair in sorted(crossed, key=lambda pair: [factor.name in pair for factor in factors], reverse=True):
        if any(pair <= names for names in found):
            continue
        crossing = _crossing(plan, factors, _grown(pair, factors, crossed))
        if crossing is not None:
            found[frozenset(factor.name for factor in crossing.factors)] = crossing
    return tuple(crossing for names, crossing in found.items() if not any(names < others for others in found))


def _are_crossed(one: Factor, other: Factor, variants: Iterable[str] | None = None) -> bool:
    """Tell whether two levels of the one stand with the same two levels of the other."""
    beside: dict[int, set[int]] = {}
    for variant in one.of if variants is None else variants:
        beside.setdefault(one.of[variant], set()).add(other.of[variant])
    wide = [levels for levels in beside.values() if len(levels) > 1]
    return any(len(first & second) > 1 for first, second in combinations(wide, 2))


def _grown(pair: frozenset[str], factors: Sequence[Factor], crossed: set[frozenset[str]]) -> list[Factor]:
    """Return the pair with every further factor that is crossed with all so far."""
    chosen = set(pair)
    for factor in factors:
        if all(frozenset((factor.name, name)) in crossed for name in chosen):
            chosen.add(factor.name)
    return [factor for factor in factors if factor.name in chosen]


def _crossing(plan: Plan, factors: Sequence[Factor], chosen: Sequence[Factor]) -> Crossing | None:
    """Return the factorial of these factors, less those that do not vary while the others stand still."""
    while True:
        names = {factor.name for factor in chosen}
        variants = _beside_one_setting(plan, [factor for factor in factors if factor.name not in names])
        varying = [factor for factor in chosen if len({factor.of[variant] for variant in variants}) > 1]
        if len(varying) == len(chosen):
            break
        chosen = varying
    if len(chosen) < 2 or not all(_are_crossed(*pair, variants) for pair in combinations(chosen, 2)):
        return None
    return _laid_out(plan, [_restricted(factor, variants) for factor in chosen], variants)


def _beside_one_setting(plan: Plan, others: Sequence[Factor]) -> list[str]:
    """Return the variants with the most common setting of other factors; of several the first."""
    settings: dict[tuple[int, ...], list[str]] = {}
    for variant in plan.variants:
        settings.setdefault(tuple(factor.of[variant.name] for factor in others), []).append(variant.name)
    return max(settings.values(), key=len)


def _restricted(factor: Factor, variants: Sequence[str]) -> Factor:
    """Return a factor with the levels that these variants have, the first of all still the first."""
    kept = sorted({factor.of[variant] for variant in variants})
    levels = tuple(factor.levels[level] for level in kept)
    return Factor(factor.name, factor.title, levels, {name: kept.index(factor.of[name]) for name in variants})


def _laid_out(plan: Plan, factors: Sequence[Factor], variants: Sequence[str]) -> Crossing:
    cells: dict[tuple[int, ...], str] = {}
    for variant in variants:
        cells.setdefault(tuple(factor.of[variant] for factor in factors), variant)
    kept, twins = without_twins(plan, list(cells.values()))
    count = 1
    for factor in factors:
        count *= len(factor.levels)
    inside = {*kept, *(twin for twin, _ in twins)}
    return Crossing(
        factors=tuple(factors),
        variants=kept,
        combinations=count,
        twins=twins,
        outside=tuple(variant.name for variant in plan.variants if variant.name not in inside),
    )


def without_twins(plan: Plan, variants: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the variants whose trials none before them has, and (variant, the earlier one) of the others."""
    trials: dict[str, list[str]] = {name: [] for name in variants}
    for trial in plan.trials:
        for name in trial.variants:
            if name in trials:
                trials[name].append(trial.id)
    owners: dict[tuple[str, ...], str] = {}
    twins = []
    for name, ids in trials.items():
        owner = owners.setdefault(tuple(ids), name)
        if owner != name:
            twins.append((name, owner))
    return tuple(owners.values()), tuple(twins)

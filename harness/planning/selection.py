"""Choosing among variants by their levels: `exclude` in a suite, `--only` on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.document import Path_, shown
from harness.errors import HarnessError, did_you_mean
from harness.plan import Variant
from harness.validation import Mistake

Match = Mapping[str, str | tuple[str, ...]]
"""Factor -> level, or levels."""


def levels_of(variants: Sequence[Variant]) -> dict[str, dict[str, None]]:
    """Return factor -> its levels, in order, as the variants have them."""
    known: dict[str, dict[str, None]] = {}
    for variant in variants:
        for factor, level in variant.levels.items():
            known.setdefault(factor, {})[level] = None
    return known


def fits(variant: Variant, match: Match) -> bool:
    """Tell whether a variant has one of the levels of every factor named."""
    return all(variant.levels.get(factor) in _several(levels) for factor, levels in match.items())


def unknown_levels(match: Match, known: Mapping[str, Mapping[str, None]], place: Path_) -> Iterator[Mistake]:
    """Yield the factors and levels of a match, written at `place`, that `levels_of` did not return."""
    for factor, levels in match.items():
        if factor not in known:
            message = f"no factor '{factor}'{did_you_mean(factor, known)}"
            yield Mistake((*place, factor), message, of_key=True)
            continue
        for level in _several(levels):
            if level not in known[factor]:
                yield Mistake((*place, factor), f"no level '{level}'{did_you_mean(level, known[factor])}")


def chosen_only(variants: Sequence[Variant], texts: Sequence[str]) -> list[Variant]:
    """Return the reference, which comes first, and the variants that FACTOR=LEVEL texts choose.

    A variant is chosen where one of the levels that set it apart from the reference is named, and
    none of them belongs to a named factor without being named.

    Raises:
        HarnessError: a text is no FACTOR=LEVEL, or names none of the suite's.
    """
    known, named = levels_of(variants), dict[str, set[str]]()
    for text in texts:
        factor, separator, level = text.partition("=")
        place = f"--only {shown(text)}"
        if not separator:
            raise HarnessError(f"{place}: expected FACTOR=LEVEL")
        if factor not in known:
            raise HarnessError(f"{place}: no factor '{shown(factor)}'{did_you_mean(factor, known)}")
        if level not in known[factor]:
            raise HarnessError(f"{place}: no level '{shown(level)}'{did_you_mean(level, known[factor])}")
        named.setdefault(factor, set()).add(level)
    reference = variants[0]

    def is_chosen(variant: Variant) -> bool:
        apart = {f: level for f, level in variant.levels.items() if level != reference.levels.get(f)}
        asked = [level in named[factor] for factor, level in apart.items() if factor in named]
        return bool(asked) and all(asked)

    return [variant for variant in variants if variant is reference or is_chosen(variant)]


def _several(levels: str | tuple[str, ...]) -> tuple[str, ...]:
    return (levels,) if isinstance(levels, str) else levels

"""Which of the waiting trials begins next: whole seeds first, and no idle tail.

A plan is meant to be done seed by seed, so that a run that ends early leaves whole comparisons. Within
a seed the longest trial begins first (LPT, Graham 1969). A long trial of a late seed must not be left
to the end, where it would run alone: it begins as soon as it is critical, that is as long as all
that waits would take if it were spread evenly.

No slot stays idle while a trial waits, so that a run of trials of one size takes at most
2 - 1/slots times what the best order would (Graham 1966).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A waiting trial, as far as its turn goes."""

    seconds: float | None
    """What it is expected to take, in any unit that all have in common; none where nothing is known."""
    seed: int
    """Place of its seed in the plan, from 0."""
    share: float = 1.0
    """The part of all machines that it occupies: one over the trials like it that run at once."""


def in_order(waiting: Sequence[Candidate]) -> list[int]:
    """Return the indices of the waiting trials, the one to begin next in front.

    A trial that nothing is known of counts as the mean of the others. Where nothing tells two of
    them apart, and where nothing is known at all, they stay in the order given.
    """
    known = [candidate.seconds for candidate in waiting if candidate.seconds is not None]
    mean = statistics.fmean(known) if known else 0.0
    lengths = [mean if candidate.seconds is None else candidate.seconds for candidate in waiting]
    spread = sum(length * one.share for length, one in zip(lengths, waiting, strict=True))

    def turn(index: int) -> tuple[bool, int, float]:
        is_critical = lengths[index] >= spread
        return not is_critical, 0 if is_critical else waiting[index].seed, -lengths[index]

    return sorted(range(len(waiting)), key=turn)

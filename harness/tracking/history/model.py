"""What a history answers: frozen results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from harness.analysis.values import Replicate
from harness.tracking.history.accepted import Accepted
from harness.tracking.history.changes import MIN_POINTS
from harness.tracking.history.points import (
    Event,
    Info,
    LeftOut,
    Point,
    as_shown,
    as_tested,
    is_ratio,
)

Shape = Literal["step", "creep", "accepted"]


@dataclass(frozen=True)
class SeriesChange:
    """A change of the level: found, or accepted by somebody."""

    shape: Shape
    better: bool
    start: int
    """Index of the last point before it."""
    end: int
    """Index of the first point after it."""
    between: str
    """Its commits: the last known to be before it, and the first after it, "abc1234..def5678"."""
    before: float
    after: float
    size: float
    """`after` less `before`; of a measured cost their ratio."""
    low: float | None
    high: float | None
    p: float | None
    """None for an accepted change."""
    entry: Accepted | None = None


@dataclass(frozen=True)
class Line:
    """A level from one point to another; a creep runs from one level to the next."""

    start: int
    end: int
    """Index of its last point."""
    first: float
    last: float


@dataclass(frozen=True)
class Series:
    """The history of one metric of one variant."""

    info: Info
    variant: str
    title: str
    """Of the variant."""
    points: tuple[Point, ...]
    """Oldest first."""
    used: int
    """Index of the first point that counts: the last accepted change."""
    changes: tuple[SeriesChange, ...]
    """In the order of points."""
    lines: tuple[Line, ...]
    events: tuple[Event, ...]
    left_out: tuple[LeftOut, ...]
    noise: float | None
    """Standard deviation from point to point, of a measured cost as a share; none below 10 points."""
    bound: float | None
    """A change smaller than this counts as none; same unit as `noise`."""
    bound_source: str
    replicates: tuple[Replicate, ...]
    """What every mean is taken over."""
    notes: tuple[str, ...]

    @property
    def is_ratio(self) -> bool:
        """Changes are ratios, as those of measured costs."""
        return is_ratio(self.info)

    @property
    def counted(self) -> int:
        """Points that count."""
        return len(self.points) - self.used

    @property
    def judged(self) -> bool:
        """There are enough points to tell a change from noise."""
        return self.counted >= MIN_POINTS

    @property
    def level(self) -> float | None:
        """The level now: of the last line, else the mean of the points that count."""
        if self.lines:
            return self.lines[-1].last
        return (
            as_shown(self.info, float(as_tested(self.info, self.points[self.used :]).mean()))
            if self.points
            else None
        )

    @property
    def alarms(self) -> tuple[SeriesChange, ...]:
        """Changes that nobody has accepted."""
        return tuple(change for change in self.changes if change.shape != "accepted")


@dataclass(frozen=True)
class History:
    """The histories of a suite under one profile."""

    suite: str
    profile: str | None
    runs: int
    """Runs of the suite under the profile that were read."""
    earlier: int
    """Runs before them, that were not."""
    reference: str
    series: tuple[Series, ...]
    """By metric, then by variant, in the order asked for, else that of the latest run's plan."""

    @cached_property
    def infos(self) -> tuple[Info, ...]:
        """The metrics, in order."""
        return tuple({one.info.name: one.info for one in self.series}.values())

    def of(self, info: Info) -> tuple[Series, ...]:
        """Return the series of one metric."""
        return tuple(one for one in self.series if one.info.name == info.name)

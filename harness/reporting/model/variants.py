"""One section per variant, and what became of its trials."""

from __future__ import annotations

from dataclasses import dataclass

from harness.reporting.model.pictures import PictureRow
from harness.reporting.model.tables import Link, Sentence, Table, Theme


@dataclass(frozen=True)
class VariantSection:
    """All about one variant."""

    anchor: str
    title: str
    colour: str
    mark: int
    why: str | None
    parameters: Table
    reported: Table | None
    observations: tuple[Theme, ...]
    conclusion: Sentence
    pictures: tuple[PictureRow, ...]
    pictures_note: str
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Failure:
    """One trial that did not end well."""

    title: str
    error_class: str
    last_line: str
    advice: str
    evidence: str
    anchor: str


@dataclass(frozen=True)
class TrialGroup:
    """The trials of one variant, for the record."""

    anchor: str
    title: str
    colour: str
    mark: int
    table: Table


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from."""

    facts: tuple[tuple[str, str], ...]
    statements: tuple[str, ...]
    trials: tuple[TrialGroup, ...]

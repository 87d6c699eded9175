"""Words, cells and tables: what every section is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sentence:
    """One generated sentence and the place in the page that holds its trials."""

    text: str
    anchor: str | None = None


@dataclass(frozen=True)
class Verdict:
    """A judgement for the eye: a sign, a word and the role of a colour."""

    sign: str
    word: str
    tone: str


@dataclass(frozen=True)
class Column:
    """Head of a table column; numbers stand right."""

    title: str
    unit: str = ""
    direction: str = ""
    """Arrow that points to the better side."""
    numeric: bool = True
    hint: str = ""
    """What the title stands for, where it is an abbreviation."""


@dataclass(frozen=True)
class Cell:
    """One cell; `note` is the small grey part, `strong` stands out."""

    text: str
    note: str = ""
    strong: bool = False
    verdict: Verdict | None = None
    code: bool = False
    heat: int | None = None
    """Step of the shade from 0 to 9; none leaves the cell plain."""
    links: tuple[Link, ...] = ()
    """Before the text."""


@dataclass(frozen=True)
class Row:
    """One table row; its label is the row's head."""

    label: str
    cells: tuple[Cell, ...]
    colour: str | None = None
    """Role of the variant's colour."""
    mark: int = 0
    """Shape of the variant's dot, below `MARKS`."""
    anchor: str | None = None
    """Address of the row itself."""
    link: str | None = None
    """Address that the label leads to."""


@dataclass(frozen=True)
class Table:
    """A table; `corner` is the head over the labels."""

    caption: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Theme:
    """Observations that belong together."""

    title: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Link:
    """An address that a suite or a tracker gave; `url` is none where it was refused."""

    title: str
    url: str | None


@dataclass(frozen=True)
class Section:
    """One entry of the list of sections."""

    anchor: str
    title: str
    sub: bool = False
    """It belongs to the section above."""

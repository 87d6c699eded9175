"""Pictures and how they stand beside each other."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows."""

    name: str
    """File name without ending, unique in the report."""
    png: bytes
    width: int
    height: int
    alt: str

    @property
    def data_uri(self) -> str:
        """The picture as an address that needs no file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class PictureRow:
    """Pictures side by side under one label; none where there is nothing to show."""

    label: str
    pictures: tuple[Picture | None, ...]
    colour: str | None = None
    mark: int = 0


@dataclass(frozen=True)
class Overview:
    """Variants down, epochs across, the same images everywhere."""

    columns: tuple[str, ...]
    rows: tuple[PictureRow, ...]
    caption: str

"""Where trackers show a trial, as a cell of a table."""

from __future__ import annotations

from urllib.parse import urlsplit

from harness.reporting.model import Cell
from harness.reporting.names import web_link
from harness.trackers.told import from_text


def tracker_cell(trackers: object) -> Cell:
    """Return the links, paths and notes of a trial's trackers.

    An http or https address is a link; another address is refused, as `javascript:` has to be; what has no
    scheme is a path, and shown as text.

    Args:
        trackers: the column of the trial.
    """
    links, paths, notes = [], [], []
    for name, told in from_text(trackers).items():
        if told.link is not None and _is_address(told.link):
            links.append(web_link(name, told.link))
        elif told.link is not None:
            paths.append(f"{name}: {told.link}")
        if told.note is not None:
            notes.append(f"{name}: {told.note}")
    empty = "" if links or notes else "–"
    return Cell("; ".join(paths) or empty, note=f" {'; '.join(notes)}" if notes else "", links=tuple(links))


def _is_address(text: str) -> bool:
    try:
        return bool(urlsplit(text).scheme)
    except ValueError:
        return True

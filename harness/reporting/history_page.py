"""A page of histories: one HTML file that needs no other, and no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from harness.reporting.history import history_page
from harness.reporting.render import Folder, render_page
from harness.tracking.history.model import History

TEMPLATE = "_history_page.html.j2"


def write_history_page(history: History, file: Path, search_path: Sequence[Folder] | None = None) -> None:
    """Write the page of a history.

    Args:
        history: of any metrics and variants.
        file: to write; its folder is made where it is missing.
        search_path: folders of templates, the first that has a file wins; none for the bundled ones.

    Raises:
        HarnessError: the file cannot be written.
    """
    folders = [files("harness.reports")] if search_path is None else search_path
    render_page(TEMPLATE, {"page": history_page(history)}, folders, file)

"""Where a trial puts what it finds: the only thing it knows of the world around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

Row = dict[str, Any]


class Sink(Protocol):
    """Takes the results of one attempt. Called from one thread, in the order of the epochs."""

    def describe(self, **facts: Any) -> None:
        """Take facts of the trial as a whole: columns of `trials`, such as `parameters`."""

    def report(self, epoch: int, metrics: list[Row], costs: list[Row]) -> None:
        """Take the rows of one epoch and make them, and all before, durable."""

    def picture(self, name: str, epoch: int | None, png: bytes) -> None:
        """Take a strip of pictures; durable with the next report."""

    def images(self, epoch: int, columns: dict[str, list[Any]]) -> None:
        """Take the table of images of the last epoch, see docs/store.md; durable with the next report.

        Args:
            epoch: the last one.
            columns: name -> one entry an image; `index` integers, `label/<kind>` and `found/<kind>` names,
                the rest numbers; none where there is nothing.
        """

    def weights(self, name: str, epoch: int, path: Path) -> None:
        """Take note of a file of weights below `folder`; durable with the next report."""

    def state_saved(self, state: Path) -> None:
        """Take a whole state below `folder / "state"`: durable when this returns; only then older ones go."""

    def progressed(self) -> None:
        """Note that the trial is alive; called at every step and every validated batch, so it is cheap."""

    def stop_requested(self) -> bool:
        """Tell whether the trial is to write its state and end. Asked at every step."""

    @property
    def folder(self) -> Path:
        """Folder of this attempt, for its states and weights; it is there."""

    @property
    def resume_from(self) -> Path | None:
        """State of an earlier attempt to go on from; none for a fresh start."""


class DroppingSink:
    """A sink that keeps nothing and never asks to stop, for processes whose results nobody wants.

    Args:
        folder: for what the loop writes.
        resume_from: state to go on from; none for a fresh start.
    """

    def __init__(self, folder: Path, resume_from: Path | None = None) -> None:
        self.folder = folder
        self.resume_from = resume_from

    def describe(self, **facts: Any) -> None:
        """Drop the facts."""

    def report(self, epoch: int, metrics: list[Row], costs: list[Row]) -> None:
        """Drop the rows."""

    def picture(self, name: str, epoch: int | None, png: bytes) -> None:
        """Drop the picture."""

    def images(self, epoch: int, columns: dict[str, list[Any]]) -> None:
        """Drop the table."""

    def weights(self, name: str, epoch: int, path: Path) -> None:
        """Drop the note."""

    def state_saved(self, state: Path) -> None:
        """Drop the note."""

    def progressed(self) -> None:
        """Nobody waits."""

    def stop_requested(self) -> bool:
        """Never."""
        return False

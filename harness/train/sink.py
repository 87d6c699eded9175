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

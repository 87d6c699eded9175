"""What the trackers of Accelerate have in common here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker


def started(inner: GeneralTracker) -> None:
    """Start a tracker of Accelerate: its classes ask the state of the process first."""
    from accelerate import PartialState

    PartialState(cpu=True)
    inner.start()

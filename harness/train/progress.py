"""How far a half-done trial has come, as its states on disk tell. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

PROGRESS = "progress.json"


@dataclass
class Progress:
    """How far a trial has come, and what it carries from epoch to epoch."""

    epoch: int = 1
    """The epoch under way, counted from 1."""
    batch: int = 0
    """Batches of this epoch that are done."""
    step: int = 0
    """Optimizer steps taken."""
    loss_sums: dict[str, float] = field(default_factory=dict)
    """Sums over the samples of this epoch so far, by loss term."""
    samples: int = 0
    """Samples of this epoch so far."""
    unmeasured: int = 0
    """Samples of this epoch whose batch had a loss of NaN or infinity, in `fp16` alone; in no sum."""
    skipped: int = 0
    """Steps of this epoch that changed nothing, since the gradient was NaN or infinite; in `fp16` alone."""
    skipped_in_a_row: int = 0
    """Such steps since the last one that changed something."""
    epoch_seconds: float = 0.0
    """Time that the steps of this epoch took."""
    best: float | None = None
    """Best value of the primary metric."""
    best_epoch: int = 0
    past: dict[str, list[float]] = field(default_factory=dict)
    """Validation loss, `loss`, and primary metric, `primary`, of every epoch that is done."""
    finished: bool = False
    """Whether training has come to its end."""


def newest_state(folder: Path) -> Path | None:
    """Return the newest whole state below `folder`, or none."""
    return max(folder.glob("step-*"), default=None)


def read_progress(state: Path) -> Progress:
    """Return how far a state has come."""
    return Progress(**json.loads((state / PROGRESS).read_text()))

"""Ending trials early that do not look good: off unless a suite, or who runs it, asks for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.config import Frozen


class Pruning(Frozen):
    """Which trials are ended before their last epoch, by the primary metric on the validation split."""

    scheduler: Literal["asha", "median"]
    """`asha`: at epochs that grow by `reduction_factor`, all but the best part of the trials that came so
    far end. `median`: a trial ends whose best value is worse than the median of the others' means."""
    grace_epochs: int = Field(default=1, ge=1)
    """Epochs that every trial has before it may be ended."""
    reduction_factor: float = Field(default=4.0, gt=1)
    """Of `asha`: one trial in so many goes on at each step."""
    fewest_trials: int = Field(default=3, ge=1)
    """Of `median`: no trial is ended before so many others have come as far."""

    @property
    def note(self) -> str:
        """What a reader of the results should know."""
        return f"trials are pruned ({self}); those that were enter no mean and no verdict"

    def __str__(self) -> str:
        """Return "asha, after 1 epoch, one trial in 4 goes on at each step"."""
        own = (
            f"one trial in {self.reduction_factor:g} goes on at each step"
            if self.scheduler == "asha"
            else f"against {self.fewest_trials} others at the least"
        )
        grace = f"{self.grace_epochs} epoch{'s' * (self.grace_epochs > 1)}"
        return f"{self.scheduler}, after {grace}, {own}"

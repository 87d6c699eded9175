"""Learning-rate schedules: functions of the step alone, so that a resumed trial needs no state."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.config import ComponentConfig


class ConstantConfig(ComponentConfig):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"


class WarmupCosineConfig(ComponentConfig):
    """A linear rise, then half a cosine down."""

    name: Literal["warmup_cosine"] = "warmup_cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of all steps in which the rate rises linearly to its full height."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Share of the full height that the cosine ends at."""


class Constant:
    """The factor 1 at every step."""

    Config = ConstantConfig

    def __init__(self, config: ConstantConfig, total_steps: int) -> None:
        pass

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""
        return 1.0


class WarmupCosine:
    """Linear warm-up, then cosine decay (Loshchilov and Hutter, arXiv:1608.03983, without restarts)."""

    Config = WarmupCosineConfig

    def __init__(self, config: WarmupCosineConfig, total_steps: int) -> None:
        self.final = config.final
        self.total_steps = total_steps
        self.warmup_steps = round(config.warmup * total_steps)

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))

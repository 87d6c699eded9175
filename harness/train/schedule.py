"""Learning-rate schedules: functions of the step alone, so that a resumed trial needs no state."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from typing import Annotated, Literal

from pydantic import Field, field_validator

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


class LinearConfig(ComponentConfig):
    """A linear rise, then a linear fall."""

    name: Literal["linear"] = "linear"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of all steps in which the rate rises linearly to its full height."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Share of the full height that the fall ends at."""


class StepConfig(ComponentConfig):
    """The full height at first, and a fixed factor lower after each of some points."""

    name: Literal["step"] = "step"
    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=(0.5, 0.75), min_length=1)
    """Shares of all steps after which the rate falls."""
    gamma: float = Field(default=0.1, gt=0, lt=1)
    """Factor of the rate at each fall."""

    @field_validator("at")
    @classmethod
    def in_rising_order(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        """Refuse repeats and sort, so that the order in a suite does not matter."""
        if len(set(shares)) < len(shares):
            raise ValueError(f"each share once at most, got {', '.join(map(str, shares))}")
        return tuple(sorted(shares))


class Constant:
    """The factor 1 at every step."""

    Config = ConstantConfig

    def __init__(self, config: ConstantConfig, total_steps: int) -> None:
        pass

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""
        return 1.0


class _WarmedUp(ABC):
    """A linear rise to the full height, then a fall to `final` that a subclass gives."""

    def __init__(self, config: WarmupCosineConfig | LinearConfig, total_steps: int) -> None:
        self.final = config.final
        self.total_steps = total_steps
        self.warmup_steps = round(config.warmup * total_steps)

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.fall((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))

    @abstractmethod
    def fall(self, progress: float) -> float:
        """Return the factor where `progress`, from 0 to 1, of the steps after the warm-up are done."""


class WarmupCosine(_WarmedUp):
    """Linear warm-up, then cosine decay (Loshchilov and Hutter, arXiv:1608.03983, without restarts)."""

    Config = WarmupCosineConfig

    def fall(self, progress: float) -> float:
        """Return half a cosine."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


class Linear(_WarmedUp):
    """Linear warm-up, then linear decay, as Devlin et al. train BERT (arXiv:1810.04805)."""

    Config = LinearConfig

    def fall(self, progress: float) -> float:
        """Return a straight line."""
        return 1 - (1 - self.final) * progress


class Step:
    """Falls at milestones, as `torch.optim.lr_scheduler.MultiStepLR` counts them."""

    Config = StepConfig

    def __init__(self, config: StepConfig, total_steps: int) -> None:
        self.gamma = config.gamma
        self.milestones = [round(share * total_steps) for share in config.at]

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""
        falls = bisect_right(self.milestones, step)
        return float(self.gamma**falls)

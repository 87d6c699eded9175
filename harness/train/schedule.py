"""Learning-rate schedules: functions of the step, and of the validations so far where they `follow` those.

None keeps a state of its own: what a schedule follows lies in `Progress`, so that a resumed trial goes on
exactly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator

from harness.config import ComponentConfig


@dataclass(frozen=True)
class Watched:
    """What a schedule may follow: one value for every epoch that is done."""

    values: Sequence[float]
    direction: Literal["lower", "higher"]
    """Which way is better."""


class Schedule(ABC):
    """The learning rate of every step, as a factor of the optimizer's own."""

    @abstractmethod
    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""

    def follow(self, past: Mapping[str, Watched]) -> None:  # noqa: B027  (most schedules follow nothing)
        """Take note of all validations so far; called before the first step and after every epoch.

        Args:
            past: `loss`, the validation loss, and `primary`, the primary metric.
        """


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


class CosineConfig(ComponentConfig):
    """Half a cosine down, from the first step on."""

    name: Literal["cosine"] = "cosine"
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


class PlateauConfig(ComponentConfig):
    """The full height at first, and a fixed factor lower whenever validation has stopped getting better."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.1, gt=0, lt=1)
    """Factor of the rate at each fall."""
    patience: int = Field(default=10, ge=0)
    """Epochs in a row without a better value that are let pass; the rate falls after one more."""
    threshold: float = Field(default=1e-4, ge=0, lt=1)
    """Share of the best value by which another has to be better to count."""
    cooldown: int = Field(default=0, ge=0)
    """Epochs after a fall in which none is counted."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Share of the full height below which the rate never falls."""
    watch: Literal["loss", "primary"] = "loss"
    """What has to get better: the validation loss, or the primary metric."""


class Constant(Schedule):
    """The factor 1 at every step."""

    Config = ConstantConfig

    def __init__(self, config: ConstantConfig, total_steps: int) -> None:
        pass

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""
        return 1.0


class _WarmedUp(Schedule):
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


class Cosine(Schedule):
    """Cosine decay (Loshchilov and Hutter, arXiv:1608.03983), as `torch.optim.lr_scheduler.CosineAnnealingLR`
    over all steps."""

    Config = CosineConfig

    def __init__(self, config: CosineConfig, total_steps: int) -> None:
        self.final = config.final
        self.total_steps = total_steps

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * step / self.total_steps))


class Linear(_WarmedUp):
    """Linear warm-up, then linear decay, as Devlin et al. train BERT (arXiv:1810.04805)."""

    Config = LinearConfig

    def fall(self, progress: float) -> float:
        """Return a straight line."""
        return 1 - (1 - self.final) * progress


class Step(Schedule):
    """Falls at milestones, as `torch.optim.lr_scheduler.MultiStepLR` counts them."""

    Config = StepConfig

    def __init__(self, config: StepConfig, total_steps: int) -> None:
        self.gamma = config.gamma
        self.milestones = [round(share * total_steps) for share in config.at]

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at `step`, counted from 0."""
        falls = bisect_right(self.milestones, step)
        return float(self.gamma**falls)


class Plateau(Schedule):
    """Falls where validation stands still, as `torch.optim.lr_scheduler.ReduceLROnPlateau` does."""

    Config = PlateauConfig

    def __init__(self, config: PlateauConfig, total_steps: int) -> None:
        self.config = config
        self.current = 1.0

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate, the same at every step of an epoch."""
        return self.current

    def follow(self, past: Mapping[str, Watched]) -> None:
        """Find the factor anew from all values so far, so that no state has to be kept."""
        import torch

        watched = past[self.config.watch]
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
        replayed = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode="min" if watched.direction == "lower" else "max",
            factor=self.config.factor,
            patience=self.config.patience,
            threshold=self.config.threshold,
            cooldown=self.config.cooldown,
            min_lr=self.config.final,
            eps=0.0,
        )
        for value in watched.values:
            replayed.step(value)
        self.current = float(optimizer.param_groups[0]["lr"])

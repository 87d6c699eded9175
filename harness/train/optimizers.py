"""Optimizers, each a Config and the torch optimizer it stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from harness.config import ComponentConfig

Decay = Annotated[float, Field(ge=0, lt=1)]


class _AdamConfig(ComponentConfig):
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate at the top of the schedule."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the denominator."""


class AdamWConfig(_AdamConfig):
    """AdamW: Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101)."""

    name: Literal["adamw"] = "adamw"
    weight_decay: float = Field(default=1e-2, ge=0)
    """Share of a weight that a step of learning rate 1 would take away."""


class AdamConfig(_AdamConfig):
    """Adam (Kingma and Ba, arXiv:1412.6980)."""

    name: Literal["adam"] = "adam"
    weight_decay: float = Field(default=0.0, ge=0)
    """Factor of the L2 penalty that is added to the gradient."""


class SGDConfig(ComponentConfig):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    lr: float = Field(default=1e-2, gt=0)
    """Learning rate at the top of the schedule."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the running sum of gradients."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Factor of the L2 penalty that is added to the gradient."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class _Optimizer:
    """Builds a torch optimizer whose parameters are those of its Config, name for name."""

    Config: ClassVar[type[ComponentConfig]]
    torch_class: ClassVar[type[torch.optim.Optimizer]]
    elementwise: ClassVar[bool] = True
    """Each number is updated by itself, so that processes can share a weight out among them."""

    @classmethod
    def build(
        cls, config: ComponentConfig, parameters: Iterable[torch.nn.Parameter]
    ) -> torch.optim.Optimizer:
        """Return the optimizer for `parameters`."""
        return cls.torch_class(parameters, **config.model_dump(exclude={"name"}))


class AdamW(_Optimizer):
    """Builds `torch.optim.AdamW`."""

    Config = AdamWConfig
    torch_class = torch.optim.AdamW


class Adam(_Optimizer):
    """Builds `torch.optim.Adam`."""

    Config = AdamConfig
    torch_class = torch.optim.Adam


class SGD(_Optimizer):
    """Builds `torch.optim.SGD`."""

    Config = SGDConfig
    torch_class = torch.optim.SGD

"""Optimizers, each a Config and the torch optimizer it stands for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator

from harness.config import ComponentConfig
from harness.errors import did_you_mean

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


TIMM_LEFT_OUT = ("bnb*", "fused*", "adahessian", "kron*")
"""Kinds of timm that need a library for CUDA, a second derivative, or do not resume exactly."""
# fmt: off
TIMM_ELEMENTWISE = frozenset([
    "adabelief", "adadelta", "adagrad", "adam", "adamax", "adamc", "adamw", "adamwlegacy", "adan", "adanw",
    "adopt", "adoptc", "adoptw", "laprop", "lapropc", "lion", "lionc", "madgrad", "madgradw", "momentum",
    "nadam", "nadamc", "nadamlegacy", "nadamw", "nesterov", "nesterovw", "radabelief", "radam",
    "radamlegacy", "radamw", "rmsprop", "rmsproptf", "rmsproptfc", "rmsproptfw", "sgd", "sgdc", "sgdw",
])
# fmt: on
"""Kinds of timm that update each number of a weight by itself; the others look at norms, means or whole
matrices."""
SETTINGS_OF_THEIR_OWN = ("lr", "weight_decay", "momentum")


class TimmConfig(ComponentConfig):
    """An optimizer of timm, by its name there (Wightman, `timm.optim`)."""

    name: Literal["timm"] = "timm"
    kind: str
    """Such as `lion`, `lamb`, `adafactor`, `nadamw`, `radam`, `rmsprop`: a name of
    `timm.optim.list_optimizers()`."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate at the top of the schedule."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of every weight, biases too; decoupled or not as the kind has it."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """For kinds that have it, such as `sgdw` and `lars`."""
    options: dict[str, int | float | bool | str | tuple[float, ...] | None] = Field(default_factory=dict)
    """Further arguments of the kind, such as `betas` or `eps`; what is not given has timm's default."""

    @field_validator("kind")
    @classmethod
    def _of_timm(cls, kind: str) -> str:
        if kind not in timm_kinds():
            known = did_you_mean(kind, timm_kinds())
            raise ValueError(f"timm has no optimizer '{kind}' that trains here{known}")
        return kind

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        from timm.optim import get_optimizer_class

        known = [
            name
            for name in inspect.signature(get_optimizer_class(self.kind, bind_defaults=False)).parameters
            if name not in ("self", "params")
        ]
        for name in self.options:
            if name in SETTINGS_OF_THEIR_OWN:
                raise ValueError(f"options.{name}: write {name} beside kind, not among the options")
            if name not in known:
                near = did_you_mean(name, known)
                raise ValueError(f"options.{name}: {self.kind} has no such argument{near}")
        try:
            Timm.build(self, [torch.nn.Parameter(torch.zeros(2, 2))])
        except (TypeError, ValueError, AssertionError) as error:
            raise ValueError(f"{self.kind} cannot be built with these settings: {error}") from error
        return self

    def idle(self) -> tuple[str, ...]:
        """Return `momentum` where the kind has none."""
        from timm.optim import get_optimizer_info

        return () if get_optimizer_info(self.kind).has_momentum else ("momentum",)


@cache
def timm_kinds() -> tuple[str, ...]:
    """Return the names of the optimizers of timm that train here, sorted."""
    from timm.optim import list_optimizers

    return tuple(str(kind) for kind in list_optimizers(exclude_filters=list(TIMM_LEFT_OUT)))


class Timm:
    """Builds an optimizer by `timm.optim.create_optimizer_v2`."""

    Config = TimmConfig

    @staticmethod
    def elementwise(config: TimmConfig) -> bool:
        """Return whether the kind updates each number by itself."""
        return config.kind in TIMM_ELEMENTWISE

    @classmethod
    def build(cls, config: TimmConfig, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer for `parameters`, all in one group."""
        from timm.optim import create_optimizer_v2

        create: Callable[..., torch.optim.Optimizer] = create_optimizer_v2
        settings: dict[str, Any] = config.model_dump(include=set(SETTINGS_OF_THEIR_OWN))
        return create(list(parameters), opt=config.kind, **settings, **config.options)

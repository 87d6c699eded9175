"""What the loop asks of a strategy, and what all strategies share."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import convert_outputs_to_fp32
from torch import Tensor, nn

from harness.config import StrategyName, TrialSpec
from harness.errors import TrialError
from harness.train.batch_statistics import WholeBatchStatistics
from harness.train.processes import Processes

Weights = dict[str, Tensor]
HALF: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Type that a forward pass computes in, by `train.precision`; none for fp32."""
BuildOptimizer = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class WholeOptimizer:
    """The state of an optimizer, whatever the strategy: by the names of the parameters."""

    kind: str
    """Name of the torch optimizer, such as AdamW."""
    state: dict[str, dict[str, Any]]
    """Parameter -> name -> value: tensors of the parameter's whole shape, and plain values."""
    groups: list[dict[str, Any]]
    """Settings of every group of parameters, such as lr."""
    scaler: dict[str, Any] | None = None
    """State of torch's gradient scaler, in `fp16` alone."""


class Strategy(ABC):
    """One model and its optimizer, trained by some processes. All of them make the same calls.

    Attributes:
        model: what a training step calls.
        module: the model itself, as validation calls it.
        optimizer: torch's, whose `param_groups` hold the learning rates that the next step uses.
        groups: names of the parameters of every group of the optimizer.
        shapes: of all parameters and buffers when they are whole.
    """

    name: StrategyName
    gathers = False
    """Whether a forward pass needs all processes, each at the same time."""
    channels_last = False
    """Whether it keeps the order of weights in memory, which makes convolutions faster."""
    scales = False
    """Whether it scales the loss, so that a step with a gradient of NaN or infinity is part of training:
    the weights stay, and the scale falls."""
    model: nn.Module
    module: nn.Module
    optimizer: torch.optim.Optimizer
    groups: list[list[str]]
    shapes: dict[str, torch.Size]
    example: Mapping[str, Tensor]

    def __init__(self, spec: TrialSpec, accelerator: Accelerator, processes: Processes) -> None:
        self.spec = spec
        self.accelerator = accelerator
        self.processes = processes

    def prepare(
        self, model: nn.Module, build: BuildOptimizer, *, micro_batches: int, example: Mapping[str, Tensor]
    ) -> None:
        """Take over a model and make its optimizer.

        Args:
            model: whole, in fp32, on the device, alike in all processes.
            build: makes the optimizer of some parameters.
            micro_batches: of one optimizer step.
            example: the model's arguments for one sample.

        Raises:
            TrialError: what is in force is not what was asked for.
        """
        self.example = example
        self.shapes = {name: value.shape for name, value in model.state_dict().items()}
        self.module = model
        self.wrap(model, build, micro_batches)
        self.assert_in_force(micro_batches)

    @abstractmethod
    def wrap(self, model: nn.Module, build: BuildOptimizer, micro_batches: int) -> None:
        """Make what trains the model."""

    @abstractmethod
    def assert_in_force(self, micro_batches: int) -> None:
        """Raise TrialError where what trains the model is not what was asked for."""

    @contextlib.contextmanager
    def forward(self, *, last: bool) -> Iterator[None]:
        """Surround the forward pass of a micro-batch in training: its precision, and batch statistics
        over all processes. The `last` of a step is the one whose backward pass averages the gradient."""
        with contextlib.ExitStack() as around:
            around.enter_context(self.accelerator.autocast())
            if self.processes.size > 1:
                around.enter_context(WholeBatchStatistics())
            yield

    @abstractmethod
    def zero_grad(self) -> None:
        """Forget the gradients."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a micro-batch; after the last it is the mean over the processes."""

    @abstractmethod
    def step(self) -> float:
        """Clip the gradient and change the weights, unless its norm is NaN or infinite.

        Returns:
            The L2 norm of the gradient before it was clipped.
        """

    @abstractmethod
    def whole_weights(self) -> Weights:
        """Return all parameters and buffers in fp32, in the leading process; nothing in the others."""

    @abstractmethod
    def whole_optimizer(self) -> WholeOptimizer | None:
        """Return the state of the optimizer on the CPU, in the leading process; none in the others."""

    @abstractmethod
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `whole_weights` returned, of any strategy."""

    @abstractmethod
    def load_optimizer(self, whole: WholeOptimizer) -> None:
        """Take over what `whole_optimizer` returned, of any strategy."""


def expect(what: str, asked: object, found: object) -> None:
    """Refuse to train otherwise than asked: a silent fall-back would be judged as the thing itself.

    Raises:
        TrialError: the two differ.
    """
    if asked != found:
        raise TrialError(f"expected {what} {asked}, found {found}")


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that train; one that stands at two places comes once."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def autocast_forward(model: nn.Module, device: torch.device, half: torch.dtype = torch.bfloat16) -> None:
    """Let a model compute in `half` and return fp32, its weights staying fp32, as Accelerate does alone.

    Libraries that cast the weights themselves would reduce and average gradients in bf16.
    """
    context = torch.autocast(device.type, dtype=half)
    inner = context(type(model).forward)
    model.forward = MethodType(convert_outputs_to_fp32(inner), model)


def group_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[list[str]]:
    """Return the names of the parameters of every group of an optimizer."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [[names[parameter] for parameter in group["params"]] for group in optimizer.param_groups]


def settings_of(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings of every group of parameters, such as an optimizer's, without the parameters."""
    return [{name: value for name, value in group.items() if name != "params"} for group in groups]


def one_by_one(weights: Mapping[str, Tensor]) -> Weights:
    """Return tensors that share no memory, contiguous, on the CPU: a parameter may stand at two places."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()}

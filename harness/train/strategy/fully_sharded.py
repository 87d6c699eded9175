"""Weights, gradients and optimizer state in parts: `fully_shard` of torch (FSDP2).

Accelerate has FSDP for GPUs alone, so that the model is sharded here, on any device.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.modules.module import register_module_forward_pre_hook

from harness.config import StrategyName
from harness.errors import TrialError
from harness.train.strategy.base import (
    BuildOptimizer,
    Strategy,
    Weights,
    WholeOptimizer,
    autocast_forward,
    expect,
    group_names,
    one_by_one,
    settings_of,
    trainable,
)

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class FullySharded(Strategy):
    """Every process holds a part of each weight; whole ones come together block by block."""

    name: StrategyName = "fsdp"
    gathers = True

    def wrap(self, model: nn.Module, build: BuildOptimizer, micro_batches: int) -> None:
        """Shard a model, block by block, and make the optimizer of the parts."""
        device = self.accelerator.device
        if self.spec.train.precision == "bf16":
            autocast_forward(model, device)
        mesh = init_device_mesh(device.type, (self.processes.size,))
        for block in blocks(model, self.example):
            fully_shard(block, mesh=mesh)
        self.sharded: FSDPModule = fully_shard(model, mesh=mesh)
        self.model = model
        self.optimizer = build(trainable(model))
        self.groups = group_names(model, self.optimizer)

    def assert_in_force(self, micro_batches: int) -> None:
        """Raise TrialError where a weight is whole, or shared by other processes."""
        if not isinstance(self.model, FSDPModule):
            raise TrialError(f"expected a sharded model, found a {type(self.model).__name__}")
        for name, parameter in self.model.named_parameters():
            if not isinstance(parameter, DTensor):
                raise TrialError(f"expected all parameters in parts, {name} is whole")
            expect(f"processes that share {name}", self.processes.size, parameter.device_mesh.size())
            expect(f"weights {name} in", torch.float32, parameter.dtype)

    @contextlib.contextmanager
    def forward(self, *, last: bool) -> Iterator[None]:
        """Surround the forward pass of a micro-batch in training."""
        self.sharded.set_requires_gradient_sync(last)
        with super().forward(last=last):
            yield

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad()

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a micro-batch."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self) -> float:
        """Clip the gradient and change the weights, unless its norm is NaN or infinite; return the norm."""
        limit = self.spec.train.clip_norm or float("inf")
        found = torch.nn.utils.clip_grad_norm_(trainable(self.model), limit)
        norm = float(found.full_tensor() if isinstance(found, DTensor) else found)
        if math.isfinite(norm):
            self.optimizer.step()
        return norm

    def whole_weights(self) -> Weights:
        """Return all parameters and buffers, in the leading process."""
        whole: dict[str, Any] = get_model_state_dict(self.model, options=WHOLE)
        return one_by_one(whole) if self.processes.leads else {}

    def whole_optimizer(self) -> WholeOptimizer | None:
        """Return the state of the optimizer, in the leading process."""
        whole: dict[str, Any] = get_optimizer_state_dict(self.model, self.optimizer, options=WHOLE)
        if not self.processes.leads:
            return None
        return WholeOptimizer(
            type(self.optimizer).__name__, whole["state"], settings_of(self.optimizer.param_groups)
        )

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over parameters and buffers: every process its part of them."""
        set_model_state_dict(self.model, dict(weights), options=StateDictOptions(full_state_dict=True))

    def load_optimizer(self, whole: WholeOptimizer) -> None:
        """Take over the state of the optimizer: every process its part of it."""
        groups = [
            {**settings, "params": names} for settings, names in zip(whole.groups, self.groups, strict=True)
        ]
        own = {name for names in self.groups for name in names}
        state = {name: values for name, values in whole.state.items() if name in own}
        document: dict[str, Any] = {"state": state, "param_groups": groups}
        set_optimizer_state_dict(
            self.model,
            self.optimizer,
            document,
            options=StateDictOptions(full_state_dict=True),
        )


def blocks(model: nn.Module, example: Mapping[str, Tensor]) -> list[nn.Module]:
    """Return the parts of a model whose weights come together at a time.

    They are the children of the model that a forward pass calls; of those that it does not call, such
    as lists, their children. What shares a parameter with another part stays with the whole model,
    which gathers it once.

    Args:
        model: whole.
        example: its arguments for one sample.
    """
    called = called_modules(model, example)
    uses = Counter(parameter for module in model.modules() for parameter in module.parameters(recurse=False))

    def below(module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            yield from [child] if child in called else below(child)

    return [
        block
        for block in dict.fromkeys(below(model))
        if (parameters := list(block.parameters())) and all(uses[parameter] == 1 for parameter in parameters)
    ]


def called_modules(model: nn.Module, example: Mapping[str, Tensor]) -> set[nn.Module]:
    """Return the modules that a forward pass calls, those alone whose methods are used left out."""
    called: set[nn.Module] = set()
    hook = register_module_forward_pre_hook(lambda module, _: called.add(module))
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(**example)
    finally:
        hook.remove()
        model.train(was_training)
    return called

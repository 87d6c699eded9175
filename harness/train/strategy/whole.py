"""Whole copies: one process alone, and DistributedDataParallel."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harness.config import StrategyName, TrialSpec
from harness.errors import TrialError
from harness.train.processes import Processes
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
)


class Single(Strategy):
    """One process that holds everything."""

    name: StrategyName = "single"
    channels_last = True

    def __init__(self, spec: TrialSpec, accelerator: Accelerator, processes: Processes) -> None:
        super().__init__(spec, accelerator, processes)
        # Accelerate has fp16 for GPUs alone, so that loss and gradient are scaled here, on any device.
        self.scales = spec.train.precision == "fp16"
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=self.scales)
        self.statistics: list[Tensor] = []

    def wrap(self, model: nn.Module, build: BuildOptimizer, micro_batches: int) -> None:
        """Take over a model and make its optimizer, by Accelerate."""
        if self.scales:
            autocast_forward(model, self.accelerator.device, torch.float16)
        self.optimizer = build(list(model.parameters()))
        self.groups = group_names(model, self.optimizer)
        with warnings.catch_warnings():
            # torch 2.15 asks for `forward_sync_buffers`, which Accelerate 1.15 cannot hand on.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.model, self.stepper = self.accelerator.prepare(model, self.optimizer)

    def assert_in_force(self, micro_batches: int) -> None:
        """Raise TrialError where Accelerate wrapped the model."""
        expect("a model without a wrapper,", type(self.module).__name__, type(self.model).__name__)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.stepper.zero_grad()
        if self.scales:
            self.statistics = [buffer.clone() for buffer in self.module.buffers()]

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a micro-batch."""
        self.accelerator.backward(self.scaler.scale(loss))

    def step(self) -> float:
        """Clip the gradient and change the weights, unless its norm is NaN or infinite; return the norm."""
        limit = self.spec.train.clip_norm or float("inf")
        self.scaler.unscale_(self.optimizer)
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), limit))
        if not self.scales:
            if math.isfinite(norm):
                self.stepper.step()
            return norm
        if math.isfinite(norm):
            self.scaler.step(self.optimizer)
        else:
            # The forward pass that overflowed may have reached the running statistics of batch norms.
            for buffer, before in zip(self.module.buffers(), self.statistics, strict=True):
                buffer.copy_(before)
        self.scaler.update()
        return norm

    def whole_weights(self) -> Weights:
        """Return all parameters and buffers, in the leading process."""
        return one_by_one(self.module.state_dict()) if self.processes.leads else {}

    def whole_optimizer(self) -> WholeOptimizer | None:
        """Return the state of the optimizer, in the leading process."""
        if not self.processes.leads:
            return None
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.module.named_parameters()}
        return WholeOptimizer(
            type(self.optimizer).__name__,
            {names[parameter]: dict(values) for parameter, values in self.optimizer.state.items()},
            settings_of(self.optimizer.param_groups),
            self.scaler.state_dict() if self.scales else None,
        )

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over parameters and buffers."""
        self.module.load_state_dict(dict(weights))

    def load_optimizer(self, whole: WholeOptimizer) -> None:
        """Take over the state of the optimizer."""
        numbers = {name: number for number, name in enumerate(chain.from_iterable(self.groups))}
        groups = [
            {**settings, "params": [numbers[name] for name in names]}
            for settings, names in zip(whole.groups, self.groups, strict=True)
        ]
        state = {numbers[name]: values for name, values in whole.state.items()}
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if whole.scaler is not None:
            self.scaler.load_state_dict(whole.scaler)


class DataParallel(Single):
    """A whole copy in every process; gradients are averaged after the last micro-batch."""

    name: StrategyName = "ddp"
    model: DistributedDataParallel

    def assert_in_force(self, micro_batches: int) -> None:
        """Raise TrialError where Accelerate did not wrap the model for these processes."""
        if not isinstance(self.model, DistributedDataParallel):
            found = type(self.model).__name__
            raise TrialError(f"expected a DistributedDataParallel, Accelerate gave a {found}")
        group: Any = self.model.process_group
        expect("processes", self.processes.size, group.size())

    @contextlib.contextmanager
    def forward(self, *, last: bool) -> Iterator[None]:
        """Surround the forward pass of a micro-batch in training."""
        # What `no_sync` sets: DDP asks in the forward pass whether the backward pass is to average.
        self.model.require_backward_grad_sync = last
        with super().forward(last=last):
            yield

"""What a step of one structure takes, counted with tensors that have shapes and no values."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses import fake_tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.config import TrialSpec
from harness.preflight.structures import micro_batches
from harness.preflight.wording import batch_norm_message, blaming
from harness.registry import registry
from harness.tasks.base import Batch, Task
from harness.train.probe import count_parameters
from harness.train.strategy.base import HALF


@dataclass(frozen=True)
class Facts:
    """What one structure takes, from its shapes alone."""

    micro_batch: int
    """Samples of one forward pass."""
    parameters: int
    trainable_parameters: int
    forward_flops: int
    """Of one sample in training, a multiply-add counted as two."""
    step_flops: int
    """Of one sample: forward pass, loss and backward pass."""
    activation_bytes: int
    """What autograd keeps of one micro-batch for the backward pass."""
    weight_bytes: int
    """Weights, buffers and gradients."""
    optimizer_bytes: int
    ema_bytes: int
    """Of the moving average of the weights; 0 without one."""
    loss_bytes: int
    """Networks that the loss and the metrics hold."""

    @property
    def memory_bytes(self) -> int:
        """Tensors that live at the peak of a step; libraries and work space of kernels come on top."""
        kept = self.weight_bytes + self.optimizer_bytes + self.ema_bytes + self.loss_bytes
        return kept + self.activation_bytes


def measure(spec: TrialSpec, task: Task) -> Facts:
    """Run forward and backward with fake tensors in the true sizes, and count."""
    sizes = micro_batches(spec)
    with fake_tensor.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        with fake_tensor.FakeCopyMode(mode):
            model = copy.deepcopy(task.model).train()
        weights = [*model.parameters(), *model.buffers()]
        fixed = _tensors_of_modules(task)
        left_out = {_storage(tensor) for tensor in weights}
        left_out |= {_storage(mode.from_tensor(tensor)) for tensor in fixed}
        with _kept_for_backward(left_out) as kept, FlopCounterMode(display=False) as counter:
            prediction, batch = _forward(spec, task, model, sizes[0])
            forward_flops = counter.get_total_flops()
            with blaming(("loss",), "the loss fails"):
                total, _ = task.loss(prediction, batch)
                total.sum().backward()  # type: ignore[no-untyped-call]
        for size in sizes[1:]:
            _forward(spec, task, model, size)
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        parameters, trainable_parameters = count_parameters(model)
        return Facts(
            micro_batch=sizes[0],
            parameters=parameters,
            trainable_parameters=trainable_parameters,
            forward_flops=forward_flops // sizes[0],
            step_flops=counter.get_total_flops() // sizes[0],
            activation_bytes=sum(kept.values()),
            weight_bytes=_bytes(weights) + _bytes(trainable),
            optimizer_bytes=round(_bytes(trainable) * _optimizer_ratio(spec)),
            ema_bytes=_bytes(weights) if spec.train.ema else 0,
            loss_bytes=_bytes(fixed),
        )


def _forward(spec: TrialSpec, task: Task, model: torch.nn.Module, samples: int) -> tuple[Tensor, Batch]:
    height, width = spec.data.size
    with blaming(
        ("model",),
        f"the model fails on {height}x{width} pixels at micro-batch {samples}",
        batch_norm=batch_norm_message(spec, samples),
    ):
        batch = type(task).example_batch(spec, samples)
        with autocast(spec):
            return task.predict(model, batch), batch


def autocast(spec: TrialSpec) -> torch.autocast:
    """Return the arithmetic of a trial's forward pass, on the CPU."""
    half = HALF.get(spec.train.precision)
    return torch.autocast("cpu", half, enabled=half is not None)


def _tensors_of_modules(task: Task) -> list[Tensor]:
    """Return weights and buffers of what the task holds beside its model, such as feature networks."""
    modules = [
        module
        for module in vars(task).values()
        if isinstance(module, torch.nn.Module) and module is not task.model
    ]
    return [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]


@contextlib.contextmanager
def _kept_for_backward(left_out: set[int]) -> Iterator[dict[int, int]]:
    """Yield storage -> bytes of what autograd saves in the block; views of one storage count once."""
    kept: dict[int, int] = {}
    alive = []  # a freed storage would hand its number to the next one

    def pack(tensor: Tensor) -> Tensor:
        number = _storage(tensor)
        if number not in left_out and number not in kept:
            alive.append(tensor)
            kept[number] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _optimizer_ratio(spec: TrialSpec) -> float:
    """Return the bytes that the optimizer keeps for one byte of weights, from a step on one matrix."""
    with fake_tensor.unset_fake_temporarily():
        matrix = torch.nn.Parameter(torch.ones(64, 64))
        optimizer = registry.load("optimizer", spec.optimizer.name).build(spec.optimizer, [matrix])
        matrix.grad = torch.ones_like(matrix)
        optimizer.step()
        state = [value for value in optimizer.state[matrix].values() if isinstance(value, Tensor)]
        return _bytes([value for value in state if value.numel() > 1]) / _bytes([matrix])

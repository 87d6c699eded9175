"""ZeRO of DeepSpeed: the optimizer state in parts, then the gradients too, then the weights too."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DeepSpeedPlugin
from torch import Tensor, nn

from harness.config import TrialSpec
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
    trainable,
)

STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}


def engine_settings(spec: TrialSpec, processes: int, *, pinned: bool) -> dict[str, Any]:
    """Return DeepSpeed's configuration of a trial.

    Args:
        spec: the trial.
        processes: that take part.
        pinned: whether offloaded state lies in memory that a GPU reads directly.
    """
    zero: dict[str, Any] = {"stage": STAGES[spec.strategy]}
    if spec.offload == "cpu":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": pinned}
        if spec.strategy == "zero3":
            zero["offload_param"] = {"device": "cpu", "pin_memory": pinned}
    return {
        **accumulation_settings(spec.train.batch_size, processes, spec.train.accumulation),
        "gradient_clipping": spec.train.clip_norm or 0.0,
        "zero_optimization": zero,
        # The optimizer that the suite names, not DeepSpeed's own in its place.
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
    }


def accumulation_settings(batch_size: int, processes: int, micro_batches: int) -> dict[str, int]:
    """Return what DeepSpeed's configuration says of the batches of a step."""
    samples = -(-batch_size // (processes * micro_batches))  # the largest share: DeepSpeed reports by it
    return {"train_micro_batch_size_per_gpu": samples, "gradient_accumulation_steps": micro_batches}


def use_device(*, on_cpu: bool) -> None:
    """Tell DeepSpeed what to compute on, before it is imported.

    Raises:
        TrialError: on the CPU, there is nothing to compile the one operation with that it needs there.
    """
    if not on_cpu:
        return
    os.environ["DS_ACCELERATOR"] = "cpu"
    if shutil.which("ninja") is None:  # DeepSpeed brings it along, beside Python and not on the path
        os.environ["PATH"] += f"{os.pathsep}{Path(sys.executable).parent}"
    missing = [program for program in ("g++", "ninja") if shutil.which(program) is None]
    if missing:
        raise TrialError(
            f"DeepSpeed compiles an operation once where it runs on the CPU, and {' and '.join(missing)} "
            "is not here; install it, or use ddp or fsdp"
        )


class Zero(Strategy):
    """Weights and gradients are fp32; with `precision: bf16` the forward pass alone is not."""

    def __init__(self, spec: TrialSpec, accelerator: Accelerator, processes: Processes) -> None:
        super().__init__(spec, accelerator, processes)
        self.name = spec.strategy
        self.stage = STAGES[spec.strategy]
        self.gathers = self.stage == 3

    def wrap(self, model: nn.Module, build: BuildOptimizer, micro_batches: int) -> None:
        """Take over a model and make its optimizer, by Accelerate and DeepSpeed."""
        if self.spec.train.precision == "bf16":
            autocast_forward(model, self.accelerator.device)
        # A training set smaller than a batch makes other micro-batches than the trial asks for.
        found = accumulation_settings(self.spec.train.batch_size, self.processes.size, micro_batches)
        self.accelerator.state.deepspeed_plugin.deepspeed_config.update(found)
        self.accelerator.gradient_accumulation_steps = micro_batches
        self.tied = tied_names(model)
        self.optimizer = build(trainable(model))
        self.groups = group_names(model, self.optimizer)
        self.engine: Any
        self.engine, _ = self.accelerator.prepare(model, self.optimizer)
        self.model = self.engine
        self.sharing: Any = self.engine.optimizer  # DeepSpeed's, around torch's

    def assert_in_force(self, micro_batches: int) -> None:
        """Raise TrialError where the engine is not that of this trial."""
        from deepspeed import DeepSpeedEngine

        if not isinstance(self.engine, DeepSpeedEngine):
            raise TrialError(
                f"expected an engine of DeepSpeed, Accelerate gave a {type(self.engine).__name__}"
            )
        expect("ZeRO stage", self.stage, self.engine.zero_optimization_stage())
        expect("processes", self.processes.size, self.engine.world_size)
        expect("micro-batches of a step", micro_batches, self.engine.gradient_accumulation_steps())
        expect("clipping at", self.spec.train.clip_norm or 0.0, self.engine.gradient_clipping())
        expect("optimizer", self.optimizer, self.sharing.optimizer)
        expect("weights in bf16", False, bool(self.engine.bfloat16_enabled() or self.engine.fp16_enabled()))
        expect("offload to", self.spec.offload, self._offload_in_force())

    def _offload_in_force(self) -> str:
        where = self.engine.zero_offload_optimizer()
        return str(getattr(where.device, "value", where.device)) if where is not None else "none"

    @contextlib.contextmanager
    def forward(self, *, last: bool) -> Iterator[None]:
        """Surround the forward pass of a micro-batch in training."""
        self.engine.set_gradient_accumulation_boundary(last)
        with super().forward(last=last):
            yield

    def zero_grad(self) -> None:
        """The engine does so after every step."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a micro-batch."""
        self.engine.backward(loss, scale_wrt_gas=False)  # the loop has scaled it

    def step(self) -> float:
        """Clip the gradient and change the weights, unless its norm is NaN or infinite; return the norm."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        expect("learning rates", self.engine.get_lr(), rates)
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def whole_weights(self) -> Weights:
        """Return all parameters and buffers, in the leading process."""
        whole: Weights = {}
        for name, parameter in self.module.named_parameters():
            with self._gathered(parameter):
                if self.processes.leads:
                    whole |= one_by_one({name: parameter})
        if not self.processes.leads:
            return {}
        whole |= one_by_one({alias: whole[name] for alias, name in self.tied.items()})
        state = self.module.state_dict()
        return whole | one_by_one({name: state[name] for name in state if name not in whole})

    def _gathered(self, parameter: nn.Parameter) -> contextlib.AbstractContextManager[Any]:
        if not self.gathers:
            return contextlib.nullcontext()
        from deepspeed.runtime.zero import GatheredParameters

        gathered: contextlib.AbstractContextManager[Any] = GatheredParameters([parameter])
        return gathered

    def whole_optimizer(self) -> WholeOptimizer | None:
        """Return the state of the optimizer, in the leading process."""
        from deepspeed.utils import safe_get_full_optimizer_state

        flat_keys, plain = self._kinds_of_state()
        state: dict[str, dict[str, Any]] = {}
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                continue
            found = {key: safe_get_full_optimizer_state(parameter, key) for key in flat_keys}
            if self.processes.leads:
                # Each its own count of steps: torch adds to it in place.
                state[name] = one_by_one(found) | {key: _copied(value) for key, value in plain.items()}
        if not self.processes.leads:
            return None
        return WholeOptimizer(
            type(self.optimizer).__name__,
            state,
            settings_of(self.optimizer.param_groups),
        )

    def _flats(self) -> list[Tensor]:
        """Return the parts of all weights that this process updates, as DeepSpeed lays them end to end."""
        if self.stage == 3:
            flats: list[Tensor] = self.sharing.fp32_partitioned_groups_flat
            return flats
        return list(self.sharing.single_partition_of_fp32_groups)

    def _kinds_of_state(self) -> tuple[list[str], dict[str, Any]]:
        """Return the names of what is kept for every number of a weight, and the values that are not."""
        state = next(iter(self.optimizer.state.items()), None)
        if state is None:
            return [], {}
        flat, values = state
        each = [key for key, value in values.items() if torch.is_tensor(value) and value.shape == flat.shape]
        return each, {key: _copied(value) for key, value in values.items() if key not in each}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over parameters and buffers: every process its part of them."""
        for name, parameter in self.module.named_parameters():
            self._set(parameter, weights[name])
        buffers = dict(self.module.named_buffers())
        for name in weights.keys() & buffers.keys():
            buffers[name].copy_(weights[name])

    def _set(self, parameter: nn.Parameter, value: Tensor) -> None:
        from deepspeed.runtime.zero import GatheredParameters
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        with torch.no_grad():
            if self.stage < 3:
                parameter.copy_(value)
                if parameter.requires_grad:
                    safe_set_full_fp32_param(parameter, value.to(parameter.device))
                return
            with GatheredParameters([parameter], modifier_rank=0):
                if self.processes.leads:
                    parameter.copy_(value)
            if parameter.requires_grad:
                safe_set_local_fp32_param(parameter, self._part(parameter, value))

    def _part(self, parameter: Any, value: Tensor) -> Tensor:
        """Return this process's part of a whole tensor, zeros after its end: all parts are of one size."""
        size = parameter.ds_tensor.ds_numel
        flat = value.flatten().float()
        padded = torch.nn.functional.pad(flat, (0, size * self.processes.size - flat.numel()))
        return padded[size * self.processes.rank : size * (self.processes.rank + 1)]

    def load_optimizer(self, whole: WholeOptimizer) -> None:
        """Take over the state of the optimizer: every process its part of it."""
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        for group, settings in zip(self.optimizer.param_groups, whole.groups, strict=True):
            group.update(settings)
        if not whole.state:
            return
        first, values = next(iter(whole.state.items()))
        shape = self.shapes[first]
        each = [key for key, value in values.items() if torch.is_tensor(value) and value.shape == shape]
        plain = {key: value for key, value in values.items() if key not in each}
        for flat in self._flats():
            zeros = {key: torch.zeros_like(flat) for key in each}
            self.optimizer.state[flat] = zeros | {key: _copied(value) for key, value in plain.items()}
        if self.stage < 3:
            self.sharing._lazy_init_hp_params_optimizer_state()
        for name, parameter in self.module.named_parameters():
            for key in each if name in whole.state else ():
                value = whole.state[name][key].to(self.accelerator.device)
                if self.stage < 3:
                    safe_set_full_optimizer_state(parameter, value, key)
                else:
                    safe_set_local_optimizer_state(parameter, self._part(parameter, value), key)


def _copied(value: Any) -> Any:
    return value.clone() if torch.is_tensor(value) else value


def tied_names(model: nn.Module) -> dict[str, str]:
    """Return further name -> first name of every parameter that stands at several places."""
    first: dict[nn.Parameter, str] = {}
    tied = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(parameter, name) != name:
            tied[name] = first[parameter]
    return tied


def zero_plugin(settings: dict[str, Any]) -> DeepSpeedPlugin:
    """Return Accelerate's form of DeepSpeed's configuration."""
    return DeepSpeedPlugin(hf_ds_config=settings)

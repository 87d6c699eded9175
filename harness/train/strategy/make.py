"""From a specification to the strategy that is in force."""

from __future__ import annotations

import os

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from harness.config import ZERO, StrategyName, TrialSpec
from harness.errors import TrialError
from harness.train.processes import Processes
from harness.train.strategy.base import Strategy

MIXED_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "no"}
"""What is left to Accelerate: it has fp16 for GPUs alone, and the strategy itself has it for every device."""
CHOSEN_BY_ENVIRONMENT = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP")


def strategy_in_force(spec: TrialSpec, processes: int) -> StrategyName:
    """Return the strategy that a trial trains by in so many processes.

    In one process alone, `ddp` and `fsdp` have nothing to share out: it trains as `single`.
    """
    return spec.strategy if processes > 1 or spec.strategy in ZERO else "single"


def make_strategy(spec: TrialSpec, processes: int, *, on_cpu: bool) -> Strategy:
    """Return the strategy of a trial; its process group is there.

    Raises:
        TrialError: Accelerate does not do what the trial asks for.
    """
    # Accelerate keeps its state per process; a warm worker must not inherit that of the trial before.
    AcceleratorState._reset_state(reset_partial_state=True)
    for name in CHOSEN_BY_ENVIRONMENT:
        os.environ.pop(name, None)
    name = strategy_in_force(spec, processes)
    if name in ZERO:
        accelerator = _deepspeed_accelerator(spec, processes, on_cpu=on_cpu)
    else:
        accelerator = _plain_accelerator(spec, name, on_cpu=on_cpu)
    _assert_in_force(spec, accelerator, processes, on_cpu=on_cpu)
    group = Processes(accelerator.process_index, processes, accelerator.device)
    return _class_of(name)(spec.model_copy(update={"strategy": name}), accelerator, group)


def _class_of(name: StrategyName) -> type[Strategy]:
    if name == "single":
        from harness.train.strategy.whole import Single

        return Single
    if name == "ddp":
        from harness.train.strategy.whole import DataParallel

        return DataParallel
    if name == "fsdp":
        from harness.train.strategy.fully_sharded import FullySharded

        return FullySharded
    from harness.train.strategy.zero import Zero

    return Zero


def _plain_accelerator(spec: TrialSpec, name: StrategyName, *, on_cpu: bool) -> Accelerator:
    # fully_shard keeps fp32 weights and gradients; the strategy itself lets the model compute in bf16.
    precision = "no" if name == "fsdp" else MIXED_PRECISION[spec.train.precision]
    # Buffers are alike in all processes already, since batch statistics are.
    handlers = [DistributedDataParallelKwargs(broadcast_buffers=False)]
    return Accelerator(cpu=on_cpu, mixed_precision=precision, kwargs_handlers=handlers)


def _deepspeed_accelerator(spec: TrialSpec, processes: int, *, on_cpu: bool) -> Accelerator:
    from harness.train.strategy.zero import engine_settings, use_device, zero_plugin

    use_device(on_cpu=on_cpu)
    settings = engine_settings(spec, processes, pinned=not on_cpu)
    # Never cpu=True: with it Accelerate leaves DeepSpeed out in silence.
    return Accelerator(
        mixed_precision="no",
        deepspeed_plugin=zero_plugin(settings),
        gradient_accumulation_steps=spec.train.accumulation,
        # Without it every process of a CPU believes that it is alone.
        kwargs_handlers=[InitProcessGroupKwargs(backend="gloo" if on_cpu else "nccl")],
    )


def _assert_in_force(spec: TrialSpec, accelerator: Accelerator, processes: int, *, on_cpu: bool) -> None:
    """Refuse to train otherwise than asked: a silent fall-back would be judged as the thing itself."""
    if accelerator.num_processes != processes:
        raise TrialError(
            f"expected {processes} process(es), Accelerate has {accelerator.num_processes}; "
            "unset WORLD_SIZE and RANK, or start the trial with the strategy that it names"
        )
    asked = MIXED_PRECISION[spec.train.precision] if spec.strategy in ("single", "ddp") else "no"
    if accelerator.mixed_precision != asked:
        raise TrialError(f"expected precision {asked}, Accelerate uses {accelerator.mixed_precision}")
    if on_cpu and accelerator.device.type != "cpu":
        raise TrialError(
            f"expected the CPU, Accelerate uses {accelerator.device}; start the process with "
            'CUDA_VISIBLE_DEVICES="", since DeepSpeed takes a GPU that it sees'
        )

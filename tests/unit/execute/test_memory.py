"""Whose fault a lack of memory is, from the messages that torch, numpy and CUDA really print."""

import json

import numpy as np
import pytest
import torch

from harness.allotment import Allotment
from harness.errors import TrialError
from harness.execute.memory import (
    classify_memory_error,
    is_memory_error,
    keep_to_share,
    memory_advice,
    memory_failure,
    requested_bytes,
    tensor_share,
)
from harness.failures import FailureKind
from harness.planning.build import build_plan
from harness.suite import load_suite
from harness.testing.tiny import TINY

GIB = 2**30
ON_GPU = (
    "CUDA out of memory. Tried to allocate 12.73 GiB. GPU 0 has a total capacity of 31.47 GiB of which "
    "9.05 GiB is free. Process 812 has 3.67 GiB memory in use. Including non-PyTorch memory, this process has "
    "18.73 GiB memory in use. 23.60 GiB allowed; Of the allocated memory 9.08 GiB is allocated by PyTorch, and "
    "9.35 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try "
    "setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
BEYOND = (
    "CUDA out of memory. Allocation was preemptively rejected because it would exceed "
    "per_process_memory_fraction limit. Requested size: 20.00 MiB"
)


def kind(message, *, allotted, own, free, total=32.0, error=torch.OutOfMemoryError):
    """Classify with amounts in GiB."""
    return classify_memory_error(
        error(message),
        allotted_bytes=int(allotted * GIB),
        own_bytes=int(own * GIB),
        free_bytes=int(free * GIB),
        total_bytes=int(total * GIB),
    )


@pytest.mark.parametrize(
    ("message", "bytes_"),
    [
        (ON_GPU, round(12.73 * GIB)),
        (BEYOND, 20 * 2**20),
        ("CUDA out of memory. Tried to allocate 512 bytes. GPU 0 has", 512),
        (
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes.",
            4_000_000_000,
        ),
        ("CUDA error: out of memory", None),
        ("CUDA out of memory. Tried to allocate more than 1EB memory.", None),
    ],
)
def test_the_request_is_read_from_the_message(message, bytes_):
    assert requested_bytes(message) == bytes_


def test_more_than_its_share_is_the_trials_own_fault():
    assert kind(ON_GPU, allotted=24, own=18.7, free=9) is FailureKind.OUT_OF_MEMORY
    assert kind(BEYOND, allotted=8, own=6.0, free=0.01) is FailureKind.OUT_OF_MEMORY
    assert kind(ON_GPU, allotted=32, own=25, free=6) is FailureKind.OUT_OF_MEMORY


def test_a_full_device_is_a_neighbours_fault_where_the_trial_kept_to_its_share():
    assert kind(ON_GPU, allotted=16, own=2.0, free=1.0) is FailureKind.NEIGHBOUR_OUT_OF_MEMORY
    whole = kind(ON_GPU, allotted=32, own=2.0, free=1.0)  # the whole GPU was meant for it
    assert whole is FailureKind.NEIGHBOUR_OUT_OF_MEMORY


def test_memory_in_pieces_is_the_trials_own_fault():
    assert kind(ON_GPU, allotted=32, own=10.0, free=20.0) is FailureKind.OUT_OF_MEMORY


def test_without_a_request_in_the_message_a_device_counts_as_full_when_hardly_anything_is_free():
    message = "CUDA error: out of memory"
    assert kind(message, allotted=16, own=4, free=0.1) is FailureKind.NEIGHBOUR_OUT_OF_MEMORY
    assert kind(message, allotted=16, own=4, free=4) is FailureKind.OUT_OF_MEMORY
    assert kind(message, allotted=16, own=16, free=0.1) is FailureKind.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("std::bad_alloc"),
        torch.OutOfMemoryError(ON_GPU),
        MemoryError(),
    ],
)
def test_errors_of_memory_are_known(error):
    assert is_memory_error(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("shape mismatch"), TrialError("out of memory"), ValueError("out of memory"), OSError(28)],
)
def test_other_errors_are_left_to_others(error):
    assert memory_failure(error, Allotment()) is None


def test_a_real_request_that_no_machine_could_fill_is_the_trials_own_fault():
    for allocate in (lambda: torch.empty(10**15), lambda: np.empty(10**15)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert requested_bytes(str(caught.value)) > 3e15
        assert memory_failure(caught.value, Allotment()) is FailureKind.OUT_OF_MEMORY


def test_a_share_of_a_gpu_holds_the_context_of_its_process_too():
    assert tensor_share(0.5, 10 * GIB) == pytest.approx(0.5 - 0.06)
    assert tensor_share(1.0, 10 * GIB) == 1.0
    assert tensor_share(0.125, 4 * GIB) == 0.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of Nvidia")
def test_on_a_gpu_a_trial_cannot_take_more_than_its_share():
    total = torch.cuda.mem_get_info()[1]
    try:
        keep_to_share(Allotment(gpus=0.25))
        kept = torch.empty(total // 8, dtype=torch.uint8, device="cuda")
        with pytest.raises(torch.OutOfMemoryError) as caught:
            torch.empty(total // 4, dtype=torch.uint8, device="cuda")
        assert memory_failure(caught.value, Allotment(gpus=0.25)) is FailureKind.OUT_OF_MEMORY
        del kept
        keep_to_share(Allotment(gpus=1.0))
        torch.empty(total // 2, dtype=torch.uint8, device="cuda")
    finally:
        keep_to_share(Allotment(gpus=1.0))
        torch.cuda.empty_cache()


def test_on_the_cpu_there_is_no_share_to_keep_to():
    keep_to_share(Allotment(gpus=0.0))
    assert not torch.cuda.is_initialized()


def test_the_advice_names_settings_and_what_they_are_now(write_suite):
    plan = build_plan(load_suite(write_suite(TINY)))
    spec = json.loads(json.dumps(plan.trials[0].spec))
    said = memory_advice(spec, Allotment(gpus=0.25))
    assert "train.accumulation 2 (now 1)" in said
    assert "data.size (now 32)" in said
    assert "train.precision bf16 or fp16" in said
    assert "resources.gpus (now 0.25)" in said
    spec["strategy"] = "zero3"
    assert "train.precision bf16, " in memory_advice(spec, Allotment())
    spec["train"] |= {"accumulation": 16, "precision": "bf16"}
    said = memory_advice(spec, Allotment())
    assert "accumulation" not in said  # a batch of 16 has no smaller parts
    assert "bf16" not in said
    assert "zero2" not in said
    assert "--cpus" in said

"""Work beside trials, in a process that goes on with something else."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Iterator

import numpy as np
import torch

from harness.train.determinism import CUBLAS_WORKSPACE


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave this process's generators, threads and determinism as they were.

    What components print goes to standard error: standard output is for results.
    """
    workspace = os.environ.get(CUBLAS_WORKSPACE)
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    threads = torch.get_num_threads()
    debug_mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.environ.pop(CUBLAS_WORKSPACE, None)
        if workspace is not None:
            os.environ[CUBLAS_WORKSPACE] = workspace
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(debug_mode)
        torch.backends.cudnn.benchmark = benchmark
        random.setstate(python_state)
        np.random.set_state(numpy_state)

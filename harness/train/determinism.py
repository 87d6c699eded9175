"""Everything that makes two runs of one trial alike: seeds, algorithms, threads."""

from __future__ import annotations

import os
import random
from typing import Literal

import numpy as np
import torch

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
Tier = Literal["strict", "warn", "off"]


def make_deterministic(tier: Tier, *, seed: int, threads: int) -> None:
    """Set up this process for one trial; a warm worker calls it again before each.

    Args:
        tier: `strict` raises on an operation that does not repeat, `warn` names it, `off` asks for none.
        seed: of the global generators, from which the initial weights are drawn.
        threads: of one operation. More than the trial was allotted makes it many times slower,
            since threads wait for each other.
    """
    torch.set_num_threads(threads)
    # Without it cuBLAS refuses to work under deterministic algorithms.
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(tier != "off", warn_only=tier == "warn")
    # Filling fresh memory would only cost time: nothing here reads memory that it did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = tier == "off"
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)

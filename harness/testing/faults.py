"""A loss that breaks its process once, at a step of its choice: how tests see what the driver makes of it.

A suite names it as a plugin; `project_of_faults` makes the project that it is in.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from harness.config import LossConfig
from harness.losses.base import LossContext, LossTerm


class FaultConfig(LossConfig):
    """Parameters of `Fault`."""

    folder: str
    """Of the files that say what has happened already: a fault happens once."""
    how: Literal["kill", "freeze", "hang", "raise", "memory", "leave"]
    at: int = 6
    """Batches that this process computes before."""
    rank: int = 0
    """Process of the trial that it happens in."""


class Fault(LossTerm):
    """The mean squared error, until the fault."""

    Config = FaultConfig
    recorded_name = "fault"

    def __init__(self, config: FaultConfig, context: LossContext) -> None:
        super().__init__()
        self.config = config
        self.batches = 0

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean squared error of every sample, [N]."""
        self.batches += 1
        if self.batches > self.config.at and int(os.environ.get("RANK", "0")) == self.config.rank:
            self._break()
        return (prediction - batch["target"]).square().flatten(1).mean(1)

    def _break(self) -> None:
        mark = Path(self.config.folder) / f"{self.config.how}-{self.config.rank}"
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return
        match self.config.how:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "leave":
                os.kill(os.getpid(), signal.SIGTERM)
            case "hang":
                time.sleep(3600)
            case "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB.")
            case "raise":
                raise ValueError("a fault was asked for")


def project_of_faults(folder: Path) -> Path:
    """Return a project, made below `folder` where it is not there yet, whose module `faults` is this one."""
    project = folder / "project-of-faults"
    project.mkdir(exist_ok=True)
    (project / "faults.py").write_bytes(Path(__file__).read_bytes())
    return project


def with_fault(suite: str, folder: Path, **parameters: Any) -> str:
    """Return the text of `harness.testing.tiny.TINY`, or of one like it, with a fault in the base's loss."""
    settings = ", ".join(f"{name}: {value}" for name, value in {"folder": folder, **parameters}.items())
    loss = f"loss: {{mse: 1.0, 'faults:Fault': {{weight: 1.0, {settings}}}}}"
    assert "loss: {mse: 1.0}" in suite
    return suite.replace("loss: {mse: 1.0}", loss)

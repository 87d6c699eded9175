"""The state of a half-done trial on disk: whole or absent, and enough to go on bit for bit.

A state is a folder `state/step-00001234/`, written under another name and renamed when
whole. The one before it is deleted only then, so that the only copy is never overwritten.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel

from harness.train.progress import PROGRESS, Progress, read_progress


@dataclass
class TrialState:
    """Everything that a step changes."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    progress: Progress

    def save(self, folder: Path) -> None:
        """Write the state below `folder`, then delete the states before it."""
        target = folder / f"step-{self.progress.step:012d}-{self.progress.epoch:04d}"
        if target.exists():  # an epoch's end was saved, and now a stop comes before the next step
            return
        partial = folder / f".{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_weights(self.model, partial / "model.safetensors")
        if self.average is not None:
            save_weights(self.average, partial / "average.safetensors")
        torch.save(self.optimizer.state_dict(), partial / "optimizer.pt")
        torch.save(_generator_states(), partial / "generators.pt")
        (partial / PROGRESS).write_text(json.dumps(asdict(self.progress)))
        partial.rename(target)
        for older in folder.glob("step-*"):
            if older != target:
                shutil.rmtree(older, ignore_errors=True)

    def load(self, state: Path) -> None:
        """Take over the state that `newest_state` found."""
        device = next(self.model.parameters()).device
        load_weights(self.model, state / "model.safetensors", device)
        if self.average is not None:
            load_weights(self.average, state / "average.safetensors", device)
        self.optimizer.load_state_dict(_load(state / "optimizer.pt", device))
        _restore_generators(_load(state / "generators.pt", torch.device("cpu")))
        self.progress = read_progress(state)


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write the parameters and buffers of a model as safetensors."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path)


def load_weights(model: torch.nn.Module, path: Path, device: torch.device) -> None:
    """Read parameters and buffers that `save_weights` wrote.

    Raises:
        RuntimeError: the names or the shapes are not those of the model.
    """
    model.load_state_dict(load_file(path, device=str(device)))


def _load(path: Path, device: torch.device) -> Any:
    # weights_only: tensors and plain values, never code
    return torch.load(path, map_location=device, weights_only=True)


def _generator_states() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _restore_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    torch.cuda.set_rng_state_all(states["cuda"])

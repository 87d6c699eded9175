"""The state of a half-done trial on disk: whole or absent, and in one form under every strategy.

A state is a folder `state/step-00001234-0001/`, written under another name and renamed when whole. It
holds weights and optimizer state whole, by the names of the parameters, so that a trial goes on under
another strategy or in another number of processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from harness.errors import StoreError, TrialError
from harness.train.progress import PROGRESS, Progress, read_progress
from harness.train.strategy.base import Strategy, Weights, WholeOptimizer, one_by_one, settings_of

MODEL = "model.safetensors"
AVERAGE = "average.safetensors"
BEST = "best.safetensors"
OPTIMIZER = "optimizer.pt"
GENERATORS = "generators.pt"


@dataclass
class TrialState:
    """Everything that a step changes. All processes of a trial make the same calls."""

    strategy: Strategy
    average: AveragedModel | None
    progress: Progress

    def save(self, folder: Path, best: Path | None) -> Path | None:
        """Write the state below `folder`.

        Args:
            folder: of the states of this attempt.
            best: the best weights so far, which become part of the state; none where they are not kept.

        Returns:
            The state, in the leading process, or none where it was there already.

        Raises:
            StoreError: it cannot be written.
        """
        processes = self.strategy.processes
        target = folder / f"step-{self.progress.step:012d}-{self.progress.epoch:04d}"
        # An epoch's end was saved, and now a stop comes before the next step.
        if processes.decided(target.exists()):
            return None
        weights, optimizer = self.strategy.whole_weights(), self.strategy.whole_optimizer()
        generators = processes.gathered(_generator_states(processes.device))
        if not processes.leads:
            return None
        assert optimizer is not None
        with writing(target):
            self._write(target, best, weights, optimizer, generators)
        return target

    def _write(
        self, target: Path, best: Path | None, weights: Weights, optimizer: WholeOptimizer, generators: Any
    ) -> None:
        partial = target.with_name(f".{target.name}.partial")
        target.parent.mkdir(exist_ok=True)  # the folder above it is the store's: it is never made anew
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        save_file(weights, partial / MODEL)
        if self.average is not None:
            save_file(one_by_one(self.average.state_dict()), partial / AVERAGE)
        if best is not None and best.exists():
            copy_file(best, partial / BEST)
        torch.save(vars(optimizer), partial / OPTIMIZER)
        torch.save(generators, partial / GENERATORS)
        (partial / PROGRESS).write_text(json.dumps(asdict(self.progress)))
        partial.rename(target)

    def load(self, state: Path) -> bool:
        """Take over a state.

        Returns:
            Whether the random states were taken over, too. They are drawn anew from seed and step where
            the state was written by another number of processes.

        Raises:
            TrialError: the state is that of another model or optimizer, or is broken.
            StoreError: it is out of reach.
        """
        try:
            return self._take_over(state)
        except OSError as error:
            raise StoreError(f"cannot read {state}: {error}") from error

    def _take_over(self, state: Path) -> bool:
        strategy = self.strategy
        weights = _read_weights(state / MODEL)
        _require_same_shapes(state, weights, strategy.shapes)
        strategy.load_weights(weights)
        if self.average is not None:
            self.average.load_state_dict(_read_weights(state / AVERAGE))
        strategy.load_optimizer(self._optimizer(state))
        self.progress = read_progress(state)
        return self._restore_generators(_load(state / GENERATORS))

    def _optimizer(self, state: Path) -> WholeOptimizer:
        found = _load(state / OPTIMIZER)
        if "param_groups" in found:
            return _by_name(found, self.strategy)
        whole = WholeOptimizer(**found)
        if whole.kind != type(self.strategy.optimizer).__name__:
            raise TrialError(
                f"{state} holds the state of an optimizer {whole.kind}, this trial has "
                f"{type(self.strategy.optimizer).__name__}; start it anew with --fresh"
            )
        return whole

    def _restore_generators(self, saved: Any) -> bool:
        states = [saved] if isinstance(saved, dict) else saved  # the first form knew one process only
        processes = self.strategy.processes
        if len(states) == processes.size:
            _restore(states[processes.rank], processes.device)
            return True
        draw_anew(self.strategy.spec.seed, self.progress.step, processes.rank)
        return False


def draw_anew(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators for one process at one step, unlike those of the others."""
    numbers = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(numbers[0]))


def save_weights(weights: Weights, path: Path) -> None:
    """Write weights as safetensors, under another name until they are whole.

    Raises:
        StoreError: they cannot be written.
    """
    partial = path.with_suffix(".partial")
    with writing(path):
        save_file(weights, partial)
        partial.replace(path)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let everything that goes wrong with writing a file be a StoreError.

    On a full disk safetensors raises an error of its own, and torch a RuntimeError about positions.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        raise StoreError(f"cannot write {path}: {error}") from error


def copy_file(source: Path, target: Path) -> None:
    """Put a file at a second place; files that are replaced and never changed may share their content."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def delete_older(state: Path) -> None:
    """Delete the states beside one that is whole and safe."""
    for older in state.parent.glob("step-*"):
        if older != state:
            shutil.rmtree(older, ignore_errors=True)


def _read_weights(path: Path) -> Weights:
    try:
        weights: Weights = load_file(path)
    except SafetensorError as error:
        raise TrialError(f"cannot go on from {path}: {error}") from error
    return weights


def _require_same_shapes(
    state: Path, weights: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]
) -> None:
    found = {name: tensor.shape for name, tensor in weights.items()}
    if found == dict(shapes):
        return
    name = min(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name))
    there, here = (list(known[name]) if name in known else "nothing" for known in (found, shapes))
    raise TrialError(
        f"{state} holds the weights of another model: {name} is {there} there and {here} here; "
        "start the trial anew with --fresh"
    )


def _by_name(found: Mapping[str, Any], strategy: Strategy) -> WholeOptimizer:
    """Return what the first form of states held, by the numbers of parameters, by their names."""
    numbered = [name for names in strategy.groups for name in names]
    state = {numbered[number]: values for number, values in found["state"].items()}
    return WholeOptimizer(type(strategy.optimizer).__name__, state, settings_of(found["param_groups"]))


def _load(path: Path) -> Any:
    # weights_only: tensors and plain values, never code
    return torch.load(path, map_location="cpu", weights_only=True)


def _generator_states(device: torch.device) -> dict[str, Any]:
    """Return torch's random states of this process: of the CPU, and of its GPU where it has one."""
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return {"cpu": torch.get_rng_state(), "cuda": own}


def _restore(states: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and states["cuda"]:
        torch.cuda.set_rng_state(states["cuda"][0], device)

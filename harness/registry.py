"""The one registry: kind and name -> "module:object", imported when first asked for."""

from __future__ import annotations

import importlib
from typing import Any

from harness.errors import HarnessError, did_you_mean

BUILTIN: dict[str, dict[str, str]] = {
    "task": {"colorization": "harness.tasks.colorization:Colorization"},
    "data": {"polygons": "harness.data.polygons:Polygons"},
    "model": {"conditional_unet": "harness.models.conditional_unet:ConditionalUNet"},
    "loss": {
        "mse": "harness.losses.pixel:MSE",
        "l1": "harness.losses.pixel:L1",
        "lpips": "harness.losses.perceptual:LPIPS",
        "ssim": "harness.losses.structural:SSIM",
        "lab_l1": "harness.losses.colour:LabL1",
    },
    "optimizer": {
        "adamw": "harness.train.optimizers:AdamW",
        "adam": "harness.train.optimizers:Adam",
        "sgd": "harness.train.optimizers:SGD",
    },
    "schedule": {
        "constant": "harness.train.schedule:Constant",
        "warmup_cosine": "harness.train.schedule:WarmupCosine",
    },
}


class UnknownNameError(HarnessError):
    """A component was asked for by a name that nothing was registered under."""


class Registry:
    """Names of components by kind; a component is imported only when loaded."""

    def __init__(self, entries: dict[str, dict[str, str]]) -> None:
        self._targets = {kind: dict(names) for kind, names in entries.items()}

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind, sorted."""
        return sorted(self._targets.get(kind, {}))

    def load(self, kind: str, name: str) -> Any:
        """Import and return the component.

        Raises:
            UnknownNameError: no such name; the message suggests the nearest one.
        """
        target = self._targets.get(kind, {}).get(name)
        if target is None:
            raise UnknownNameError(f"no {kind} '{name}'{did_you_mean(name, self.names(kind))}")
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)


registry = Registry(BUILTIN)

"""The one registry: kind and name -> "module:object", imported when first asked for.

A name is one of the harness's own, one that an installed package offers, or `package.module:Name`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness import plugins
from harness.errors import HarnessError, did_you_mean

BUILT_IN = "built in"
BUILTIN: dict[str, dict[str, str]] = {
    "task": {"colorization": "harness.tasks.colorization:Colorization"},
    "data": {
        "folder": "harness.data.folder:Folder",
        "hugging_face": "harness.data.hugging_face:HuggingFace",
        "mixture": "harness.data.mixture:Mixture",
        "polygons": "harness.data.polygons:Polygons",
    },
    "augmentation": {
        "affine": "harness.data.affine:Affine",
        "background": "harness.data.appearance:Background",
        "colour_jitter": "harness.data.appearance:ColourJitter",
        "hflip": "harness.data.augment:HFlip",
        "noise": "harness.data.appearance:Noise",
        "vflip": "harness.data.augment:VFlip",
        "rot90": "harness.data.augment:Rot90",
    },
    "model": {
        "backbone_head": "harness.models.backbone_head:BackboneHead",
        "conditional_unet": "harness.models.conditional_unet:ConditionalUNet",
        "text_unet": "harness.models.text_unet:TextUNet",
    },
    "loss": {
        "mse": "harness.losses.pixel:MSE",
        "l1": "harness.losses.pixel:L1",
        "lpips": "harness.losses.perceptual:LPIPS",
        "ssim": "harness.losses.structural:SSIM",
        "lab_l1": "harness.losses.colour:LabL1",
        "huber": "harness.losses.pixel:Huber",
        "charbonnier": "harness.losses.pixel:Charbonnier",
        "perceptual": "harness.losses.perceptual:Perceptual",
        "gradient": "harness.losses.smoothness:Gradient",
        "tv": "harness.losses.smoothness:TotalVariation",
        "ms_ssim": "harness.losses.structural:MultiScaleSSIM",
    },
    "metric": {},  # a task computes its own in every trial; those that a suite adds are plugins
    "optimizer": {
        "adamw": "harness.train.optimizers:AdamW",
        "adam": "harness.train.optimizers:Adam",
        "sgd": "harness.train.optimizers:SGD",
        "timm": "harness.train.optimizers:Timm",
    },
    "schedule": {
        "constant": "harness.train.schedule:Constant",
        "warmup_cosine": "harness.train.schedule:WarmupCosine",
        "cosine": "harness.train.schedule:Cosine",
        "plateau": "harness.train.schedule:Plateau",
        "linear": "harness.train.schedule:Linear",
        "step": "harness.train.schedule:Step",
    },
    "tracker": {
        "mlflow": "harness.trackers.mlflow:MLflow",
        "tensorboard": "harness.trackers.tensorboard:TensorBoard",
        "wandb": "harness.trackers.wandb:WandB",
    },
}
ALIASES: dict[str, dict[str, str]] = {"loss": {"l2": "mse"}}
"""Other names that a suite may write; a specification, and so an id, holds the name itself."""


class UnknownNameError(HarnessError):
    """A component was asked for by a name that nothing was registered under."""


@dataclass(frozen=True)
class Entry:
    """A component that can be chosen by name."""

    kind: str
    name: str
    target: str
    """Where it is: `package.module:Name`."""
    origin: str
    """The distribution that offers it, or `built in`."""


class Registry:
    """Names of components by kind; a component is imported only when loaded."""

    def __init__(self, entries: dict[str, dict[str, str]]) -> None:
        self._builtin = {kind: dict(names) for kind, names in entries.items()}
        self._offers: dict[str, list[plugins.Offer]] = {}
        self._loaded: dict[tuple[str, str], Any] = {}

    def canonical(self, kind: str, name: str) -> str:
        """Return the name that a specification holds where a suite says `name`."""
        return self.aliases(kind).get(name, name)

    def aliases(self, kind: str) -> dict[str, str]:
        """Return the other names that a suite may write, and what they stand for."""
        return dict(ALIASES.get(kind, {}))

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind, sorted; imports none of the components."""
        return sorted({entry.name for entry in self._entries(kind)})

    def describe(self) -> list[Entry]:
        """Return all that can be chosen by name, kind by kind; a name that is taken stands there twice."""
        return [entry for kind in self._builtin for entry in self._entries(kind)]

    def is_builtin(self, kind: str, name: str) -> bool:
        """Tell whether a component is the harness's own."""
        return name in self._builtin.get(kind, {})

    def target(self, kind: str, name: str) -> str:
        """Return where a component is: `package.module:Name`.

        Raises:
            UnknownNameError: no such name; the message suggests the nearest one.
            HarnessError: several offer a component of this name.
        """
        if ":" in name:
            return name
        name = self.canonical(kind, name)
        found = [entry for entry in self._entries(kind) if entry.name == name]
        if not found:
            raise UnknownNameError(f"no {kind} '{name}'{did_you_mean(name, self.names(kind))}")
        if len(found) > 1:
            origins = " and by ".join(
                "the harness" if entry.origin == BUILT_IN else entry.origin for entry in found
            )
            raise HarnessError(
                f"the {kind} '{name}' is offered by {origins}; uninstall one, "
                f"or write {found[-1].target} in place of the name"
            )
        return found[0].target

    def load(self, kind: str, name: str) -> Any:
        """Import and return the component.

        Args:
            kind: such as `loss`.
            name: of a component, or `package.module:Name`.

        Raises:
            UnknownNameError: no such name; the message suggests the nearest one.
            HarnessError: several offer this name, or what a plugin gives cannot be imported or is
                no such component.
        """
        name = self.canonical(kind, name)
        if (kind, name) not in self._loaded:
            target = self.target(kind, name)
            if self.is_builtin(kind, name):
                module, _, attribute = target.partition(":")
                self._loaded[kind, name] = getattr(importlib.import_module(module), attribute)
            else:
                self._loaded[kind, name] = plugins.load(kind, target)
        return self._loaded[kind, name]

    def _entries(self, kind: str) -> Iterator[Entry]:
        for name, target in sorted(self._builtin.get(kind, {}).items()):
            yield Entry(kind, name, target, BUILT_IN)
        if kind not in self._offers:
            self._offers[kind] = plugins.offers(kind)
        for offer in self._offers[kind]:
            yield Entry(kind, offer.name, offer.target, offer.distribution)


registry = Registry(BUILTIN)

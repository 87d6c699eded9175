"""The model of an exported folder, built from its settings and filled with its weights; in torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from harness import plugins
from harness.config import ModelConfig
from harness.errors import HarnessError
from harness.package.contents import WEIGHTS, PackageConfig, PackageError
from harness.registry import registry
from harness.specify import component
from harness.validation import Mistakes

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def load_model(config: PackageConfig, weights: Path) -> torch.nn.Module:
    """Return the model on the CPU, in evaluation, with the weights of a file.

    Names and shapes in the head of the file are compared with the model's before any weight is read or
    any memory for one is taken.

    Raises:
        PackageError: the settings are wrong, or the file holds the weights of another model.
        PluginError: the model is a plugin that is not here.
    """
    _require_plugin(config)
    settings = _settings(config)
    with torch.device("meta"):
        _require_fitting(weights, _built(config, settings))
    with torch.random.fork_rng(devices=[]):  # building draws weights that are replaced
        model = _built(config, settings)
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise PackageError(f"cannot load {weights}: {error}") from error
    # As the trial was evaluated: the layout decides in which order a convolution adds.
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that the number of CPUs changes no digit and latencies compare."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Compute in the precision of the trial, without gradients."""
    dtype = DTYPES.get(precision)
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        yield


def _require_plugin(config: PackageConfig) -> None:
    """Refuse a plugin that is another one here than the one that trained, before it is imported."""
    name = config.model.get("name")
    if not isinstance(name, str) or registry.is_builtin("model", name):
        return
    target = registry.target("model", name)
    if config.plugin.get(target) != plugins.source_hash(target):
        raise PackageError(
            f"the model {target} is another one here than the one that was trained; predict in a project "
            "folder with the sources of the trial"
        )


def _settings(config: PackageConfig) -> ModelConfig:
    try:
        settings = component("model", config.model, ("model",))
    except Mistakes as found:
        lines = [f"{'.'.join(map(str, one.path))}: {one.message}" for one in found.mistakes]
        raise PackageError("\n  ".join(["the settings of the model are wrong:", *lines])) from None
    assert isinstance(settings, ModelConfig)
    if settings.trained() != settings:
        raise PackageError(
            f"the settings of the model {settings.name} ask for files of weights beside {WEIGHTS}; "
            "`harness export` writes none that do"
        )
    if message := settings.check(*config.size):
        raise PackageError(f"the settings of the model are wrong: {message}")
    return settings


def _built(config: PackageConfig, settings: ModelConfig) -> torch.nn.Module:
    make = registry.load("model", settings.name)
    try:
        model: torch.nn.Module = make(
            settings, image_channels=config.image_channels, class_names=config.class_names
        )
    except HarnessError:
        raise
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise PackageError(f"the model {settings.name} cannot be built from its settings: {error}") from error
    return model


def _require_fitting(weights: Path, empty: torch.nn.Module) -> None:
    """Refuse a file whose names and shapes are not those of a model, by one on the meta device."""
    try:
        with safe_open(weights, framework="pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PackageError(f"{weights} cannot be read as safetensors: {error}") from error
    expected = {name: list(tensor.shape) for name, tensor in empty.state_dict().items()}
    try:
        empty.load_state_dict({name: torch.empty(shape) for name, shape in found.items()})
    except (RuntimeError, HarnessError) as error:
        odd = [name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
        there, here = (known.get(min(odd), "nothing") for known in (found, expected))
        raise PackageError(
            f"{weights} holds the weights of another model: "
            f"{min(odd)!r:.80} is {there} there, expected {here}"
        ) from error

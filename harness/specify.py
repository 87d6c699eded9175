"""From a configuration (plain values) to the specification of a trial, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config import ComponentConfig, LossConfig, TrainConfig, TrialSpec
from harness.document import Path_
from harness.errors import HarnessError, did_you_mean
from harness.registry import UnknownNameError, registry
from harness.validation import Mistake, Mistakes, check

COMPONENTS = ("data", "model", "optimizer", "schedule")
DEFAULTS: dict[str, Any] = {"schedule": {"name": "constant"}, "perceptual_weights": "auto"}
SECTIONS = ("data", "model", "loss", "optimizer", "schedule", "train", "perceptual_weights")


def specify(config: Mapping[str, Any], *, task: str, primary_metric: str, seed: int) -> TrialSpec:
    """Return the specification that `config` (the `base` of a suite, patched) describes.

    Raises:
        Mistakes: everything that is wrong, by path below the configuration.
    """
    config = {**DEFAULTS, **config}
    mistakes = [
        Mistake((key,), f"no such section{did_you_mean(key, SECTIONS)}", of_key=True)
        for key in config
        if key not in SECTIONS
    ]
    parts: dict[str, Any] = {}
    for section in SECTIONS:
        try:
            parts[section] = _section(section, config)
        except Mistakes as found:
            mistakes += found.mistakes
    task_class = registry.load("task", task)
    if not mistakes:
        try:
            weights = task_class.choose_perceptual_weights(config["perceptual_weights"], parts["loss"])
        except HarnessError as error:
            raise Mistakes([Mistake(("perceptual_weights",), str(error))]) from None
        parts["perceptual_weights"] = weights
        spec = TrialSpec(task=task, primary_metric=primary_metric, seed=seed, **parts)
        mistakes = task_class.check(spec)
        if not mistakes:
            return spec
    raise Mistakes(mistakes)


def respecify(spec: Mapping[str, Any]) -> TrialSpec:
    """Return the specification that was written as JSON, for instance in a plan or a store."""
    config = {section: spec[section] for section in SECTIONS}
    parts = {section: _section(section, config) for section in SECTIONS}
    rest = {key: value for key, value in spec.items() if key not in SECTIONS}
    return TrialSpec(**rest, **parts)


def _section(section: str, config: Mapping[str, Any]) -> Any:
    if section not in config:
        raise Mistakes([Mistake((), f"'{section}' is missing", of_key=True)])
    value = config[section]
    if section == "perceptual_weights":
        return value
    if not isinstance(value, dict):
        raise Mistakes([Mistake((section,), "should be a mapping")])
    if section == "train":
        return _train(value)
    if section == "loss":
        return _loss(value)
    return component(section, value, (section,))


def component(kind: str, value: Mapping[str, Any], path: Path_) -> ComponentConfig:
    """Return the checked configuration of a component that `value` picks by name.

    Raises:
        Mistakes: the name is unknown, or its parameters are wrong.
    """
    name = value.get("name")
    if not isinstance(name, str):
        message = f"'name' is missing{did_you_mean('', registry.names(kind))}"
        raise Mistakes([Mistake(path, message, of_key=True)])
    try:
        config: ComponentConfig = check(registry.load(kind, name).Config, value, path)
    except UnknownNameError as error:
        raise Mistakes([Mistake((*path, "name"), str(error))]) from None
    return config


def _train(value: Mapping[str, Any]) -> TrainConfig:
    train = check(TrainConfig, value, ("train",))
    if train.batch_size % train.accumulation:
        message = f"{train.accumulation} does not divide the batch size {train.batch_size}"
        raise Mistakes([Mistake(("train", "accumulation"), message)])
    return train


def _loss(value: Mapping[str, Any]) -> dict[str, LossConfig]:
    """Return the terms by name, in alphabetical order: order does not change a sum, nor an identity."""
    terms: dict[str, LossConfig] = {}
    mistakes: list[Mistake] = []
    for name in sorted(value):
        parameters = value[name] if isinstance(value[name], dict) else {"weight": value[name]}
        try:
            term: LossConfig = check(registry.load("loss", name).Config, parameters, ("loss", name))
        except UnknownNameError as error:
            mistakes.append(Mistake(("loss", name), str(error), of_key=True))
        except Mistakes as found:
            mistakes += [_without_weight(mistake, value[name]) for mistake in found.mistakes]
        else:
            if term.weight > 0:
                terms[name] = term
    if not terms and not mistakes:
        mistakes.append(Mistake(("loss",), "no term has a weight above 0"))
    if mistakes:
        raise Mistakes(mistakes)
    return terms


def _without_weight(mistake: Mistake, value: Any) -> Mistake:
    """Point at loss.mse, not at loss.mse.weight, where the suite gives a bare number."""
    if isinstance(value, dict):
        return mistake
    return Mistake(mistake.path[:2], mistake.message, mistake.of_key)

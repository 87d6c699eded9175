"""From a configuration (plain values) to the specification of a trial, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from harness import plugins
from harness.canonical import canonical_json
from harness.config import SHARDED, ZERO, ComponentConfig, LossConfig, StrategyConfig, TrainConfig, TrialSpec
from harness.document import Path_
from harness.errors import HarnessError, did_you_mean
from harness.registry import registry
from harness.validation import Mistake, Mistakes, check

COMPONENTS = ("data", "model", "optimizer", "schedule")
DEFAULTS: dict[str, Any] = {
    "schedule": {"name": "constant"},
    "metrics": [],
    "perceptual_weights": "auto",
    "strategy": {},
}
PARTS = ("data", "model", "loss", "optimizer", "schedule", "train", "metrics", "perceptual_weights")
"""Sections that stand in a specification under the same name."""
SECTIONS = (*PARTS, "strategy")


class Memory:
    """What was found about the sections of configurations during one planning.

    Thousands of configurations repeat their sections: each distinct one is checked once. It does
    not outlive a planning, since plugins and files of weights may change.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Any] = {}

    def recall(self, key: tuple[str, ...], find: Callable[[], Any]) -> Any:
        """Return what `find` returned, or would return, for `key`."""
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]


class _Found(NamedTuple):
    part: Any
    mistakes: list[Mistake]


def specify(
    config: Mapping[str, Any],
    *,
    task: str,
    primary_metric: str,
    seed: int,
    folds: int | None = None,
    fold: int | None = None,
    memory: Memory | None = None,
) -> TrialSpec:
    """Return the specification that `config` (the `base` of a suite, patched) describes.

    Args:
        config: sections by name.
        task: name of the task.
        primary_metric: name of the metric that picks the best checkpoint.
        seed: of the trial.
        folds: parts of the cross-validation; none for the validation split.
        fold: the part to validate on.
        memory: shared by the configurations of one planning; none checks everything anew.

    Raises:
        Mistakes: everything that is wrong, by path below the configuration.
        HarnessError: the task cannot be had.
    """
    memory = memory or Memory()
    task_class = registry.load("task", task)
    config = {**DEFAULTS, **config}
    mistakes = [
        Mistake((key,), f"no such section{did_you_mean(key, SECTIONS)}", of_key=True)
        for key in config
        if key not in SECTIONS
    ]
    parts: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for section in SECTIONS:
        keys[section] = canonical_json(config[section]) if section in config else ""
        found: _Found = memory.recall((section, keys[section]), partial(_look_at, section, config))
        parts[section] = found.part
        mistakes += found.mistakes
    if not mistakes:
        weights: _Found = memory.recall(
            (task, keys["perceptual_weights"], keys["loss"]),
            partial(_choose_weights, task_class, config["perceptual_weights"], parts["loss"]),
        )
        parts["perceptual_weights"] = weights.part
        mistakes += weights.mistakes
    if mistakes:
        raise Mistakes(mistakes)
    strategy: StrategyConfig = parts.pop("strategy")
    if mistakes := list(_strategy_mistakes(strategy, parts)):
        raise Mistakes(mistakes)
    spec = TrialSpec(
        task=task,
        primary_metric=primary_metric,
        seed=seed,
        folds=folds,
        fold=fold,
        plugins=_plugins(task, parts, memory),
        strategy=strategy.name,
        world_size=strategy.processes,
        offload=strategy.offload,
        **parts,
    )
    mistakes = [*task_class.check(spec), *_taken_names(task_class, spec)]
    if mistakes:
        raise Mistakes(mistakes)
    return spec


def respecify(spec: Mapping[str, Any]) -> TrialSpec:
    """Return the specification that was written as JSON, for instance in a plan or a store."""
    parts = {section: _section(section, spec) for section in PARTS}
    rest = {key: value for key, value in spec.items() if key not in PARTS}
    return TrialSpec(**rest, **parts)


def plugins_of(spec: TrialSpec) -> dict[str, str]:
    """Return `module:Name` of every component that is not the harness's own -> hash of its sources now.

    Raises:
        HarnessError: the sources of a plugin changed since this process imported it.
    """
    registry.load("task", spec.task)
    return _plugins(spec.task, {section: getattr(spec, section) for section in PARTS}, Memory())


def component(kind: str, value: Mapping[str, Any], path: Path_) -> ComponentConfig:
    """Return the checked configuration of a component that `value` picks by name.

    Raises:
        Mistakes: the name is unknown, its plugin is broken, or its parameters are wrong.
    """
    name = value.get("name")
    if not isinstance(name, str):
        message = f"'name' is missing{did_you_mean('', registry.names(kind))}"
        raise Mistakes([Mistake(path, message, of_key=True)])
    try:
        config: type[ComponentConfig] = registry.load(kind, name).Config
    except HarnessError as error:
        raise Mistakes([Mistake((*path, "name"), str(error))]) from None
    return check(config, value, path)


def _look_at(section: str, config: Mapping[str, Any]) -> _Found:
    try:
        return _Found(_section(section, config), [])
    except Mistakes as found:
        return _Found(None, found.mistakes)


def _section(section: str, config: Mapping[str, Any]) -> Any:
    if section not in config:
        raise Mistakes([Mistake((), f"'{section}' is missing", of_key=True)])
    value = config[section]
    if section == "perceptual_weights":
        return value
    if section == "metrics":
        return _components("metric", value, (section,))
    if section == "strategy":
        return _strategy(value)
    if not isinstance(value, dict):
        raise Mistakes([Mistake((section,), "should be a mapping")])
    if section == "train":
        return _train(value)
    if section == "loss":
        return _loss(value)
    return component(section, value, (section,))


def _components(kind: str, values: Any, path: Path_) -> tuple[ComponentConfig, ...]:
    """Return components that are listed by name, or as mappings with a name; in alphabetical order."""
    if not isinstance(values, list):
        raise Mistakes([Mistake(path, "should be a list of names, or of mappings with a name")])
    found: dict[str, ComponentConfig] = {}
    mistakes: list[Mistake] = []
    for index, value in enumerate(values):
        place: Path_ = (*path, index)
        mapping = value if isinstance(value, dict) else {"name": value}
        try:
            config = component(kind, mapping, place)
        except Mistakes as wrong:
            mistakes += [_of_word(mistake, value, place) for mistake in wrong.mistakes]
            continue
        if config.name in found:
            mistakes.append(Mistake(place, f"'{config.name}' stands here twice; once at most"))
        found[config.name] = config
    if mistakes:
        raise Mistakes(mistakes)
    return tuple(found[name] for name in sorted(found))


def _train(value: Mapping[str, Any]) -> TrainConfig:
    mistakes: list[Mistake] = []
    augment: tuple[ComponentConfig, ...] = ()
    try:
        augment = _components("augmentation", value.get("augment", []), ("train", "augment"))
    except Mistakes as found:
        mistakes += found.mistakes
    try:
        train = check(TrainConfig, {key: value[key] for key in value if key != "augment"}, ("train",))
    except Mistakes as found:
        raise Mistakes([*mistakes, *found.mistakes]) from None
    if train.batch_size % train.accumulation:
        message = f"{train.accumulation} does not divide the batch size {train.batch_size}"
        mistakes.append(Mistake(("train", "accumulation"), message))
    if mistakes:
        raise Mistakes(mistakes)
    return train.model_copy(update={"augment": augment})


def _strategy(value: Any) -> StrategyConfig:
    """Return a strategy that is given by its name alone, or as a mapping."""
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict):
        raise Mistakes([Mistake(("strategy",), "should be a name, or a mapping with name and processes")])
    strategy = check(StrategyConfig, value, ("strategy",))
    mistakes = list(_process_mistakes(strategy))
    if mistakes:
        raise Mistakes(mistakes)
    return strategy


def _process_mistakes(strategy: StrategyConfig) -> Iterator[Mistake]:
    name, processes = strategy.name, strategy.processes
    at = ("strategy", "processes")
    if name == "single" and processes > 1:
        message = f"single trains in one process, got {processes}; name a strategy for several, such as ddp"
        yield Mistake(at, message)
    if name != "single" and "processes" not in strategy.model_fields_set:
        yield Mistake(("strategy",), f"'processes' is missing; {name} spreads a trial over several")
    elif name in ("ddp", "fsdp") and processes == 1:
        yield Mistake(at, f"{name} needs at least 2 processes, got 1; single trains in one")
    if strategy.offload != "none" and name not in ZERO:
        message = f"'{strategy.offload}' is for {', '.join(ZERO)}, not for {name}"
        yield Mistake(("strategy", "offload"), message)


def _strategy_mistakes(strategy: StrategyConfig, parts: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield what a strategy and the rest of a configuration do not allow each other."""
    train: TrainConfig = parts["train"]
    micro_batches = train.accumulation * strategy.processes
    if train.batch_size % micro_batches:
        message = (
            f"{train.batch_size} samples do not divide into {strategy.processes} processes x "
            f"{train.accumulation} accumulation steps; use a multiple of {micro_batches}"
        )
        yield Mistake(("train", "batch_size"), message)
    if train.ema is not None and strategy.name in SHARDED:
        message = (
            f"an average needs whole weights in every process, and {strategy.name} keeps parts of them; "
            f"use ddp, zero1 or zero2, or leave ema out"
        )
        yield Mistake(("train", "ema"), message)
    if train.precision == "fp16" and strategy.name in (*ZERO, "fsdp"):
        message = (
            f"fp16 scales the loss and leaves steps out, which {strategy.name} does not do here; "
            f"use bf16, or the strategy single or ddp"
        )
        yield Mistake(("train", "precision"), message)
    yield from _optimizer_mistakes(strategy, parts["optimizer"])


def _optimizer_mistakes(strategy: StrategyConfig, config: ComponentConfig) -> Iterator[Mistake]:
    """Yield that an optimizer needs whole weights, where a strategy gives it parts of them."""
    if strategy.name not in (*ZERO, "fsdp"):
        return
    elementwise = getattr(registry.load("optimizer", config.name), "elementwise", False)
    gives_parts = f"{strategy.name} gives an optimizer parts of weights"
    if callable(elementwise):
        if not elementwise(config):
            kind = getattr(config, "kind", config.name)
            message = f"{gives_parts}, and {kind} does not update each number by itself; use single or ddp"
            yield Mistake(("optimizer",), message)
    elif not elementwise:
        message = (
            f"{gives_parts}, and '{config.name}' does not say "
            f"`elementwise = True`: that it updates each number by itself"
        )
        yield Mistake(("optimizer", "name"), message)


def _loss(value: Mapping[str, Any]) -> dict[str, LossConfig]:
    """Return the terms by name, in alphabetical order: order does not change a sum, nor an identity."""
    terms: dict[str, LossConfig] = {}
    mistakes: list[Mistake] = []
    for written in sorted(value):
        place: Path_ = ("loss", written)
        name = registry.canonical("loss", written)
        if name != written and name in value:
            message = f"is another name of {name}, which stands here too; leave one out"
            mistakes.append(Mistake(place, message, of_key=True))
            continue
        parameters = value[written] if isinstance(value[written], dict) else {"weight": value[written]}
        try:
            term: LossConfig = check(registry.load("loss", name).Config, parameters, place)
        except HarnessError as error:
            mistakes.append(Mistake(place, str(error), of_key=True))
        except Mistakes as found:
            mistakes += [_of_word(mistake, value[written], place) for mistake in found.mistakes]
        else:
            if term.weight > 0:
                terms[name] = term
    terms = {name: terms[name] for name in sorted(terms)}
    if not terms and not mistakes:
        mistakes.append(Mistake(("loss",), "no term has a weight above 0"))
    mistakes += _recorded_twice(terms)
    if mistakes:
        raise Mistakes(mistakes)
    return terms


def _recorded_twice(terms: Mapping[str, LossConfig]) -> Iterator[Mistake]:
    """Yield the plugins whose values would be recorded under the name of another term."""
    recorded = {name: name for name in terms if registry.is_builtin("loss", name)}
    for name in terms:
        if registry.is_builtin("loss", name):
            continue
        own = registry.load("loss", name).recorded_name
        if own in recorded:
            message = f"its values would be recorded as '{own}', like those of {recorded[own]}"
            yield Mistake(("loss", name), f"{message}; change its recorded_name", of_key=True)
        recorded[own] = name


def _of_word(mistake: Mistake, value: Any, place: Path_) -> Mistake:
    """Point at loss.mse, not at loss.mse.weight, where the suite gives a bare number or word."""
    return mistake if isinstance(value, dict) else Mistake(place, mistake.message, mistake.of_key)


def _choose_weights(task_class: Any, choice: Any, loss: Mapping[str, LossConfig]) -> _Found:
    try:
        return _Found(task_class.choose_perceptual_weights(choice, loss), [])
    except HarnessError as error:
        return _Found(None, [Mistake(("perceptual_weights",), str(error))])


def _taken_names(task_class: Any, spec: TrialSpec) -> Iterator[Mistake]:
    """Yield the metrics that would be recorded under the name of another figure."""
    if not spec.metrics:
        return
    taken = {*task_class.metric_infos(spec.model_copy(update={"metrics": ()})), "loss", "index", "place"}
    for metric in spec.metrics:
        name = registry.load("metric", metric.name).info.name
        if name in taken or name.startswith("loss/"):
            message = f"{metric.name}: its values would be recorded as '{name}', which is taken"
            yield Mistake(("metrics",), f"{message}; change the name in its info")
        taken.add(name)


def _plugins(task: str, parts: Mapping[str, Any], memory: Memory) -> dict[str, str]:
    targets = {
        registry.target(kind, name)
        for kind, name in _named(task, parts)
        if not registry.is_builtin(kind, name)
    }
    return {
        target: memory.recall(("source", target), partial(plugins.imported_hash, target))
        for target in sorted(targets)
    }


def _named(task: str, parts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield kind and name of every component of a trial."""
    yield "task", task
    for kind in COMPONENTS:
        yield kind, parts[kind].name
    nested = list(parts["data"].parts())
    while nested:
        data = nested.pop()
        yield "data", data.name
        nested += data.parts()
    for name in parts["loss"]:
        yield "loss", name
    listed: dict[str, Sequence[ComponentConfig]] = {
        "augmentation": parts["train"].augment,
        "metric": parts["metrics"],
    }
    for kind, configs in listed.items():
        for config in configs:
            yield kind, config.name

"""A made-up store of a thousand trials, written as a run writes it, to measure how quickly it is read.

Values are drawn from a fixed generator; configurations have the size of real ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from harness.canonical import content_hash
from harness.config import MetricInfo
from harness.grammar import ReportOptions, Resources
from harness.plan import Plan, PlannedTrial, Variant
from harness.store.schema import METRIC_FIELDS
from harness.store.write import Attempt, Run, StoreWriter, create_store

STARTED = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
LABELS = ("colour=red", "colour=green", "colour=blue", "shape=star", "shape=square")
LABELLED = 2  # metrics whose values are also kept by label


@dataclass(frozen=True)
class Scale:
    """How much of everything a run has."""

    variants: int = 200
    seeds: int = 5
    metrics: int = 10
    epochs: int = 5
    salt: str = ""
    """Part of every configuration, so that runs of another salt share no trials."""


def large_plan(scale: Scale, suite: str = "large") -> Plan:
    """Return a plan of `scale.variants` times `scale.seeds` trials."""
    names = [f"v{index:03d}" for index in range(scale.variants)]
    seeds = tuple(range(scale.seeds))
    specs = {(name, seed): _spec(scale, index, seed) for index, name in enumerate(names) for seed in seeds}
    return Plan(
        suite=suite,
        suite_hash="0123456789abcdef",
        question="Which width?",
        description="",
        task="colorization",
        profile=None,
        primary_metric="metric_0",
        metrics={f"metric_{index}": _info(index) for index in range(scale.metrics)},
        loss_terms=("mse",),
        reference=names[0],
        variants=tuple(
            Variant(name=name, title=name, levels={"width": name}, factor="width" if index else None)
            for index, name in enumerate(names)
        ),
        seeds=seeds,
        trials=tuple(
            PlannedTrial(id=content_hash(spec)[:16], variants=(name,), seed=seed, spec=spec)
            for (name, seed), spec in sorted(specs.items(), key=lambda item: (item[0][1], item[0][0]))
        ),
        claims=(),
        margins={"metric_1": 0.5},
        resources=Resources(),
        report=ReportOptions(),
    )


def write_large_run(
    root: Path,
    run_id: str,
    scale: Scale = Scale(),
    *,
    number: int = 0,
    attempt: int = 1,
    gain: float = 0.0,
    suite: str = "large",
    answered: int = 0,
    **facts: Any,
) -> Plan:
    """Write a run and one attempt of each of its trials.

    Args:
        root: folder of the store.
        run_id: of the run.
        scale: of the run.
        number: position of the run in time.
        attempt: number of its attempts; two runs of one plan need two.
        gain: added to every value of the last variant.
        suite: name of the suite.
        answered: trials, the first ones of the plan, that attempt 1 of an earlier run answers for.
        facts: columns of the run, in place of the usual ones.
    """
    plan, store = large_plan(scale, suite), create_store(root)
    random = np.random.default_rng(number)
    started = STARTED + timedelta(hours=number)
    for trial in plan.trials[answered:]:
        shift = gain if trial.variants[0] == plan.variants[-1].name else 0.0
        store.write_attempt(_attempt(run_id, scale, trial, attempt, started, random, shift))
    earlier = {trial.id: 1 for trial in plan.trials[:answered]}
    _write_run(store, plan, run_id, started, {"reused": json.dumps(earlier), **facts})
    return plan


def _write_run(store: StoreWriter, plan: Plan, run_id: str, started: datetime, facts: dict[str, Any]) -> None:
    run = Run(
        run_id=run_id,
        suite=plan.suite,
        suite_hash=plan.suite_hash,
        profile=plan.profile,
        plan=plan.model_dump_json(),
        reused="{}",
        notes="[]",
        status="running",
        started=started,
        ended=None,
        executor="local",
        cpus=2,
        gpus=0,
        command="harness run large",
        git_commit=None,
        git_dirty=None,
        code_hash="feedfacecafebeef",
        host="bench",
        pid=1,
        versions=json.dumps({"python": "3.11.9", "torch": "2.15.0"}),
    )
    ended = {"status": "complete", "ended": started + timedelta(minutes=10)}
    store.write_run(replace(run, **{**ended, **facts}))


def _attempt(
    run_id: str,
    scale: Scale,
    trial: PlannedTrial,
    number: int,
    started: datetime,
    random: np.random.Generator,
    shift: float,
) -> Attempt:
    seconds = float(random.lognormal(2.0, 0.1))
    return Attempt(
        run_id=run_id,
        trial_id=trial.id,
        attempt=number,
        variant=trial.variants[0],
        levels="{}",
        seed=trial.seed,
        fold=None,
        spec=json.dumps(trial.spec),
        code_hash="feedfacecafebeef",
        status="complete",
        epochs_done=scale.epochs,
        parameters=100_000,
        trainable_parameters=100_000,
        forward_flops=1_000_000,
        images_per_second=1000 / seconds,
        peak_memory_bytes=100_000_000,
        wall_seconds=seconds,
        train_seconds=0.8 * seconds,
        device="cpu",
        threads=1,
        strategy="single",
        world_size=1,
        precision="fp32",
        determinism="strict",
        host="bench",
        started=started,
        ended=started + timedelta(seconds=seconds),
        metrics=list(_metric_rows(scale, trial, random, shift)),
        costs=[
            {"epoch": epoch, "name": "train_seconds", "value": seconds / scale.epochs}
            for epoch in range(1, scale.epochs + 1)
        ],
    )


def _metric_rows(scale: Scale, trial: PlannedTrial, random: np.random.Generator, shift: float) -> Any:
    labels = [(index, label) for index in range(LABELLED) for label in LABELS]
    cells = [*((index, None) for index in range(scale.metrics)), *labels]
    values = 10 + trial.seed + random.normal(size=(scale.epochs, len(cells))) + shift
    fixed = {name: None for name, _ in METRIC_FIELDS} | {"split": "validation", "count": 96}
    for epoch, row in enumerate(values, 1):
        for (index, label), value in zip(cells, row, strict=True):
            cell = {"epoch": epoch, "step": 8 * epoch, "metric": f"metric_{index}", "label": label}
            yield fixed | cell | {"value": float(value)}


def _info(index: int) -> MetricInfo:
    return MetricInfo(
        name=f"metric_{index}",
        title=f"Metric {index}",
        symbol=f"M{index}",
        direction="lower" if index % 2 else "higher",
        range=(None, None),
        description="A made-up metric.",
        theme="pixel",
    )


def _spec(scale: Scale, index: int, seed: int) -> dict[str, Any]:
    return {
        "task": "colorization",
        "data": {
            "name": f"polygons{scale.salt}",
            "size": 32,
            "train_size": 1024,
            "validation_size": 96,
            "version": 1,
            "drawing": "outline",
            "channels": "rgb",
            "mask": "none",
            "overlap": 0.25,
            "edge": 0.2,
            "backgrounds": ["white", "coloured", "noisy_black"],
            "seed": 0,
        },
        "model": {
            "name": "conditional_unet",
            "widths": [16 + index, 32, 64],
            "depth": 3,
            "layers": 1,
            "skips": True,
            "norm": "batch",
            "groups": 8,
            "activation": "silu",
            "output": "sigmoid",
            "site": "bottleneck",
            "embedding": 32,
            "heads": None,
            "class_tokens": None,
        },
        "loss": {"mse": {"weight": 1.0}},
        "optimizer": {"name": "adamw", "lr": 4e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-4},
        "schedule": {"name": "warmup_cosine", "warmup": 0.1, "final": 0.0},
        "train": {
            "epochs": scale.epochs,
            "batch_size": 16,
            "accumulation": 1,
            "clip_norm": 1.0,
            "precision": "fp32",
            "ema": None,
            "early_stopping": None,
            "augment": [{"name": "hflip", "probability": 0.5}, {"name": "vflip", "probability": 0.5}],
            "balance": None,
            "determinism": "strict",
        },
        "primary_metric": "metric_0",
        "perceptual_weights": "random",
        "metrics": [],
        "plugins": {},
        "strategy": "single",
        "world_size": 1,
        "seed": seed,
        "folds": None,
        "fold": None,
    }

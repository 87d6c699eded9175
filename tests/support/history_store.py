"""A store of many small runs of one suite, written as a run writes it, with values that a test scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.canonical import content_hash
from harness.config import MetricInfo
from harness.grammar import ReportOptions, Resources
from harness.plan import Plan, PlannedTrial, Variant
from harness.store.write import Attempt, Run, create_store

STARTED = datetime(2026, 9, 1, 6, 0, tzinfo=UTC)
DELTA_E = MetricInfo(
    name="delta_e",
    title="Colour error",
    symbol="ΔE",
    direction="lower",
    range=(0.0, None),
    decimals=1,
    description="Mean CIEDE2000.",
    theme="colour",
)
SSIM = MetricInfo(
    name="ssim",
    title="Structural similarity",
    symbol="SSIM",
    direction="higher",
    range=(-1.0, 1.0),
    decimals=3,
    description="Structural similarity.",
    theme="structure",
)
SPEC: dict[str, Any] = {
    "task": "colorization",
    "data": {"name": "polygons", "size": 32},
    "model": {"name": "conditional_unet", "widths": [8], "layers": 1, "head_dim": 8},
    "optimizer": {"name": "adamw", "lr": 1e-4, "weight_decay": 1e-4},
    "schedule": {"name": "constant"},
    "train": {"epochs": 1, "batch_size": 16, "clip_norm": 1.0, "precision": "fp32"},
    "primary_metric": "delta_e",
    "perceptual_weights": "random",
    "strategy": "single",
    "world_size": 1,
}
TITLES = {"mse": "MSE", "lab": "+ LAB"}


def commit_of(index: int) -> str:
    """Return a made-up commit whose first digits name the run."""
    return f"{index:03d}" + content_hash(index)[:4] + "0" * 33


@dataclass
class HistoryStore:
    """Writes one run after the other, a day apart; each trains anew unless told otherwise."""

    root: Path
    suite: str = "losses"
    margins: dict[str, float] = field(default_factory=dict)
    count: int = 0
    attempts: dict[str, int] = field(default_factory=dict)
    """Trial id -> number of its last attempt."""
    reuse: dict[str, int] = field(default_factory=dict)
    """Trial id -> attempt that a run which reuses takes."""

    def add(
        self,
        values: Mapping[str, Sequence[float]],
        *,
        code: str | None = None,
        reused: Sequence[int] = (),
        dirty: bool = False,
        host: str = "bench",
        data: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        failed: Sequence[tuple[str, int]] = (),
        profile: str | None = "ci",
        seconds: float = 20.0,
        folds: int | None = None,
        git: bool = True,
    ) -> str:
        """Write a run and return its id.

        Args:
            values: variant -> value of each seed, from 0; with folds of each seed and fold in turn.
            code: hash of the sources; another one for every run unless given.
            reused: seeds whose trials are those of an earlier run.
            dirty: the work tree had changes.
            host: the machine.
            data: settings of the data section.
            settings: further settings of every variant.
            failed: (variant, seed) of trials that failed.
            profile: of the run.
            seconds: of training, of every trial.
            folds: parts of the cross-validation.
            git: whether the run knows its commit.
        """
        index, self.count = self.count, self.count + 1
        started = STARTED + timedelta(days=index)
        run_id = f"{started:%Y%m%d-%H%M%S}-{content_hash(index)[:6]}"
        plan = self._plan(
            values,
            folds,
            {**SPEC, "data": {**SPEC["data"], **(data or {})}, **(settings or {})},
            profile,
        )
        code = code or f"code{index:03d}"
        taken: dict[str, int] = {}
        store = create_store(self.root)
        for trial in plan.trials:
            [variant] = trial.variants
            if trial.seed in reused:
                taken[trial.id] = self.reuse[trial.id]
                continue
            number = self.attempts[trial.id] = self.attempts.get(trial.id, 0) + 1
            self.reuse[trial.id] = number
            position = trial.seed if trial.fold is None else trial.seed * (folds or 0) + trial.fold
            store.write_attempt(
                _attempt(
                    trial,
                    run_id,
                    number,
                    values[variant][position],
                    code=code,
                    host=host,
                    seconds=seconds,
                    failed=(variant, trial.seed) in failed,
                    started=started,
                )
            )
        store.write_run(
            Run(
                run_id=run_id,
                suite=self.suite,
                suite_hash="0123456789abcdef",
                profile=profile,
                plan=plan.model_dump_json(),
                reused=json.dumps(taken),
                notes="[]",
                status="complete",
                started=started,
                ended=started + timedelta(minutes=5),
                executor="local",
                cpus=2,
                gpus=0,
                command="harness run losses",
                git_commit=commit_of(index) if git else None,
                git_dirty="d1d1" if dirty else None,
                code_hash=code,
                host=host,
                pid=1,
                versions="{}",
            )
        )
        return run_id

    def _plan(
        self,
        values: Mapping[str, Sequence[float]],
        folds: int | None,
        settings: Mapping[str, Any],
        profile: str | None,
    ) -> Plan:
        parts = [None] if folds is None else range(folds)
        seeds = range(len(next(iter(values.values()))) // len(parts))
        trials = []
        for seed in seeds:
            for fold in parts:
                for name in values:
                    loss = {"mse": {"weight": 1.0}, **({} if name == "mse" else {name: {"weight": 0.5}})}
                    spec = {**settings, "loss": loss, "seed": seed, "fold": fold}
                    trials.append(
                        PlannedTrial(id=content_hash(spec), variants=(name,), seed=seed, fold=fold, spec=spec)
                    )
        names = list(values)
        return Plan(
            suite=self.suite,
            suite_hash="0123456789abcdef",
            question="Which loss?",
            description="",
            task="colorization",
            profile=profile,
            primary_metric="delta_e",
            metrics={"delta_e": DELTA_E, "ssim": SSIM},
            loss_terms=("mse",),
            reference=names[0],
            variants=tuple(
                Variant(
                    name=name,
                    title=TITLES.get(name, name),
                    levels={"loss": name},
                    factor="loss" if index else None,
                )
                for index, name in enumerate(names)
            ),
            seeds=tuple(seeds),
            folds=folds,
            trials=tuple(trials),
            claims=(),
            margins=self.margins,
            resources=Resources(),
            report=ReportOptions(),
        )


def _attempt(
    trial: PlannedTrial,
    run_id: str,
    number: int,
    value: float,
    *,
    code: str,
    host: str,
    seconds: float,
    failed: bool,
    started: datetime,
) -> Attempt:
    row = {"epoch": 1, "step": 10, "split": "validation", "label": None, "count": 8, "sd": None}
    return Attempt(
        run_id=run_id,
        trial_id=trial.id,
        attempt=number,
        variant=trial.variants[0],
        levels="{}",
        seed=trial.seed,
        fold=trial.fold,
        spec=json.dumps(trial.spec),
        code_hash=code,
        status="failed" if failed else "complete",
        error_class="ValueError" if failed else None,
        epochs_done=1,
        parameters=1000,
        trainable_parameters=1000,
        train_seconds=seconds,
        wall_seconds=seconds,
        images_per_second=100.0,
        device="cpu",
        threads=1,
        strategy="single",
        world_size=1,
        precision="fp32",
        determinism="strict",
        host=host,
        started=started,
        ended=started + timedelta(minutes=1),
        metrics=[
            {**row, "metric": "delta_e", "value": value},
            {**row, "metric": "ssim", "value": 1 - value / 100},
        ],
    )

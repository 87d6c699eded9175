"""Records built by hand, whose verdicts are known before they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import pandas as pd

from harness.config import MetricInfo
from harness.grammar import Claim, ReportOptions, Resources
from harness.plan import Plan, PlannedTrial, Variant

DELTA_E = MetricInfo(
    name="delta_e",
    title="Colour error",
    symbol="ΔE",
    direction="lower",
    range=(0.0, None),
    decimals=1,
    description="Colour difference.",
    theme="colour",
)
SHARPNESS = MetricInfo(
    name="edge_sharpness",
    title="Edge sharpness",
    symbol="Sharp",
    direction="higher",
    range=(0.0, 1.0),
    decimals=2,
    description="Sharpness of edges.",
    theme="structure",
)
LPIPS_RAND = MetricInfo(
    name="lpips_rand",
    title="Perceptual distance (random)",
    symbol="LPIPS-rand",
    direction="lower",
    range=(0.0, None),
    description="Distance of random features.",
    theme="perceptual",
)
ACCURACY = MetricInfo(
    name="colour_accuracy",
    title="Right colour",
    symbol="Acc",
    direction="higher",
    range=(0.0, 1.0),
    decimals=0,
    percent=True,
    description="Share of pixels.",
    theme="colour",
)
PSNR = MetricInfo(
    name="psnr",
    title="Peak signal-to-noise ratio",
    symbol="PSNR",
    unit="dB",
    direction="higher",
    range=(0.0, None),
    decimals=1,
    description="Ratio.",
    theme="pixel",
)

Values = Sequence[float | None]


@dataclass
class HandRecord:
    """The four things that analysis asks of a run's record."""

    plan: Plan
    trials: pd.DataFrame
    metrics: pd.DataFrame
    costs: pd.DataFrame
    image_rows: pd.DataFrame = field(default_factory=pd.DataFrame)

    def images(self) -> pd.DataFrame:
        """The table of images, as it is given."""
        return self.image_rows


def claim(metric: str, of: str, versus: str, direction: str, **rest: object) -> Claim:
    """A claim about two variants."""
    return claim_of(metric=metric, of=of, versus=versus, direction=direction, **rest)


def claim_of(**expect: object) -> Claim:
    """A claim of any form, as a suite would write what it expects."""
    return Claim.model_validate_json(json.dumps({"id": "claimed", "says": "a claim", "expect": expect}))


def build(
    finals: Mapping[str, Mapping[str, Values]],
    *,
    infos: Sequence[MetricInfo] = (DELTA_E,),
    status: Mapping[tuple[str | int, ...], str] | None = None,
    margins: Mapping[str, float] | None = None,
    claims: Sequence[Claim] = (),
    shared: Mapping[str, str] | None = None,
    train_seconds: Mapping[str, Values] | None = None,
    costs: Mapping[str, Mapping[str, Values]] | None = None,
    chain: bool = True,
    folds: int | None = None,
) -> HandRecord:
    """Build a record from final values: metric (or metric@label) -> variant -> one value per seed.

    Every trial has two epochs, the first of which is ten worse than the second, so that a
    reading of the wrong epoch shows.  None leaves a value out.  `status` overrides "complete"
    for (variant, seed); "absent" leaves the trial's row out.  `shared` lets one variant use
    the trials of another.  Seeds are 10, 11, ...; with `folds` there are as many values of
    every seed, and `status` overrides for (variant, seed, fold).  `costs` are columns of the trials,
    or rows of the costs, such as latency_seconds -> variant -> one value per seed.
    """
    status, shared = status or {}, shared or {}
    variants = list(next(iter(finals.values())))
    count = len(next(iter(next(iter(finals.values())).values())))
    seeds = range(10, 10 + count // (folds or 1))
    parts: Sequence[int | None] = [None] if folds is None else range(folds)
    trials, rows, paid = [], [], []
    for index, (seed, fold) in enumerate(product(seeds, parts)):
        for name in variants:
            key = (name, seed) if fold is None else (name, seed, fold)
            state = status.get(key, "complete")
            if name in shared or state == "absent":
                continue
            trial = trial_id(name, seed, fold)
            row = _trial(name, seed, state, (train_seconds or {}).get(name), index)
            given = {cost: values[name][index] for cost, values in (costs or {}).items()}
            trials.append(row | {"trial_id": trial, "fold": fold} | {c: given[c] for c in given if c in row})
            paid += [
                {"trial_id": trial, "attempt": 1, "epoch": 2, "name": cost, "value": value}
                for cost, value in given.items()
                if cost not in row and value is not None
            ]
            for recorded, by_variant in finals.items():
                metric, _, label = recorded.partition("@")
                value = by_variant[name][index]
                if value is not None:
                    rows += [
                        _row(name, seed, e, metric, label or None, v) | {"trial_id": trial}
                        for e, v in ((1, value + 10), (2, value))
                    ]
    return HandRecord(
        plan=_plan(variants, seeds, infos, margins or {}, claims, shared, chain, folds),
        trials=pd.DataFrame(trials),
        metrics=pd.DataFrame(rows),
        costs=pd.DataFrame(paid, columns=["trial_id", "attempt", "epoch", "name", "value"]),
    )


def curves(
    by_variant: Mapping[str, Sequence[Sequence[float]]],
    info: MetricInfo = DELTA_E,
    claims: Sequence[Claim] = (),
    *,
    losses: Mapping[str, Sequence[Sequence[float]]] | None = None,
    training: Mapping[str, Sequence[Sequence[float]]] | None = None,
    epoch_seconds: Sequence[float] = (),
) -> HandRecord:
    """Build a record from whole validation curves: variant -> seed -> value at every epoch.

    `losses` and `training` are the same of the validation and the training loss; `epoch_seconds`
    has the training time of an epoch for every seed.
    """
    variants = list(by_variant)
    seeds = range(10, 10 + max(len(seen) for seen in by_variant.values()))
    trials, rows, paid = [], [], []
    for name, by_seed in by_variant.items():
        for seed, curve in zip(seeds, by_seed, strict=False):
            trials.append(_trial(name, seed, "complete", None, 0) | {"epochs_done": len(curve)})
            rows += [_row(name, seed, epoch, info.name, None, value) for epoch, value in enumerate(curve, 1)]
    for split, given in (("validation", losses), ("train", training)):
        for name, by_seed in (given or {}).items():
            for seed, curve in zip(seeds, by_seed, strict=False):
                made = (_row(name, seed, epoch, "loss", None, value) for epoch, value in enumerate(curve, 1))
                rows += [row | {"split": split} for row in made]
    for trial in trials:
        for seed, seconds in zip(seeds, epoch_seconds, strict=False):
            if trial["seed"] == seed:
                key = {"trial_id": trial["trial_id"], "attempt": 1, "name": "train_seconds"}
                last = int(str(trial["epochs_done"]))
                paid += [key | {"epoch": epoch, "value": seconds} for epoch in range(1, last + 1)]
    plan = _plan(variants, seeds, [info], {}, claims, {}, True, None)
    return HandRecord(plan, pd.DataFrame(trials), pd.DataFrame(rows), pd.DataFrame(paid))


def trial_id(name: str, seed: int, fold: int | None) -> str:
    return f"{name}-{seed}" if fold is None else f"{name}-{seed}-{fold}"


def _trial(name: str, seed: int, status: str, seconds: Values | None, index: int) -> dict[str, object]:
    time = seconds[index] if seconds else 10.0
    return {
        "trial_id": f"{name}-{seed}",
        "attempt": 1,
        "variant": name,
        "seed": seed,
        "status": status,
        "error_class": "ValueError" if status == "failed" else None,
        "failure_kind": None,
        "error": None,
        "epochs_done": 2,
        "resumed_from": None,
        "parameters": 1000,
        "forward_flops": 50_000,
        "peak_memory_bytes": None,
        "images_per_second": 1000.0 / (time or 1.0),
        "train_seconds": time,
        "wall_seconds": time,
        "host": "one",
        "device": "cpu",
        "threads": 1,
    }


def _row(name: str, seed: int, epoch: int, metric: str, label: str | None, value: float) -> dict[str, object]:
    return {
        "trial_id": f"{name}-{seed}",
        "attempt": 1,
        "epoch": epoch,
        "step": epoch,
        "split": "validation",
        "metric": metric,
        "label": label,
        "value": value,
        "count": 8,
        "sd": 2.0,
    }


def _plan(
    variants: Sequence[str],
    seeds: Sequence[int],
    infos: Sequence[MetricInfo],
    margins: Mapping[str, float],
    claims: Sequence[Claim],
    shared: Mapping[str, str],
    chain: bool,
    folds: int | None,
) -> Plan:
    described = [
        Variant(
            name=name,
            title=name.upper(),
            levels={"loss": name},
            factor="loss" if index else None,
            previous=variants[index - 1] if index and chain else None,
        )
        for index, name in enumerate(variants)
    ]
    planned = [
        PlannedTrial(
            id=trial_id(name, seed, fold),
            variants=(name, *(other for other, owner in shared.items() if owner == name)),
            seed=seed,
            fold=fold,
            spec={},
        )
        for seed in seeds
        for fold in ([None] if folds is None else range(folds))
        for name in variants
        if name not in shared
    ]
    return Plan(
        suite="hand",
        suite_hash="0",
        question="Which?",
        description="",
        task="colorization",
        profile=None,
        primary_metric=infos[0].name,
        metrics={info.name: info for info in infos},
        loss_terms=("mse",),
        reference=variants[0],
        variants=tuple(described),
        seeds=tuple(seeds),
        folds=folds,
        trials=tuple(planned),
        claims=tuple(claims),
        margins=dict(margins),
        resources=Resources(),
        report=ReportOptions(),
    )

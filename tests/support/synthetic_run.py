"""A made-up run record: four loss recipes, five seeds, curves, labels and sample pictures.

Its numbers are drawn from a fixed generator around chosen means, so that tests
know which variant must win: `lab` on colour, nobody on structure.  With `depths` the recipes
are crossed with a second factor; with `folds` every seed is a cross-validation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from harness.config import MetricInfo
from harness.expectation import Difference
from harness.grammar import Claim, ReportOptions, Resources
from harness.plan import Plan, PlannedTrial, Variant
from harness.store.files import LocalFiles
from harness.store.read import RunRecord
from harness.store.schema import ARTIFACT_FIELDS, COST_FIELDS, METRIC_FIELDS, TRIAL_FIELDS, images_schema

COLOURS = {
    "red": (214, 39, 40),
    "orange": (255, 127, 14),
    "yellow": (240, 200, 20),
    "green": (44, 160, 44),
    "cyan": (23, 190, 207),
    "blue": (31, 90, 200),
    "purple": (128, 60, 180),
    "magenta": (220, 40, 160),
}
SIDES = {"triangle": 3, "square": 4, "hexagon": 6}
TILE = 48
IMAGES = 160  # of a table of images
STARTED = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)

METRICS = {
    info.name: info
    for info in (
        MetricInfo(
            name="delta_e",
            title="Colour error",
            symbol="ΔE",
            direction="lower",
            range=(0.0, None),
            decimals=1,
            description="Mean CIEDE2000 over the polygon.",
            theme="colour",
        ),
        MetricInfo(
            name="psnr",
            title="Peak signal to noise",
            symbol="PSNR",
            unit="dB",
            direction="higher",
            range=(0.0, None),
            decimals=1,
            description="Peak signal-to-noise ratio over the image.",
            theme="pixel",
        ),
        MetricInfo(
            name="ssim",
            title="Structural similarity",
            symbol="SSIM",
            direction="higher",
            range=(-1.0, 1.0),
            decimals=3,
            description="Structural similarity, window 11.",
            theme="structure",
        ),
        MetricInfo(
            name="lpips_rand",
            title="Perceptual distance (random features)",
            symbol="LPIPS-r",
            direction="lower",
            range=(0.0, None),
            decimals=3,
            description="LPIPS on random features.",
            theme="perceptual",
        ),
        MetricInfo(
            name="colour_accuracy",
            title="Colour accuracy",
            symbol="Colour accuracy",
            direction="higher",
            range=(0.0, 1.0),
            decimals=0,
            percent=True,
            description="Share of polygons whose mean colour is nearest to the named one.",
            theme="colour",
        ),
    )
}
# metric -> (value before training, final mean by step of the chain, spread between seeds, spread of a step)
TRUTH = {
    "delta_e": (42.0, (21.4, 20.3, 19.9, 8.6), 1.0, 0.6),
    "psnr": (9.0, (22.0, 23.3, 24.6, 27.9), 0.4, 0.2),
    "ssim": (0.4, (0.902, 0.915, 0.941, 0.944), 0.01, 0.006),
    "lpips_rand": (0.6, (0.210, 0.160, 0.155, 0.140), 0.008, 0.006),
    "colour_accuracy": (0.1, (0.52, 0.55, 0.58, 0.89), 0.03, 0.02),
}
STEPS = (
    ("mse", "MSE", "mse"),
    ("lpips", "+ LPIPS", "lpips"),
    ("ssim", "+ SSIM", "ssim"),
    ("lab", "+ LAB", "lab_l1"),
)
WEIGHTS = {"mse": 1.0, "lpips": 0.5, "ssim": 0.2, "lab_l1": 0.3}
RECORDED = {"lpips": "lpips_rand"}  # random features record under another name
WHY = {"lpips": "MSE alone blurs edges", "lab": "colours are still wrong"}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the made-up run is like."""

    steps: int = 4
    seeds: int = 5
    folds: int | None = None
    depths: int = 1
    """Levels of a second factor, crossed with the recipes; 1 for the chain alone."""
    epochs: int = 20
    claims: bool = True
    samples: bool = True
    labels: bool = True
    failed: tuple[tuple[str, int], ...] = ()
    """(variant, seed) of trials that failed at epoch 3."""
    missing: tuple[tuple[str, int], ...] = ()
    """(variant, seed) of trials that never started."""
    running: tuple[tuple[str, int], ...] = ()
    """(variant, seed) of trials at epoch 3 of a run that is still going."""
    titles: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    margins: dict[str, float] = field(default_factory=lambda: {"delta_e": 2.0})
    reported: dict[str, float] = field(default_factory=lambda: {"parameters": 68_148_747})
    notes: tuple[str, ...] = ()
    """Lines that the plan leaves for its reader."""
    images: bool = False
    """Keep tables of images, the worst pictures and the loss on the validation images."""
    overfitting: tuple[str, ...] = ()
    """Variants whose loss on the validation images rises from the middle of the epochs on."""
    missing_folds: tuple[tuple[str, int, int], ...] = ()
    """(variant, seed, fold) of trials that never started."""


def synthetic_record(root: Path, **shape: Any) -> RunRecord:
    """Return the record of a made-up run; its pictures are written below `root`."""
    return _Builder(root, Shape(**shape)).record()


def _trial_id(variant: str, seed: int, fold: int | None) -> str:
    part = "" if fold is None else f"/{fold}"
    return hashlib.sha256(f"{variant}/{seed}{part}".encode()).hexdigest()[:16]


class _Builder:
    def __init__(self, root: Path, shape: Shape) -> None:
        self.root = root
        self.shape = shape
        self.random = np.random.default_rng(20)
        self.trials: list[dict[str, Any]] = []
        self.metrics: list[dict[str, Any]] = []
        self.costs: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []

    def record(self) -> RunRecord:
        plan = self.plan()
        for seed in plan.seeds:
            for fold in self.folds:
                common = self.random.normal(size=len(METRICS))
                for index in range(len(plan.variants)):
                    self.trial(plan, index, seed, fold, common)
        return RunRecord(
            files=LocalFiles(self.root),
            run=self.run(),
            plan=plan,
            trials=_frame(self.trials, TRIAL_FIELDS),
            metrics=_frame(self.metrics, METRIC_FIELDS, nested=True),
            costs=_frame(self.costs, COST_FIELDS, nested=True),
            artifacts=_frame(self.artifacts, ARTIFACT_FIELDS, nested=True),
        )

    def plan(self) -> Plan:
        seeds = tuple(range(self.shape.seeds))
        variants = tuple(self.variant(index) for index in range(self.shape.depths * self.shape.steps))
        return Plan(
            suite="colorization_losses",
            suite_hash="0123456789abcdef",
            question="Which loss terms does polygon colorization need?",
            description="Loss terms are added one by one.",
            task="colorization",
            profile="laptop",
            primary_metric="delta_e",
            metrics=METRICS,
            loss_terms=tuple(WEIGHTS)[: self.shape.steps],
            reference="mse",
            variants=variants,
            seeds=seeds,
            folds=self.shape.folds,
            trials=tuple(
                PlannedTrial(
                    id=_trial_id(variant.name, seed, fold),
                    variants=(variant.name,),
                    seed=seed,
                    fold=fold,
                    spec=self.spec(index, seed, fold),
                )
                for seed in seeds
                for fold in self.folds
                for index, variant in enumerate(variants)
            ),
            claims=_claims() if self.shape.claims else (),
            margins=self.shape.margins,
            resources=Resources(),
            report=ReportOptions(),
            notes=self.shape.notes,
        )

    @property
    def folds(self) -> Sequence[int | None]:
        return [None] if self.shape.folds is None else range(self.shape.folds)

    def variant(self, index: int) -> Variant:
        depth, step = divmod(index, self.shape.steps)
        return self.crossed(depth, step) if self.shape.depths > 1 else self.step(step)

    def crossed(self, depth: int, step: int) -> Variant:
        """A variant of both factors: no step before it, and changes of both."""
        name, title, _ = STEPS[step]
        chain = self.step(step)
        names = [f"d{depth + 1}"] * (depth > 0) + [name] * (step > 0)
        return chain.model_copy(
            update={
                "name": ",".join(names) or name,
                "title": f"depth {depth + 1} · {title.removeprefix('+ ')}",
                "levels": {"depth": f"d{depth + 1}", "loss_terms": name},
                "factor": "size_and_loss" if len(names) > 1 else "depth" if depth else chain.factor,
                "previous": None,
                "changes": chain.changes | ({"model.layers": depth + 1} if depth else {}),
                "why": " · ".join(filter(None, [chain.why, "a deeper model may need it" if depth else None]))
                or None,
            }
        )

    def step(self, step: int) -> Variant:
        name, title, _ = STEPS[step]
        changes = {f"loss.{STEPS[i][2]}": {"weight": WEIGHTS[STEPS[i][2]]} for i in range(1, step + 1)}
        return Variant(
            name=name,
            title=self.shape.titles.get(name, title),
            levels={"loss_terms": name},
            factor="loss_terms" if step else None,
            previous=STEPS[step - 1][0] if step else None,
            changes=changes,
            why=WHY.get(name),
            reported=self.shape.reported,
            links=self.shape.links,
        )

    def spec(self, index: int, seed: int, fold: int | None) -> dict[str, Any]:
        depth, step = divmod(index, self.shape.steps)
        return {
            "task": "colorization",
            "data": {"name": "polygons", "size": 64, "train_size": 512},
            "model": {
                "name": "conditional_unet",
                "widths": [32, 64, 128],
                "layers": 1 + depth,
                "head_dim": 8,
            },
            "loss": {term: {"weight": WEIGHTS[term]} for _, _, term in STEPS[: step + 1]},
            "optimizer": {"name": "adamw", "lr": 1e-4, "weight_decay": 1e-4},
            "schedule": {"name": "warmup_cosine", "warmup": 0.1},
            "train": {"epochs": self.shape.epochs, "batch_size": 16, "clip_norm": 1.0, "precision": "fp32"},
            "primary_metric": "delta_e",
            "perceptual_weights": "random",
            "strategy": "single",
            "world_size": 1,
            "seed": seed,
            "folds": self.shape.folds,
            "fold": fold,
        }

    def run(self) -> dict[str, Any]:
        cut = bool(self.shape.running or self.shape.missing or self.shape.missing_folds)
        return {
            "run_id": "20261120-093000-1a2b3c",
            "suite": "colorization_losses",
            "suite_hash": "0123456789abcdef",
            "profile": "laptop",
            "reused": {self.trials[0]["trial_id"]: 1},
            "notes": [*self.shape.notes, "3 stored trials were made by other code (f00d) and run again"],
            "status": "running" if cut else "complete",
            "started": STARTED,
            "ended": None if cut else STARTED + timedelta(seconds=600),
            "executor": "ray",
            "cpus": 2,
            "gpus": 0,
            "command": "harness run colorization_losses --profile laptop",
            "git_commit": "3f2a91c0d5e6f708192a3b4c5d6e7f8091a2b3c4",
            "git_dirty": None,
            "code_hash": "feedfacecafebeef",
            "host": "bench",
            "pid": 4242,
            "versions": {"harness": "0.1.0", "torch": "2.15.0", "ray": "2.60.0", "python": "3.11.9"},
        }

    def trial(self, plan: Plan, index: int, seed: int, fold: int | None, common: np.ndarray) -> None:
        variant, step = plan.variants[index].name, index % self.shape.steps
        noise = common, self.random.normal(size=len(METRICS))
        if (variant, seed) in self.shape.missing or (variant, seed, fold) in self.shape.missing_folds:
            return
        status = "complete"
        if (variant, seed) in self.shape.failed:
            status = "failed"
        elif (variant, seed) in self.shape.running:
            status = "running"
        epochs = self.shape.epochs if status == "complete" else min(3, self.shape.epochs)
        key = {"trial_id": _trial_id(variant, seed, fold), "attempt": 1}
        row = self.trial_row(variant, step, seed, status, epochs)
        self.trials.append(key | row | {"fold": fold})
        for epoch in range(1, epochs + 1):
            self.epoch(key, step, epoch, noise)
        if self.shape.samples:
            self.pictures(key, step, epochs)
        if self.shape.images and status == "complete":
            self.images(key, step, seed, epochs)

    def trial_row(self, variant: str, step: int, seed: int, status: str, epochs: int) -> dict[str, Any]:
        seconds = 20.0 + 5.0 * step + 0.5 * seed
        failed = status == "failed"
        return {
            "run_id": "20261120-093000-1a2b3c",
            "variant": variant,
            "levels": "{}",
            "seed": seed,
            "spec": "{}",
            "code_hash": "feedfacecafebeef",
            "status": status,
            "error_class": "NonFiniteLossError" if failed else None,
            "error": "Traceback\n  in step\nNonFiniteLossError: the loss became nan at step 96"
            if failed
            else None,
            "failure": '{"step": 96, "terms": {"mse": 0.1, "lab_l1": null}}' if failed else None,
            "epochs_done": epochs,
            "resumed_from": None,
            "parameters": 2_410_000,
            "trainable_parameters": 2_410_000,
            "forward_flops": 1_200_000_000,
            "images_per_second": 320.0 - 20 * step,
            "peak_memory_bytes": 900_000_000 + 1_000_000 * step,
            "wall_seconds": seconds,
            "train_seconds": seconds * 0.8,
            "device": "cpu",
            "threads": 1,
            "strategy": "single",
            "world_size": 1,
            "precision": "fp32",
            "determinism": "strict",
            "host": "bench",
            "started": STARTED + timedelta(seconds=10 * step),
            "ended": STARTED + timedelta(seconds=10 * step + seconds),
        }

    def epoch(self, key: dict[str, Any], step: int, epoch: int, noise: tuple[np.ndarray, np.ndarray]) -> None:
        at = key | {"epoch": epoch, "step": 32 * epoch}
        share = (1 - np.exp(-4 * epoch / self.shape.epochs)) / (1 - np.exp(-4))
        for index, (name, (start, finals, seeds_apart, steps_apart)) in enumerate(TRUTH.items()):
            final = finals[step] + noise[0][index] * seeds_apart + noise[1][index] * steps_apart
            value = float(start + (final - start) * share)
            row = {"split": "validation", "metric": name, "label": None, "value": value, "count": 128}
            self.metrics.append(at | row | {"sd": 4 * seeds_apart})
            if self.shape.labels and name in ("delta_e", "ssim"):
                self.labels(at, name, value)
        for index, (_, _, term) in enumerate(STEPS[: step + 1]):
            loss = float(
                0.2 * (1 + index) * np.exp(-2.5 * epoch / self.shape.epochs) + 0.01 * abs(noise[0][index])
            )
            self.metrics.append(
                at
                | {
                    "split": "train",
                    "metric": f"loss/{RECORDED.get(term, term)}",
                    "label": None,
                    "value": loss,
                    "count": 512,
                }
            )
        total = 0.5 / epoch * (1 + 0.05 * float(noise[0][0]) * self.shape.images)
        self.metrics.append(
            at | {"split": "train", "metric": "loss", "label": None, "value": total, "count": 512}
        )
        if self.shape.images:
            self.metrics.append(at | self.validation_loss(STEPS[step][0], epoch, noise[0][0]))
        costs = {"train_seconds": 0.9 + 0.2 * step, "validation_seconds": 0.2}
        if epoch == self.shape.epochs:
            costs["latency_seconds"] = float(4e-3 + 4e-4 * step + 2e-5 * noise[1][0])
        for name, value in costs.items():
            self.costs.append(key | {"epoch": epoch, "name": name, "value": value})

    def validation_loss(self, variant: str, epoch: int, noise: float) -> dict[str, Any]:
        past = max(0.0, epoch / self.shape.epochs - 0.5) if variant in self.shape.overfitting else 0.0
        value = 0.6 / epoch + past * (0.5 + 0.05 * float(noise))
        return {"split": "validation", "metric": "loss", "label": None, "value": value, "count": 128}

    def images(self, key: dict[str, Any], step: int, seed: int, epochs: int) -> None:
        """Keep 160 images of which blue ones are the worst and half of them are taken for purple."""
        random = np.random.default_rng([20, step, seed])
        labels = [list(COLOURS)[index % len(COLOURS)] for index in range(IMAGES)]
        value = self.metrics_at_end(key)
        worse = np.where(np.array(labels) == "blue", 6.0, 0.0) + random.normal(scale=0.5, size=IMAGES)
        found = [
            "purple" if colour == "blue" and index % 16 < 8 else colour for index, colour in enumerate(labels)
        ]
        columns = {
            "index": list(range(IMAGES)),
            "label/colour": labels,
            "label/shape": [list(SIDES)[index % len(SIDES)] for index in range(IMAGES)],
            "found/colour": found,
            "delta_e": value + worse - worse.mean(),
            "loss": random.random(IMAGES),
        }
        folder = Path("artifacts") / key["trial_id"] / "1"
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        table = pa.table(columns, schema=images_schema(list(columns)))
        pq.write_table(table, self.root / folder / "images.parquet")
        grid = Image.new("RGB", (8 * TILE, 3 * TILE), "white")
        for row, saturation in enumerate((0.0, 1.0, 0.4)):
            strip = _strip(saturation, outline=row == 0)
            grid.paste(strip, (0, row * TILE))
            grid.paste(strip, (strip.width, row * TILE))
        grid.save(self.root / folder / "worst.png")
        at = key | {"epoch": epochs, "hash": "00"}
        for kind, name, file in (
            ("images", "validation", "images.parquet"),
            ("sample", "worst", "worst.png"),
        ):
            self.artifacts.append(at | {"kind": kind, "name": name, "path": (folder / file).as_posix()})

    def metrics_at_end(self, key: dict[str, Any]) -> float:
        """Return the last value of the primary metric of a trial."""
        return next(
            float(row["value"])
            for row in reversed(self.metrics)
            if (row["trial_id"], row["metric"], row["label"]) == (key["trial_id"], "delta_e", None)
        )

    def labels(self, at: dict[str, Any], metric: str, value: float) -> None:
        shift = np.linspace(0.85, 1.15, len(COLOURS))
        for factor, colour in zip(shift, COLOURS, strict=True):
            row = {"split": "validation", "metric": metric, "label": f"colour={colour}", "count": 16}
            self.metrics.append(at | row | {"value": value * float(factor)})
        for factor, shape in zip((0.9, 1.0, 1.1), SIDES, strict=True):
            row = {"split": "validation", "metric": metric, "label": f"shape={shape}", "count": 42}
            self.metrics.append(at | row | {"value": value * factor})

    def pictures(self, key: dict[str, Any], step: int, epochs: int) -> None:
        self.picture(key, "input", None, 0.0, outline=True)
        self.picture(key, "target", None, 1.0)
        for epoch in range(1, epochs + 1):
            done = epoch / self.shape.epochs
            self.picture(key, "prediction", epoch, min(1.0, (0.3 + 0.2 * step) * (0.4 + done)))

    def picture(
        self, key: dict[str, Any], name: str, epoch: int | None, saturation: float, *, outline: bool = False
    ) -> None:
        path = Path("samples") / key["trial_id"] / f"{name}{epoch or ''}.png"
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        _strip(saturation, outline).save(self.root / path)
        row = {"kind": "sample", "name": name, "epoch": epoch, "path": path.as_posix(), "hash": "00"}
        self.artifacts.append(key | row)


def _claims() -> tuple[Claim, ...]:
    lab = Difference(metric="delta_e", of="lab", versus="ssim", direction="better", by=1.0)
    lpips = Difference(metric="ssim", of="ssim", versus="lab", direction="better")
    worse = Difference(metric="delta_e", of="lab", versus="mse", direction="worse")
    return (
        Claim(id="lab", says="the LAB loss is the largest single gain in colour fidelity", expect=lab),
        Claim(id="structure", says="SSIM alone keeps structure better than with LAB", expect=lpips),
        Claim(
            id="harm", says="all terms together make colours worse", expect=worse, source="a made-up paper"
        ),
    )


def _strip(saturation: float, outline: bool) -> Image.Image:
    strip = Image.new("RGB", (TILE * 6, TILE), "white")
    draw = ImageDraw.Draw(strip)
    for index, colour in enumerate(list(COLOURS.values())[:6]):
        faded = tuple(round(128 + (channel - 128) * saturation) for channel in colour)
        sides = list(SIDES.values())[index % 3]
        centre = (TILE * index + TILE / 2, TILE / 2, TILE * 0.36)
        draw.regular_polygon(
            centre, sides, fill="white" if outline else faded, outline="black" if outline else faded
        )
    return strip


def _frame(rows: list[dict[str, Any]], fields: list[tuple[str, pa.DataType]], *, nested: bool = False) -> Any:
    keys = [("trial_id", pa.string()), ("attempt", pa.int32())] if nested else []
    return pa.Table.from_pylist(rows, schema=pa.schema([*keys, *fields])).to_pandas()

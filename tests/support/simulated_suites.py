"""Suites of drawn values whose truth is known: what verdicts are counted on, as arrays or in a store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.analysis.effects import Comparison, judge_pairs
from harness.analysis.values import Replicate, ReplicateTable
from harness.config import MetricInfo
from harness.grammar import ReportOptions, Resources
from harness.plan import Plan, PlannedTrial, Variant
from harness.store.read import RunRecord, open_store
from harness.store.write import Attempt, Run, create_store

METRIC = MetricInfo(
    name="delta_e",
    title="Colour error",
    symbol="ΔE",
    direction="lower",
    range=(0.0, None),
    decimals=1,
    description="Colour difference.",
    theme="colour",
)
STARTED = datetime(2026, 1, 1, tzinfo=UTC)

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def heavy_tails(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Student's t with 3 degrees of freedom."""
    return rng.standard_t(3, size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Exponential, less its mean."""
    return rng.exponential(size=shape) - 1


def unequal_spreads(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard deviations from 0.25 to 4, one of each variant."""
    return rng.normal(size=shape) * np.geomspace(0.25, 4, shape[-2])[:, None]


def equal_suites(
    rng: np.random.Generator,
    count: int,
    *,
    variants: int = 5,
    seeds: int = 5,
    seed_sd: float = 1.0,
    noise: Noise = normal,
) -> np.ndarray:
    """Draw suites whose variants are all equal, shape (count, variants, seeds).

    A value is 20 and an effect of its seed, the same in every variant, and noise of its own.
    """
    effect = rng.normal(0, seed_sd, (count, 1, seeds))
    return 20 + effect + noise(rng, (count, variants, seeds))


def tables(values: np.ndarray) -> Iterator[ReplicateTable]:
    """Yield suites, shape (count, variants, seeds), as analysis takes them; the first variant is the reference."""
    _, variants, seeds = values.shape
    names = tuple(f"v{index}" for index in range(variants))
    replicates = tuple(Replicate(seed) for seed in range(seeds))
    ids = np.array([[f"{name}-{one.seed}" for one in replicates] for name in names], dtype=object)
    for suite in values:
        yield ReplicateTable(names, replicates, suite, ids, None)


def against_reference(table: ReplicateTable, margin: float | None = None) -> list[Comparison]:
    reference, *others = table.variants
    pairs = [table.pair(other, reference) for other in others]
    return judge_pairs(METRIC, pairs, kind="reference", margin=margin)


def all_pairs(table: ReplicateTable) -> list[Comparison]:
    pairs = [table.pair(of, versus) for of, versus in itertools.combinations(table.variants, 2)]
    return judge_pairs(METRIC, pairs, kind="pair")


def any_called(found: list[Comparison]) -> bool:
    """Whether some comparison is judged better or worse."""
    return any(one.verdict in ("better", "worse") for one in found)


def write_suite(root: Path, values: np.ndarray) -> RunRecord:
    """Write one suite, shape (variants, seeds), to a store of its own, and return its record as read back."""
    store, plan = create_store(root), _plan(*values.shape)
    store.write_run(_run(plan))
    for trial in plan.trials:
        name = trial.variants[0]
        store.write_attempt(_attempt(trial, float(values[int(name[1:]), trial.seed])))
    return open_store(root).run()


def _plan(variants: int, seeds: int) -> Plan:
    names = [f"v{index}" for index in range(variants)]
    return Plan(
        suite="equals",
        suite_hash="0",
        question="Which?",
        description="",
        task="colorization",
        profile=None,
        primary_metric=METRIC.name,
        metrics={METRIC.name: METRIC},
        loss_terms=("mse",),
        reference=names[0],
        variants=tuple(Variant(name=name, title=name, levels={"loss": name}) for name in names),
        seeds=tuple(range(seeds)),
        trials=tuple(
            PlannedTrial(
                id=f"{name}-{seed}",
                variants=(name,),
                seed=seed,
                spec={"train": {"epochs": 1, "early_stopping": None}},
            )
            for seed in range(seeds)
            for name in names
        ),
        claims=(),
        margins={},
        resources=Resources(),
        report=ReportOptions(),
    )


def _run(plan: Plan) -> Run:
    return Run(
        run_id="20260101-000000-000000",
        suite=plan.suite,
        suite_hash=plan.suite_hash,
        profile=None,
        plan=plan.model_dump_json(),
        reused="{}",
        notes="[]",
        status="complete",
        started=STARTED,
        ended=STARTED,
        executor="local",
        cpus=1,
        gpus=0,
        command="harness run equals",
        git_commit=None,
        git_dirty=None,
        code_hash="0",
        host="one",
        pid=1,
        versions="{}",
    )


def _attempt(trial: PlannedTrial, value: float) -> Attempt:
    row = {
        "epoch": 1,
        "step": 1,
        "split": "validation",
        "metric": METRIC.name,
        "label": None,
        "value": value,
        "count": 8,
    }
    return Attempt(
        run_id="20260101-000000-000000",
        trial_id=trial.id,
        attempt=1,
        variant=trial.variants[0],
        levels="{}",
        seed=trial.seed,
        fold=None,
        spec="{}",
        code_hash="0",
        status="complete",
        epochs_done=1,
        metrics=[row],
        started=STARTED,
        ended=STARTED,
    )

"""Claims about drawn values whose truth is known, judged one at a time without a store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.claims.evidence import Case, gather, judge
from harness.analysis.claims.questions import Asker
from harness.analysis.claims.samples import Tables
from harness.analysis.stats import ALPHA, holm
from harness.analysis.values import Replicate, ReplicateTable
from harness.grammar import Claim, ReportOptions, Resources
from harness.plan import Plan, PlannedTrial, Variant
from tests.support.simulated_suites import METRIC

SEEDS = 5
EPOCHS = 40
SD = 0.5  # of a value; that of a seed's effect, which all variants share, is 2
QUALITY = METRIC.model_copy(update={"direction": "higher"})

CASES: list[tuple[str, dict[str, Any], list[float]]] = [
    # name, what is claimed of quality (higher is better), true means of v0, v1, ...; every one lies where
    # claim and contrary meet, which is where errors are likeliest
    ("better", {"of": "v1", "versus": "v0", "direction": "better", "by": 1}, [10, 11]),
    ("worse", {"of": "v0", "versus": "v1", "direction": "worse", "by": 1}, [10, 11]),
    ("equivalent", {"of": "v1", "versus": "v0", "direction": "equivalent", "margin": 2}, [10, 12]),
    ("at least", {"of": "v0", "at_least": 10}, [10]),
    ("at most", {"of": "v0", "at_most": 10}, [10]),
    ("between", {"of": "v0", "at_least": 10, "at_most": 60}, [10]),
    ("reported", {"of": "v0", "reported": 40, "tolerance": 30}, [10]),
    ("ranked", {"ranked": ["v2", "v1", "v0"]}, [10, 10, 20]),
    ("best", {"best": "v2"}, [0, 10, 10]),
    ("best of equals", {"best": "v2"}, [10, 10, 10]),
    ("largest gain", {"largest_gain": "v3"}, [0, 1, 6, 11]),
    ("largest gain of equals", {"largest_gain": "v3"}, [0, 5, 10, 15]),
    ("interaction", {"interaction": ["v1", "v2"], "together": "v3", "direction": "better"}, [0, 3, 4, 7]),
    (
        "no interaction",
        {"interaction": ["v1", "v2"], "together": "v3", "direction": "equivalent", "margin": 2},
        [0, 3, 4, 9],
    ),
]
COST_CASES: list[tuple[str, dict[str, Any], list[float]]] = [
    ("cost more", {"of": "v1", "versus": "v0", "direction": "more", "by": 1.3}, [100, 130]),
    ("cost less", {"of": "v1", "versus": "v0", "direction": "less", "by": 1.3}, [130, 100]),
]


def claim_of(expect: dict[str, Any]) -> Claim:
    return Claim.model_validate_json(json.dumps({"id": "claimed", "says": "a claim", "expect": expect}))


def plan_of(variants: int) -> Plan:
    """A chain of variants v0, v1, ... with 5 seeds."""
    names = [f"v{index}" for index in range(variants)]
    return Plan(
        suite="claims",
        suite_hash="0",
        question="Which?",
        description="",
        task="colorization",
        profile=None,
        primary_metric=QUALITY.name,
        metrics={QUALITY.name: QUALITY},
        loss_terms=("mse",),
        reference=names[0],
        variants=tuple(
            Variant(name=name, title=name, levels={"loss": name}, previous=before)
            for before, name in zip([None, *names], names, strict=False)
        ),
        seeds=tuple(range(SEEDS)),
        trials=tuple(
            PlannedTrial(id=f"{name}-{seed}", variants=(name,), seed=seed, spec={})
            for seed in range(SEEDS)
            for name in names
        ),
        claims=(),
        margins={},
        resources=Resources(),
        report=ReportOptions(),
    )


class Drawn(Tables):
    """One table in the place of all that a record has."""

    def __init__(self, plan: Plan, table: ReplicateTable) -> None:
        super().__init__(SimpleNamespace(plan=plan))
        self.table = table

    def of_metric(self, metric: str, label: str | None) -> ReplicateTable:
        return self.table

    def of_cost(self, cost: str) -> ReplicateTable:
        return self.table


def metric_verdicts(expect: dict[str, Any], means: list[float], count: int, seed: int) -> Iterator[str]:
    """Yield the verdict on a claim about `count` drawn suites, each a family of its own."""
    rng = np.random.default_rng(seed)
    claim = claim_of({"metric": QUALITY.name, **expect})
    alone = len(means) == 1  # an effect that variants share would be noise of the mean itself
    effect = rng.normal(0, 0 if alone else 2, (count, 1, SEEDS))
    values = np.array(means)[:, None] + effect + rng.normal(0, SD, (count, len(means), SEEDS))
    yield from _verdicts(claim, values)


def cost_verdicts(expect: dict[str, Any], means: list[float], count: int, seed: int) -> Iterator[str]:
    """Yield the verdict on a claim about times with noise of 5 %."""
    rng = np.random.default_rng(seed)
    claim = claim_of({"cost": "train_seconds", **expect})
    noise = rng.normal(0, 0.05, (count, len(means), SEEDS))
    yield from _verdicts(claim, np.array(means)[:, None] * np.exp(noise))


def _verdicts(claim: Claim, values: np.ndarray) -> Iterator[str]:
    plan = plan_of(values.shape[1])
    names = tuple(variant.name for variant in plan.variants)
    replicates = tuple(Replicate(seed) for seed in plan.seeds)
    ids = np.array([[f"{name}-{one.seed}" for one in replicates] for name in names], dtype=object)
    for suite in values:
        asker = Asker(Drawn(plan, ReplicateTable(names, replicates, suite, ids, None)))
        case = Case(claim, tuple(gather(question, ALPHA) for question in asker.ask(claim.expect)))
        yield judge(case, case.p, 1).verdict


FAMILY: list[dict[str, Any]] = [
    {"of": "v1", "versus": "v0", "direction": "better"},
    {"of": "v0", "versus": "v2", "direction": "better"},
    {"best": "v2"},
    {"ranked": ["v3", "v2", "v1"]},
    {"interaction": ["v1", "v2"], "together": "v3", "direction": "worse"},
    {"of": "v3", "versus": "v0", "direction": "equivalent", "margin": 1e-6},
]
"""False claims about four variants that are all equal; the last is true, and never to be refuted."""


def wrong_answers(count: int, seed: int) -> int:
    """Return in how many of `count` drawn suites any claim of `FAMILY` is answered wrongly."""
    rng = np.random.default_rng(seed)
    plan = plan_of(4)
    names = tuple(variant.name for variant in plan.variants)
    replicates = tuple(Replicate(seed) for seed in plan.seeds)
    ids = np.array([[f"{name}-{one.seed}" for one in replicates] for name in names], dtype=object)
    claims = [claim_of({"metric": QUALITY.name, **expect}) for expect in FAMILY]
    wrong = 0
    for values in rng.normal(0, SD, (count, 4, SEEDS)) + rng.normal(0, 2, (count, 1, SEEDS)):
        asker = Asker(Drawn(plan, ReplicateTable(names, replicates, values, ids, None)))
        cases = [
            Case(claim, tuple(gather(one, ALPHA) for one in asker.ask(claim.expect))) for claim in claims
        ]
        judged = zip(cases, holm([case.p for case in cases]), strict=True)
        verdicts = [judge(case, p_adjusted, len(cases)).verdict for case, p_adjusted in judged]
        wrong += "confirmed" in verdicts[:-1] or verdicts[-1] == "refuted"
    return wrong


def curve_verdicts(expect: dict[str, Any], gain: float, count: int, seed: int) -> Iterator[str]:
    """Yield the verdict on a claim about the curve of v0: 40 epochs, of which the tenth and later gain `gain`.

    The curve rises to 20 until epoch 10, stays until 30 and is `gain` higher from 31 on.
    """
    rng = np.random.default_rng(seed)
    plan, claim = plan_of(1), claim_of({"metric": QUALITY.name, "of": "v0", **expect})
    epochs = np.arange(1, EPOCHS + 1)
    truth = 2.0 * np.minimum(epochs, 10) + gain * (epochs > 30)
    for _ in range(count):
        values = truth + rng.normal(0, 1, (SEEDS, 1)) + rng.normal(0, SD, (SEEDS, EPOCHS))
        asker = Asker(Tables(_curve_record(plan, values)))
        case = Case(claim, tuple(gather(question, ALPHA) for question in asker.ask(claim.expect)))
        yield judge(case, case.p, 1).verdict


def _curve_record(plan: Plan, values: np.ndarray) -> Any:
    trials = [
        {
            "trial_id": trial.id,
            "attempt": 1,
            "status": "complete",
            "failure_kind": None,
            "error_class": None,
            "error": None,
            "epochs_done": EPOCHS,
            "resumed_from": None,
        }
        for trial in plan.trials
    ]
    rows = [
        (trial.id, 1, epoch + 1, "validation", QUALITY.name, None, values[trial.seed, epoch])
        for trial, epoch in itertools.product(plan.trials, range(EPOCHS))
    ]
    columns = ["trial_id", "attempt", "epoch", "split", "metric", "label", "value"]
    return SimpleNamespace(
        plan=plan,
        trials=pd.DataFrame(trials),
        metrics=pd.DataFrame(rows, columns=columns),
        costs=pd.DataFrame(),
    )


CURVE_CASES: list[tuple[str, dict[str, Any], float]] = [
    ("plateaued by 20", {"curve": "plateaued", "by_epoch": 20, "tolerance": 1}, 1.0),
    ("plateaued late", {"curve": "plateaued", "tolerance": 1}, 1.0),
    ("improving by 20", {"curve": "improving", "by_epoch": 20}, 0.0),
    ("worsening by 20", {"curve": "worsening", "by_epoch": 20, "tolerance": 1}, -1.0),
]

"""Records of two runs, built by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.store.files import LocalFiles
from harness.store.read import RunRecord
from tests.unit.analysis.hand_record import DELTA_E, HandRecord, build

STARTED = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def run_of(
    run_id: str,
    hand: HandRecord,
    *,
    spec: Mapping[str, Any] | None = None,
    trials: Mapping[str, Any] | None = None,
    root: Path = Path("store"),
    **facts: Any,
) -> RunRecord:
    """Return a hand-made record as a run of a store; `spec`, `trials` and `facts` are what it is told of."""
    planned = tuple(trial.model_copy(update={"spec": dict(spec or {})}) for trial in hand.plan.trials)
    told = {"run_id": run_id, "code_hash": "sources", "precision": "fp32", "determinism": "strict"}
    told |= {"strategy": "single", "world_size": 1, **(trials or {})}
    run = {"run_id": run_id, "status": "complete", "started": STARTED, "git_commit": None, "git_dirty": None}
    run |= {"code_hash": "sources", "executor": "local", "cpus": 2, "gpus": 0}
    run |= {"notes": [], "versions": {"torch": "2.15.0"}, **facts}
    return RunRecord(
        files=LocalFiles(root),
        run=run,
        plan=hand.plan.model_copy(update={"trials": planned}),
        trials=hand.trials.assign(**told),
        metrics=hand.metrics,
        costs=hand.costs,
        artifacts=hand.costs[:0],
    )


def delta_e_run(run_id: str, values: Mapping[str, Any], **rest: Any) -> RunRecord:
    """Return a run of one metric: variant -> one value per seed."""
    return run_of(run_id, build({DELTA_E.name: values}), **rest)

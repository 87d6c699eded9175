"""Baselines built by hand: values by run, variant and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from harness.config import MetricInfo
from harness.store.read import RunRecord
from tests.unit.analysis import hand_record
from tests.unit.analysis.hand_record import DELTA_E

STARTED = datetime(2026, 11, 1, 12, tzinfo=UTC)
Values = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class RunShape:
    """What a made-up run is like beside its values."""

    commit: str | None = None
    dirty: bool = False
    code: str = "feed"
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Settings of every trial."""
    suite: str = "hand"
    host: str = "one"
    device: str = "cpu"
    status: str = "complete"


def run_of(
    name: str,
    values: Values | Mapping[str, Values],
    shape: RunShape = RunShape(),
    *,
    infos: Sequence[MetricInfo] = (DELTA_E,),
    number: int = 0,
    **rest: Any,
) -> RunRecord:
    """Return the record of a run from variant -> values by seed, or metric -> variant -> values.

    Args:
        name: id of the run.
        values: of the first of `infos`, or of each.
        shape: the rest of it.
        infos: the metrics.
        number: position in time, in days.
        **rest: arguments of `hand_record.build`.
    """
    nested = isinstance(next(iter(values.values())), Mapping)
    finals: Any = values if nested else {infos[0].name: values}
    record = hand_record.build(finals, infos=infos, chain=False, **rest)
    spec = {"data": {"name": "polygons", "size": 32}, **shape.spec}
    trials = tuple(trial.model_copy(update={"spec": spec}) for trial in record.plan.trials)
    plan = record.plan.model_copy(update={"trials": trials, "suite": shape.suite})
    table = record.trials.assign(host=shape.host, device=shape.device, peak_memory_bytes=1e9, parameters=1000)
    row = {
        "run_id": name,
        "suite": plan.suite,
        "git_commit": shape.commit,
        "git_dirty": "d1f" if shape.dirty else None,
        "code_hash": shape.code,
        "started": STARTED + timedelta(days=number),
        "status": shape.status,
        "notes": [],
    }
    empty = pd.DataFrame()
    return RunRecord(Path(), row, plan, table, record.metrics, record.costs, empty)

"""A made-up record written to a store, as a run would have written it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.store.read import RunRecord
from harness.store.schema import NESTED
from harness.store.write import Attempt, Run, create_store


def store_record(root: Path, record: RunRecord) -> None:
    """Write a record's run and attempts into the store at `root`."""
    store = create_store(root)
    row = dict(record.run)
    for name in ("reused", "notes", "versions"):
        row[name] = json.dumps(row[name])
    store.write_run(Run(**row, plan=record.plan.model_dump_json()))
    nested = {name: _by_trial(getattr(record, name)) for name in NESTED}
    for trial in _plain(record.trials):
        lists = {name: rows.get(trial["trial_id"], []) for name, rows in nested.items()}
        store.write_attempt(Attempt(**trial, **lists))


def _by_trial(frame: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _plain(frame):
        trial_id = row.pop("trial_id")
        row.pop("attempt")
        rows.setdefault(trial_id, []).append(row)
    return rows


def _plain(frame: pd.DataFrame) -> Sequence[dict[str, Any]]:
    """Return rows with None where a frame has any kind of missing value."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]

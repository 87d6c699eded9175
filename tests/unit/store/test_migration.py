"""Files of older schemas, written here as they were, and the columns that versions 2 and 3 brought."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.allotment import Allotment
from harness.errors import StoreError
from harness.execute.base import TrialTask
from harness.store.migrate import ATTEMPT_STEPS, RUN_STEPS
from harness.store.query import query_store
from harness.store.read import open_store
from harness.store.schema import SCHEMA_VERSION
from harness.store.write import create_store
from tests.support.synthetic_run import synthetic_record

TIME = pa.timestamp("us", tz="UTC")
ATTEMPT_1 = [
    *((name, pa.string()) for name in ("run_id", "trial_id")),
    ("attempt", pa.int32()),
    *((name, pa.string()) for name in ("variant", "levels")),
    ("seed", pa.int64()),
    *((name, pa.string()) for name in ("spec", "code_hash", "status", "error_class", "error", "failure")),
    *((name, pa.int32()) for name in ("epochs_done", "resumed_from")),
    *((name, pa.int64()) for name in ("parameters", "trainable_parameters", "forward_flops")),
    ("images_per_second", pa.float64()),
    ("peak_memory_bytes", pa.int64()),
    *((name, pa.float64()) for name in ("wall_seconds", "train_seconds")),
    ("device", pa.string()),
    ("threads", pa.int32()),
    ("strategy", pa.string()),
    ("world_size", pa.int32()),
    *((name, pa.string()) for name in ("precision", "determinism", "host")),
    *((name, TIME) for name in ("started", "ended")),
    (
        "metrics",
        pa.list_(
            pa.struct(
                [
                    ("epoch", pa.int32()),
                    ("step", pa.int64()),
                    *((name, pa.string()) for name in ("split", "metric", "label")),
                    ("value", pa.float64()),
                    ("count", pa.int64()),
                ]
            )
        ),
    ),
    (
        "costs",
        pa.list_(pa.struct([("epoch", pa.int32()), ("name", pa.string()), ("value", pa.float64())])),
    ),
    (
        "artifacts",
        pa.list_(
            pa.struct(
                [
                    *((name, pa.string()) for name in ("kind", "name")),
                    ("epoch", pa.int32()),
                    *((name, pa.string()) for name in ("path", "hash")),
                ]
            )
        ),
    ),
]
RUN_1 = [
    *((name, pa.string()) for name in ("run_id", "suite", "suite_hash", "profile", "plan", "reused")),
    *((name, pa.string()) for name in ("notes", "status")),
    *((name, TIME) for name in ("started", "ended")),
    ("executor", pa.string()),
    *((name, pa.int32()) for name in ("cpus", "gpus")),
    *((name, pa.string()) for name in ("command", "git_commit", "git_dirty", "code_hash", "host")),
    ("pid", pa.int64()),
    ("versions", pa.string()),
]


ATTEMPT_2 = [*ATTEMPT_1[:6], ("fold", pa.int32()), *ATTEMPT_1[6:]]
SCALE_4 = [("failure_kind", pa.string()), ("effective_batch", pa.int32()), ("gpus", pa.float64())]
METRICS_3 = pa.list_(pa.struct([*dict(ATTEMPT_1)["metrics"].value_type, ("sd", pa.float64())]))
ATTEMPT_3 = [(name, METRICS_3 if name == "metrics" else kind) for name, kind in ATTEMPT_2]

ATTEMPT_4 = [*ATTEMPT_3, *SCALE_4]


def write(path: Path, fields: list[tuple[str, pa.DataType]], row: dict[str, object], version: int) -> None:
    schema = pa.schema(fields, metadata={b"harness_schema": str(version)})
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row], schema=schema), path)


def old_store(folder: Path, version: int = 1) -> Path:
    """A store of one run and one trial, whose plan knows no folds either."""
    plan = synthetic_record(folder / "made", steps=1, seeds=1, samples=False, claims=False).plan
    written = plan.model_dump(mode="json", exclude={"folds": True, "trials": {"__all__": {"fold"}}})
    (trial,) = plan.trials
    metric = {"epoch": 1, "step": 8, "split": "validation", "metric": "delta_e", "value": 7.5, "count": 4}
    attempt = {"run_id": "r1", "trial_id": trial.id, "attempt": 1, "variant": "mse", "seed": 3}
    attempt |= {"status": "complete", "epochs_done": 1, "metrics": [metric], "costs": [], "artifacts": []}
    fields = {2: ATTEMPT_2, 3: ATTEMPT_3, 4: ATTEMPT_4}.get(version, ATTEMPT_1)
    write(folder / "store" / "attempts" / trial.id / "0001.parquet", fields, attempt, version)
    run = {"run_id": "r1", "plan": json.dumps(written), "reused": "{}", "notes": "[]", "versions": "{}"}
    write(folder / "store" / "runs" / "r1.parquet", RUN_1, run, version)
    return folder / "store"


def test_a_file_of_version_1_is_read_and_has_no_fold(tmp_path: Path) -> None:
    record = open_store(old_store(tmp_path)).run("r1")
    (row,) = record.trials.to_dict("records")
    assert (row["seed"], row["status"]) == (3, "complete")
    assert record.trials["fold"].isna().all()
    assert record.metrics["value"].tolist() == [7.5]
    assert record.plan.folds is None


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_has_no_spread_over_images_and_keeps_its_rows(tmp_path: Path, version: int) -> None:
    record = open_store(old_store(tmp_path, version)).run("r1")
    (row,) = record.metrics.to_dict("records")
    assert (row["metric"], row["value"], row["count"]) == ("delta_e", 7.5, 4)
    assert pd.isna(row["sd"])
    assert record.costs.empty


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_file_has_no_kind_of_failure_and_tells_nothing_of_several_processes(
    tmp_path: Path, version: int
) -> None:
    answer = query_store(
        "select failure_kind, effective_batch, gpus, status from trials", old_store(tmp_path, version)
    )
    assert answer.rows == [(None, None, None, "complete")]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_file_tells_of_no_trackers(tmp_path: Path, version: int) -> None:
    answer = query_store("select trackers, status from trials", old_store(tmp_path, version))
    assert answer.rows == [(None, "complete")]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_file_stays_as_it_was_written(tmp_path: Path, version: int) -> None:
    store = old_store(tmp_path, version)
    before = {path: path.read_bytes() for path in store.rglob("*.parquet")}
    open_store(store).run("r1")
    assert {path: path.read_bytes() for path in store.rglob("*.parquet")} == before


def test_old_and_new_files_lie_side_by_side(tmp_path: Path) -> None:
    store = old_store(tmp_path)
    task = TrialTask(
        run_id="r2",
        trial_id="new",
        attempt=1,
        variant="mse",
        levels="{}",
        seed=3,
        fold=4,
        spec={},
        code_hash="c",
        store=str(store),
        cache="",
        allotment=Allotment(),
    )
    metric = {"epoch": 1, "step": 8, "split": "validation", "metric": "delta_e", "label": None}
    record = replace(task.new_record(), metrics=[metric | {"value": 6.5, "count": 4, "sd": 0.5}])
    create_store(store).write_attempt(record)
    answer = query_store("select trial_id = 'new' as new, seed, fold from trials order by new", store)
    assert answer.rows == [(False, 3, None), (True, 3, 4)]
    answer = query_store("select trial_id = 'new' as new, value, sd from metrics order by new", store)
    assert answer.rows == [(False, 7.5, None), (True, 6.5, 0.5)]
    (attempt,) = open_store(store).attempts_of("new")
    assert attempt.fold == 4


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
def test_a_version_that_is_not_known_is_refused_by_name(tmp_path: Path, version: int) -> None:
    with pytest.raises(StoreError, match=f"has store schema {version}, this harness reads 1 to 5"):
        open_store(old_store(tmp_path, version)).run("r1")


def test_every_older_version_has_a_step() -> None:
    assert len(ATTEMPT_STEPS) == len(RUN_STEPS) == SCHEMA_VERSION - 1

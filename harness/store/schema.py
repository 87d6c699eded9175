"""Tables of the store, as Arrow schemas. See docs/store.md for the meaning of every column.

An attempt is one Parquet file of one row: the columns of `trials`, and the
tables `metrics`, `costs` and `artifacts` nested in it as lists of structs.  One
file is one consistent picture of a trial, and replacing it is atomic.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

SCHEMA_VERSION = 5  # harness.store.migrate lifts files of older versions
VERSION_KEY = b"harness_schema"

TIME = pa.timestamp("us", tz="UTC")

# Only values that a repeat of the trial reproduces exactly.
METRIC_FIELDS = [
    ("epoch", pa.int32()),  # counts from 1
    ("step", pa.int64()),  # optimizer steps taken so far
    ("split", pa.string()),  # "train" or "validation"
    ("metric", pa.string()),  # a metric's name, "loss" (weighted total) or "loss/<term>" (unweighted)
    ("label", pa.string()),  # "colour=red", "shape=star"; null for the whole
    ("value", pa.float64()),
    ("count", pa.int64()),  # samples that the value is a mean over
    ("sd", pa.float64()),  # sample standard deviation (n - 1) over them; null for one, and in training
]
# Values that differ from one repeat to the next.
COST_FIELDS = [
    ("epoch", pa.int32()),
    ("name", pa.string()),  # "train_seconds", "validation_seconds", "latency_seconds" ...
    ("value", pa.float64()),
]
ARTIFACT_FIELDS = [
    ("kind", pa.string()),  # "sample", "checkpoint", "images"
    # Samples: "input", "target", "prediction", "worst"; checkpoints: "best", "last"; images: "validation".
    ("name", pa.string()),
    ("epoch", pa.int32()),  # null where it belongs to no epoch
    ("path", pa.string()),  # relative to the store
    ("hash", pa.string()),  # SHA-256
]
TRIAL_FIELDS = [
    ("run_id", pa.string()),  # the run that executed this attempt
    ("trial_id", pa.string()),
    ("attempt", pa.int32()),  # counts from 1
    ("variant", pa.string()),  # name in the run that executed it
    ("levels", pa.string()),  # JSON, factor -> level
    ("seed", pa.int64()),
    ("fold", pa.int32()),  # part of the training split that it validates on, from 0; null without folds
    ("spec", pa.string()),  # JSON, harness.config.TrialSpec
    ("code_hash", pa.string()),  # of the sources that training uses
    ("status", pa.string()),  # running, complete, failed, interrupted, lost or pruned
    ("failure_kind", pa.string()),  # harness.failures.FailureKind; null unless failed or lost
    ("error_class", pa.string()),
    ("error", pa.string()),  # message and last lines of the traceback
    ("failure", pa.string()),  # JSON, evidence of a failure (batch, loss terms, gradient norms)
    ("epochs_done", pa.int32()),
    ("resumed_from", pa.int32()),  # attempt whose checkpoint this one continued; null for a fresh start
    ("parameters", pa.int64()),
    ("trainable_parameters", pa.int64()),
    ("forward_flops", pa.int64()),  # of one sample, multiply-adds counted as two
    ("images_per_second", pa.float64()),
    ("peak_memory_bytes", pa.int64()),
    ("wall_seconds", pa.float64()),
    ("train_seconds", pa.float64()),  # optimizer steps alone
    ("device", pa.string()),
    ("threads", pa.int32()),
    ("strategy", pa.string()),  # as in force, not as asked for
    ("world_size", pa.int32()),  # processes that took part, as in force
    ("effective_batch", pa.int32()),  # samples of one optimizer step, over all processes and micro-batches
    ("gpus", pa.float64()),  # GPUs that it was allotted, over all processes
    ("precision", pa.string()),
    ("determinism", pa.string()),
    ("trackers", pa.string()),  # JSON, tracker -> {run, link, note}; null where none was asked for
    ("host", pa.string()),
    ("started", TIME),
    ("ended", TIME),
]
NESTED = {"metrics": METRIC_FIELDS, "costs": COST_FIELDS, "artifacts": ARTIFACT_FIELDS}

ATTEMPT_SCHEMA = pa.schema(
    [*TRIAL_FIELDS, *((name, pa.list_(pa.struct(fields))) for name, fields in NESTED.items())],
    metadata={VERSION_KEY: str(SCHEMA_VERSION)},
)
RUN_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("suite", pa.string()),
        ("suite_hash", pa.string()),
        ("profile", pa.string()),
        ("plan", pa.string()),  # JSON, harness.plan.Plan
        ("reused", pa.string()),  # JSON, trial id -> attempt of an earlier run that answers for it
        ("notes", pa.string()),  # JSON list of lines, for instance why a stored trial was not reused
        ("status", pa.string()),  # running, complete, failed, interrupted or lost
        ("started", TIME),
        ("ended", TIME),
        ("executor", pa.string()),
        ("cpus", pa.int32()),  # cores that the run could use
        ("gpus", pa.int32()),
        ("command", pa.string()),
        ("git_commit", pa.string()),
        ("git_dirty", pa.string()),  # hash of the uncommitted difference; null when clean
        ("code_hash", pa.string()),
        ("host", pa.string()),
        ("pid", pa.int64()),
        ("versions", pa.string()),  # JSON, package -> version
    ],
    metadata={VERSION_KEY: str(SCHEMA_VERSION)},
)


def images_schema(names: Sequence[str]) -> pa.Schema:
    """Return the schema of a table of images with these columns.

    `index` is that of the image in its split; `label/<kind>` is the name of its label and `found/<kind>`
    the one that the prediction shows; the others are metrics and the loss, null where not defined.
    """
    return pa.schema(
        [(name, _image_column(name)) for name in names], metadata={VERSION_KEY: str(SCHEMA_VERSION)}
    )


def _image_column(name: str) -> pa.DataType:
    if name == "index":
        return pa.int64()
    return pa.string() if name.startswith(("label/", "found/")) else pa.float64()

"""Where the numbers come from and what they cost: provenance, cost, failed trials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from harness.analysis.costs import MIB, format_cost
from harness.analysis.wording import counted, format_duration, format_trial
from harness.plan import STAND_IN, PlannedTrial
from harness.provenance import short_commit
from harness.reporting.model import Cell, Column, Failure, Provenance, Row, Table, TrialGroup
from harness.reporting.names import Names
from harness.reporting.trackers import tracker_cell
from harness.store.read import RunRecord

ADVICE = {
    "memory": "Knobs: a smaller train.batch_size, a larger train.accumulation, train.precision: bf16, "
    "narrower model.widths.",
    "NonFiniteLossError": "Knobs: a lower optimizer.lr, a smaller train.clip_norm, a longer schedule.warmup.",
    "lost": "The process died without a word; the same command continues from the last checkpoint.",
    "interrupted": "The same command continues from the last checkpoint.",
}


# --- cost


def run_cost(record: RunRecord) -> tuple[str, str]:
    """Return the wall time of the run, and its CPU-hours with the busy share."""
    ours = record.trials[record.trials["run_id"] == record.run["run_id"]]
    ends = [end for end in [record.run["ended"], *ours["ended"]] if end is not None and not pd.isna(end)]
    cpu_seconds = float((ours["wall_seconds"].fillna(0) * ours["threads"].fillna(1)).sum())
    hours = f"{cpu_seconds / 3600:.2f} CPU h"
    if not ends:
        return "–", hours
    wall = (ends[0] - record.run["started"]).total_seconds()
    cores = record.run["cpus"]
    busy = f", {100 * cpu_seconds / (wall * cores):.0f}% busy" if wall > 0 and cores else ""
    return format_duration(wall), hours + busy


def cost_table(record: RunRecord, names: Names) -> Table:
    """Return what a trial of each variant cost on average, and the variant's share of all time."""
    total = float(record.trials["wall_seconds"].fillna(0).sum())
    rows = []
    for variant in record.plan.variants:
        trials = _trials_of(record, variant.name)
        share = float(trials["wall_seconds"].fillna(0).sum()) / total if total else 0.0
        cells = (*_cost_cells(record, trials[trials["status"] == "complete"]), Cell(f"{100 * share:.0f}%"))
        rows.append(names.row(variant.name, cells))
    return Table(
        caption="Cost by variant",
        corner="Variant",
        columns=(
            *(Column(title) for title in ("Trials", "Time per trial", "Training", "Validation")),
            Column("Images/s"),
            Column("Peak memory", "MiB"),
            Column("FLOPs per image"),
            Column("Share"),
        ),
        rows=tuple(rows),
        notes=("Means over complete trials. Share: of the wall time of all trials, failed ones included.",),
    )


def _cost_cells(record: RunRecord, complete: pd.DataFrame) -> list[Cell]:
    costs = record.costs[record.costs["trial_id"].isin(complete["trial_id"])]
    validation = costs[costs["name"] == "validation_seconds"].groupby("trial_id")["value"].sum()
    return [
        Cell(str(len(complete))),
        Cell(_mean(complete["wall_seconds"], format_duration)),
        Cell(_mean(complete["train_seconds"], format_duration)),
        Cell(_mean(validation, format_duration)),
        Cell(_mean(complete["images_per_second"], lambda value: f"{value:.0f}")),
        Cell(_mean(complete["peak_memory_bytes"], lambda value: f"{value / MIB:,.0f}")),
        Cell(_mean(complete["forward_flops"], partial(format_cost, "forward_flops"))),
    ]


def _mean(values: pd.Series, write: Any) -> str:
    known = values.dropna()
    return write(float(known.mean())) if len(known) else "–"


# --- failures


def failures(record: RunRecord, names: Names) -> tuple[Failure, ...]:
    """Return the trials that did not end well, with the setting that may help."""
    rows = record.trials[record.trials["status"].isin(["failed", "lost", "interrupted"])]
    return tuple(_failure(record, names, row) for row in rows.to_dict("records"))


def _failure(record: RunRecord, names: Names, row: Mapping[Any, Any]) -> Failure:
    status = str(row["status"])
    error_class = row["error_class"] if isinstance(row["error_class"], str) else status
    text = row["error"] if isinstance(row["error"], str) else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    evidence = row["failure"] if isinstance(row["failure"], str) else ""
    trial = _planned(record, row["trial_id"])
    titles = [names.title(variant) for variant in trial.variants]
    epochs = 0 if pd.isna(row["epochs_done"]) else int(row["epochs_done"])
    return Failure(
        title=f"{' / '.join(titles)}, {format_trial(trial)}: {status} after {counted(epochs, 'epoch')}",
        error_class=error_class,
        last_line=lines[-1] if lines else "no message",
        advice=_advice(status, error_class, text),
        evidence=json.dumps(json.loads(evidence), indent=2, ensure_ascii=False) if evidence else "",
        anchor=f"trial-{row['trial_id']}",
    )


def _advice(status: str, error_class: str, text: str) -> str:
    if "OutOfMemory" in error_class or error_class == "MemoryError" or "out of memory" in text.lower():
        return ADVICE["memory"]
    return ADVICE.get(error_class, ADVICE.get(status, ""))


# --- provenance


def provenance(record: RunRecord, names: Names) -> Provenance:
    """Return the facts of the run, statements that limit its numbers, and every trial."""
    return Provenance(facts=_facts(record), statements=_statements(record), trials=_groups(record, names))


def _facts(record: RunRecord) -> tuple[tuple[str, str], ...]:
    run, trials = record.run, record.trials
    commit = run["git_commit"]
    state = "clean" if run["git_dirty"] is None else f"with uncommitted changes {run['git_dirty']}"
    versions = dict(run["versions"])
    facts = {
        "Commit": f"{short_commit(commit)} ({state})" if commit else "not in a git repository",
        "Versions": " · ".join(f"{name} {version}" for name, version in versions.items()),
        "Host": f"{run['host']}: {counted(int(run['cpus']), 'CPU core')}, {_gpus(int(run['gpus'] or 0))}",
        "Device": _distinct(trials["device"]),
        "Determinism": _distinct(trials["determinism"]),
        "Precision": _distinct(trials["precision"]),
        "Strategy": _distinct(trials["strategy"]),
        "Executor": run["executor"],
        "Run": run["run_id"],
        "Command": run["command"],
        "Suite hash": run["suite_hash"],
        "Code hash": run["code_hash"],
        "Started": _time(run["started"]),
        "Ended": _time(run["ended"]),
    }
    return tuple((name, str(value)) for name, value in facts.items() if value)


def _gpus(number: int) -> str:
    return counted(number, "GPU") if number else "no GPU"


def _distinct(column: pd.Series) -> str:
    return ", ".join(sorted(str(value) for value in column.dropna().unique()))


def _time(moment: Any) -> str:
    return "" if moment is None or pd.isna(moment) else moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _statements(record: RunRecord) -> tuple[str, ...]:
    stand_ins = [name for name in record.plan.metrics if name.endswith(STAND_IN)]
    said = [
        f"{name} rests on random features, drawn from one fixed seed: "
        f"not comparable with published values of {name.removesuffix(STAND_IN)}."
        for name in stand_ins
    ]
    # A run repeats the notes of its plan.
    return tuple(dict.fromkeys([*said, *record.plan.notes, *record.notes]))


def _groups(record: RunRecord, names: Names) -> tuple[TrialGroup, ...]:
    anchored: set[str] = set()
    return tuple(_group(record, names, variant.name, anchored) for variant in record.plan.variants)


def _group(record: RunRecord, names: Names, variant: str, anchored: set[str]) -> TrialGroup:
    trials = _trials_of(record, variant)
    rows = []
    is_tracked = bool(record.trials["trackers"].notna().any())
    for trial in trials.to_dict("records"):
        anchor = None if trial["trial_id"] in anchored else f"trial-{trial['trial_id']}"
        anchored.add(trial["trial_id"])
        rows.append(_trial_row(record, trial, anchor, is_tracked=is_tracked))
    complete = int((trials["status"] == "complete").sum())
    planned = sum(variant in trial.variants for trial in record.plan.trials)
    return TrialGroup(
        anchor=names.trials(variant),
        title=f"{names.title(variant)}: {complete} of {planned} complete",
        colour=names.colour(variant),
        mark=names.mark(variant),
        table=Table(
            caption=f"Trials of {names.title(variant)}",
            corner="Seed" if record.plan.folds is None else "Seed and fold",
            columns=(
                Column("Trial", numeric=False),
                Column("Attempt"),
                Column("Status", numeric=False),
                Column("Epochs"),
                Column("Time"),
                Column("Host", numeric=False),
                Column("Run", numeric=False),
                *((Column("Trackers", numeric=False),) if is_tracked else ()),
            ),
            rows=tuple(rows),
        ),
    )


def _trial_row(record: RunRecord, trial: Mapping[Any, Any], anchor: str | None, *, is_tracked: bool) -> Row:
    seconds = trial["wall_seconds"]
    reused = trial["run_id"] != record.run["run_id"]
    cells = (
        Cell(trial["trial_id"], code=True),
        Cell(str(trial["attempt"])),
        Cell(trial["status"]),
        Cell("–" if pd.isna(trial["epochs_done"]) else str(int(trial["epochs_done"]))),
        Cell("–" if pd.isna(seconds) else format_duration(float(seconds))),
        Cell("–" if pd.isna(trial["host"]) else str(trial["host"])),
        Cell(trial["run_id"], note=" reused" if reused else "", code=True),
        *((tracker_cell(trial["trackers"]),) if is_tracked else ()),
    )
    return Row(format_trial(_planned(record, trial["trial_id"])), cells, anchor=anchor)


def _trials_of(record: RunRecord, variant: str) -> pd.DataFrame:
    planned = [trial.id for trial in record.plan.trials if variant in trial.variants]
    return record.trials[record.trials["trial_id"].isin(planned)].sort_values(["seed", "fold"])


def _planned(record: RunRecord, trial_id: str) -> PlannedTrial:
    return next(trial for trial in record.plan.trials if trial.id == trial_id)

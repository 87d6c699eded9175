"""What `harness export` and `harness predict` print."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from harness.package.export import Exported
from harness.package.predict import Written, percentile
from harness.terminal.console import plain_table


def print_exported(written: Exported, console: Console) -> None:
    """Print which trial was taken, what lies in the folder, and the command that comes next."""
    console.print(written.chosen)
    table = plain_table()
    table.add_column("file")
    table.add_column("kB", justify="right")
    for name, size in written.files.items():
        table.add_row(name, f"{size / 1000:,.1f}")
    console.print(table)
    for note in written.notes:
        console.print(f"note: {note}", style="dim")
    console.print(f"harness predict {written.folder} --shape IMG --color NAME -o OUT.png")


def print_written(written: Written, console: Console) -> None:
    """Print one picture that was written, and what was done to it."""
    console.print(f"{written.out}  {written.color}  {milliseconds(statistics.median(written.latencies))}")
    for note in written.notes:
        console.print(f"  note: {note}", style="dim")


def print_predictions(written: Sequence[Written], console: Console) -> None:
    """Print the latency of all pictures, where it is more than what stands beside the one."""
    passes = sum(len(one.latencies) for one in written)
    if passes == 1:
        return
    p50, p95 = (milliseconds(percentile(written, share)) for share in (0.5, 0.95))
    console.print(f"latency of a picture: p50 {p50}, p95 {p95}, over {passes} forward passes on one thread")


def predictions_document(written: Sequence[Written]) -> dict[str, Any]:
    """Return all pictures and their latency as JSON values."""
    return {
        "pictures": [one.to_json() for one in written],
        "latency_ms": {
            "p50": round(1000 * percentile(written, 0.5), 3),
            "p95": round(1000 * percentile(written, 0.95), 3),
            "passes": sum(len(one.latencies) for one in written),
            "threads": 1,
        },
    }


def milliseconds(seconds: float) -> str:
    """Return a latency as it is shown."""
    return f"{1000 * seconds:.1f} ms"

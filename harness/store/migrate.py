"""From an older schema of the store to today's, one step a version.

Files are lifted as they are read and never rewritten: whoever wrote them can still read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

Step = Callable[[pa.Table], pa.Table]


def migrate(table: pa.Table, version: int, steps: Sequence[Step]) -> pa.Table:
    """Return a table of schema `version` as one of today's schema.

    Args:
        table: as read from a file.
        version: of the schema that the file was written in, from 1.
        steps: `ATTEMPT_STEPS` or `RUN_STEPS`.
    """
    for step in steps[version - 1 :]:
        table = step(table)
    return table


def _add_fold(attempts: pa.Table) -> pa.Table:
    """Version 1 knew no cross-validation."""
    return attempts.append_column("fold", pa.nulls(attempts.num_rows, pa.int32()))


def _add_sd(attempts: pa.Table) -> pa.Table:
    """Version 2 kept no spread over images."""
    column = attempts["metrics"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # a table without rows has no chunks to combine
        column = pa.array([], attempts.schema.field("metrics").type)
    rows = column.values
    fields = [*rows.type, pa.field("sd", pa.float64())]
    arrays = [
        *(rows.field(index) for index in range(rows.type.num_fields)),
        pa.nulls(len(rows), pa.float64()),
    ]
    lifted = pa.ListArray.from_arrays(column.offsets, pa.StructArray.from_arrays(arrays, fields=fields))
    return attempts.set_column(attempts.schema.get_field_index("metrics"), "metrics", lifted)


def _add_scale(attempts: pa.Table) -> pa.Table:
    """Version 3 knew one process to a trial and no kinds of failure."""
    for name, kind in (
        ("failure_kind", pa.string()),
        ("effective_batch", pa.int32()),
        ("gpus", pa.float64()),
    ):
        attempts = attempts.append_column(name, pa.nulls(attempts.num_rows, kind))
    return attempts


def _add_trackers(attempts: pa.Table) -> pa.Table:
    """Version 4 knew no trackers."""
    return attempts.append_column("trackers", pa.nulls(attempts.num_rows, pa.string()))


def _as_it_is(table: pa.Table) -> pa.Table:
    return table


ATTEMPT_STEPS: tuple[Step, ...] = (_add_fold, _add_sd, _add_scale, _add_trackers)
RUN_STEPS: tuple[Step, ...] = (_as_it_is,) * 4
"""The step at position v - 1 leads from version v to v + 1."""

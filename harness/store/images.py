"""Reading tables of images: of every validation image of a finished trial, its labels and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import StoreError
from harness.provenance import available_cpus
from harness.store.files import Files
from harness.store.soundness import values_of, why_not_images

READERS = min(8, 2 * available_cpus())  # threads: decoding a file is done outside the interpreter's lock
FAR_READERS = 16  # threads for a store that answers from afar: they wait, most of the time
KEYS = [("trial_id", pa.string()), ("attempt", pa.int32())]
NO_IMAGES = pa.schema([*KEYS, ("index", pa.int64())]).empty_table()


def read_images(files: Files, artifacts: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the tables of images of many trials as one.

    Args:
        files: of the store.
        artifacts: rows of the table `artifacts`; those of other kinds are passed over.

    Returns:
        `trial_id`, `attempt`, then the columns of the tables in the order that they first occur in; null
        where a trial has not this column. In the order of `artifacts`, and of `index` in a trial. No rows
        where no trial keeps such a table: one that has not ended, or of an older version.

    Raises:
        StoreError: a table is not there, cannot be read, or is none.
    """
    rows = [row for row in artifacts if (row["kind"], row["name"]) == ("images", "validation")]
    with ThreadPoolExecutor(READERS if files.is_local else FAR_READERS) as pool:
        tables = list(pool.map(lambda row: _table_of(files, row), rows))
    return pa.concat_tables([NO_IMAGES, *tables], promote_options="default")


def _table_of(files: Files, row: Mapping[str, Any]) -> pa.Table:
    table = _read(files, str(row["path"]))
    keys = [pa.array([row[name]] * len(table), kind) for name, kind in KEYS]
    return pa.table([*keys, *table.columns], names=[*dict(KEYS), *table.column_names])


def _read(files: Files, path: str) -> pa.Table:
    try:
        parquet = pq.ParquetFile(pa.BufferReader(files.read(path)))
        wrong = why_not_images(parquet.schema_arrow, values_of(parquet.metadata))
        table = pa.table({"index": []}) if wrong else parquet.read(use_threads=False)
        table.validate(full=True)
    except FileNotFoundError:
        raise StoreError(f"the table of images {path} is not in the store {files.address}") from None
    except (OSError, pa.ArrowException, MemoryError) as error:
        raise StoreError(f"cannot read {files.address}/{path}: {error}") from error
    if not wrong and table["index"].null_count:
        wrong = "its index is null"
    if wrong:
        raise StoreError(f"{files.address}/{path} is no table of images that a harness wrote: {wrong}")
    return table.replace_schema_metadata(None)

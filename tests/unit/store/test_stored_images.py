"""Tables of images: what was written is read, and what another hand wrote is refused."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import HarnessError, StoreError
from harness.store import soundness
from harness.store.images import read_images
from harness.store.query import query_store
from harness.store.read import RunRecord, open_store
from harness.store.write import StoreWriter
from tests.support.stored_run import store_record
from tests.support.synthetic_run import synthetic_record

FIRST = {"index": [0, 1, 4], "label/colour": ["red", "blue", "red"], "psnr": [20.5, None, float("inf")]}
SECOND = {"index": [7], "found/colour": [None], "psnr": [1.0], "own": [2.0]}


@pytest.fixture
def record(tmp_path) -> RunRecord:
    """A stored run of which two trials keep a table of images, each of columns of its own."""
    made = synthetic_record(tmp_path / "made", seeds=2, samples=False)
    store_record(tmp_path / "store", made)
    writer = StoreWriter(tmp_path / "store")
    for trial_id, columns in zip(sorted(made.trials["trial_id"])[:2], (FIRST, SECOND), strict=True):
        keep(writer, trial_id, columns)
    return open_store(tmp_path / "store").run()


def keep(writer, trial_id, columns):
    [attempt] = writer.reader().attempts_of(trial_id)
    written = writer.write_images(writer.images_file(trial_id, attempt.attempt), columns)
    attempt.artifacts.append({"kind": "images", "name": "validation", "epoch": 2, **written})
    writer.write_attempt(attempt)


def table_file(record):
    path = record.artifacts.loc[record.artifacts["kind"] == "images", "path"].iloc[0]
    return record.files.root / path


def test_what_was_written_is_read_with_the_trial_and_the_attempt_in_front(record):
    images = record.images()
    first, second = sorted(record.trials["trial_id"])[:2]
    assert list(images) == ["trial_id", "attempt", "index", "label/colour", "psnr", "found/colour", "own"]
    assert images["trial_id"].tolist() == [first] * 3 + [second]
    assert images["index"].tolist() == [0, 1, 4, 7]
    assert images["label/colour"].tolist()[:3] == ["red", "blue", "red"]
    assert images["psnr"].isna().tolist() == [False, True, False, False]
    assert images.loc[2, "psnr"] == float("inf")
    assert images["own"].isna().tolist() == [True, True, True, False]
    assert images["found/colour"].isna().all()


def test_tables_are_read_when_first_asked_for(record):
    table_file(record).unlink()
    with pytest.raises(StoreError, match=r"images\.parquet is not in the store"):
        record.images()
    again = open_store(record.files.root).run(variants=["nobody"])
    assert again.images().empty
    assert {"trial_id", "attempt", "index"} <= set(again.images())


def test_what_a_reader_changes_stays_with_it(record):
    images = record.images()
    images["index"] = -1
    assert record.images()["index"].tolist() == [0, 1, 4, 7]


def test_a_run_without_tables_has_an_empty_one(tmp_path):
    made = synthetic_record(tmp_path / "made", seeds=2, samples=False)
    assert made.images().empty
    assert list(made.images()) == ["trial_id", "attempt", "index"]


def test_a_query_sees_the_images(record):
    answer = query_store(
        'select "label/colour" as colour, count(*) as n from Images group by 1 order by 1', record.files.root
    )
    assert answer.rows == [("blue", 1), ("red", 2), (None, 1)]
    with pytest.raises(HarnessError, match=r"artifacts, images$"):
        query_store("select * from image", record.files.root)


def spoil(column: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.get_field_index(column), column, values)


SPOILT: dict[str, Callable[[pa.Table], pa.Table]] = {
    "no version": lambda table: table.replace_schema_metadata({}),
    "a version of the future": lambda table: table.replace_schema_metadata({b"harness_schema": b"99"}),
    "no index": lambda table: table.drop_columns(["index"]),
    "an index that is null": spoil("index", pa.nulls(3, pa.int64())),
    "words for numbers": spoil("psnr", pa.array(["a", "b", "c"])),
    "numbers for words": spoil("label/colour", pa.array([1, 2, 3])),
    "bytes that are no text": spoil("label/colour", pa.array([b"\xff\xfe"] * 3)),
    "two columns of one name": lambda table: table.append_column("psnr", table["psnr"]),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_file_that_is_no_table_of_images_is_refused_by_name(record, how):
    file = table_file(record)
    pq.write_table(SPOILT[how](pq.read_table(file)), file)
    with pytest.raises(StoreError, match=r"images\.parquet"):
        record.images()


@pytest.mark.parametrize("content", [b"", b"PAR1" + b"\xff" * 200 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_refused_by_name(record, content):
    table_file(record).write_bytes(content)
    with pytest.raises(StoreError, match=r"images\.parquet"):
        record.images()


def test_a_file_that_unfolds_to_gigabytes_is_refused_before_it_is_read(record, monkeypatch):
    monkeypatch.setattr(soundness, "MOST_VALUES", 1 << 16)
    file, schema = table_file(record), pq.read_schema(table_file(record))
    rows = 1 << 16
    bomb = pa.table([pa.array([0] * rows), pa.nulls(rows, pa.string()), pa.nulls(rows, pa.float64())], schema)
    pq.write_table(bomb, file, compression="zstd")
    assert file.stat().st_size < 1 << 16
    with pytest.raises(StoreError, match="values"):
        record.images()


@pytest.mark.parametrize("path", ["../outside.parquet", "/etc/passwd", "link.parquet"])
def test_a_table_outside_of_the_store_is_not_read(record, path, tmp_path):
    pq.write_table(pa.table({"index": [1]}), tmp_path / "outside.parquet")
    (record.files.root / "link.parquet").symlink_to(tmp_path / "outside.parquet")
    with pytest.raises(StoreError):
        read_images(
            record.files,
            [{"kind": "images", "name": "validation", "path": path, "trial_id": "t", "attempt": 1}],
        )

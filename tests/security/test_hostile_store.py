"""A store that somebody else wrote: reading, asking and reporting are refused, or do no harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness import api
from harness.errors import HarnessError, StoreError
from harness.store import soundness
from harness.store.query import query_store
from harness.store.read import open_store
from tests.security.conftest import RUN, rewrite, rewrite_plan

MARK = b"PRIVATE-TO-THE-READER"


def everything_under(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- paths and links


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a picture of one colour beside the store, which the reader of a report may see and nobody else."""
    path = tmp_path / "outside.png"
    Image.new("RGB", (96, 48), (1, 254, 3)).save(path)
    return path


def shows_it(report: Path) -> bool:
    for path in report.rglob("*.png"):
        with Image.open(path) as picture:
            colours = picture.convert("RGB").getcolors(1 << 20) or []
        if any(colour == (1, 254, 3) for _, colour in colours):
            return True
    return False


@pytest.mark.parametrize("how", ["relative", "absolute", "link", "linked folder"])
def test_a_report_embeds_no_picture_from_outside_the_store(store, outside, attempt_files, tmp_path, how):
    (store / "samples" / "link.png").symlink_to(outside)
    (store / "linked").symlink_to(outside.parent)
    path = {
        "relative": "../../outside.png",
        "absolute": str(outside),
        "link": "samples/link.png",
        "linked folder": "linked/outside.png",
    }[how]

    def change(row: dict[str, Any]) -> None:
        for artifact in row["artifacts"]:
            artifact["path"] = path

    for file in attempt_files:
        rewrite(file, change)
    with pytest.raises(HarnessError, match="store"):
        api.report("latest", store=store, out=tmp_path / "report")
    assert not shows_it(tmp_path / "report")


def test_a_report_follows_no_links_in_its_place_and_shows_pictures_of_the_store(
    outside, attempt_files, store, tmp_path
):
    """The test above can fail: the same picture inside the store is shown."""
    (store / "samples" / "inside.png").write_bytes(outside.read_bytes())

    def change(row: dict[str, Any]) -> None:
        for artifact in row["artifacts"]:
            artifact["path"] = "samples/inside.png"

    for file in attempt_files:
        rewrite(file, change)
    precious = tmp_path / "precious"
    precious.write_bytes(MARK)
    folder = store / "reports" / RUN
    folder.mkdir(parents=True)
    (folder / "report.html").symlink_to(precious)
    api.report("latest", store=store)
    assert precious.read_bytes() == MARK
    assert b"<html" in (folder / "report.html").read_bytes()
    assert shows_it(folder)


def test_a_report_is_not_written_into_a_folder_that_a_store_links_to(store, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (store / "reports").rmdir()
    (store / "reports").symlink_to(elsewhere)
    with pytest.raises(HarnessError, match="store"):
        api.report("latest", store=store)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "run_id", ["../../escaped", "/tmp/escaped", "a/../../../escaped", "..", "", "x\x00y"]
)
def test_the_id_of_a_run_leads_nowhere_else(store, run_file, tmp_path, run_id):
    before = set(tmp_path.rglob("*"))
    rewrite(run_file, lambda row: row.update(run_id=run_id))
    with pytest.raises(StoreError):
        api.report("latest", store=store)
    assert set(tmp_path.rglob("*")) == before


def test_names_of_metrics_lead_nowhere_else(store, run_file, attempt_files, tmp_path):
    names = {
        "psnr": "../../../../../../escaped",
        "ssim": "/etc/escaped",
        "lpips_rand": "a/b",
        "colour_accuracy": "..",
    }

    def rename(plan: dict[str, Any]) -> None:
        for old, new in names.items():
            plan["metrics"][new] = {**plan["metrics"].pop(old), "name": new}

    def rename_rows(row: dict[str, Any]) -> None:
        for metric in row["metrics"]:
            metric["metric"] = names.get(metric["metric"], metric["metric"])

    rewrite_plan(run_file, rename)
    for file in attempt_files:
        rewrite(file, rename_rows)
    out = tmp_path / "out" / "report"
    before = set(tmp_path.rglob("*"))
    api.report("latest", store=store, out=out)
    made = set(tmp_path.rglob("*")) - before - {out.parent, out}
    assert made
    assert all(path.is_relative_to(out) for path in made)


@pytest.mark.parametrize("template", ["../chronicle", "/etc", "chronicle/../../x", "\x1b[2J"])
def test_a_template_is_a_name_of_a_known_one(store, run_file, template):
    rewrite_plan(run_file, lambda plan: plan["report"].update(template=template))
    with pytest.raises(HarnessError, match="template"):
        api.report("latest", store=store)


def test_other_files_of_the_machine_are_no_runs(store, tmp_path):
    (tmp_path / "secret").write_bytes(MARK)
    (store / "runs" / "20270101-000000-aaaa.parquet").symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError) as error:
        open_store(store).run("latest")
    assert MARK.decode() not in str(error.value)


# --- what stands where a file should


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", ["run", "attempt"])
def test_a_pipe_in_place_of_a_file_does_not_hang(store, run_file, attempt_files, place):
    file = run_file if place == "run" else attempt_files[0]
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StoreError):
        open_store(store).run(RUN)


@pytest.mark.parametrize("place", ["run", "attempt"])
def test_a_folder_in_place_of_a_file_is_refused(store, run_file, attempt_files, place):
    file = run_file if place == "run" else attempt_files[0]
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreError):
        open_store(store).run(RUN)


def test_a_file_in_place_of_a_folder_is_refused(store, tmp_path):
    trial = next((store / "attempts").iterdir())
    for file in trial.iterdir():
        file.unlink()
    trial.rmdir()
    trial.write_bytes(MARK)
    record = open_store(store).run(RUN)
    assert trial.name not in set(record.trials["trial_id"])


# --- what a file says


def spoil_version(table: pa.Table, version: bytes) -> pa.Table:
    return table.replace_schema_metadata({b"harness_schema": version})


SPOILT: dict[str, Callable[[pa.Table], pa.Table]] = {
    "no version": lambda table: table.replace_schema_metadata({}),
    "a version that is no number": lambda table: spoil_version(table, b"4; drop"),
    "a version of the future": lambda table: spoil_version(table, b"99999999999999999999"),
    "a version below one": lambda table: spoil_version(table, b"-1"),
    "no rows": lambda table: table.slice(0, 0),
    "two rows": lambda table: pa.concat_tables([table, table]),
    "no columns that it needs": lambda table: table.drop_columns(["started"]),
    "words for numbers": lambda table: table.set_column(
        table.schema.get_field_index("pid" if "pid" in table.column_names else "attempt"),
        pa.field("pid" if "pid" in table.column_names else "attempt", pa.string()),
        pa.array(["many"]),
    ),
    "no id": lambda table: table.set_column(
        0, pa.field("run_id", pa.string()), pa.nulls(table.num_rows, pa.string())
    ),
    "bytes that are no text": lambda table: table.set_column(
        table.schema.get_field_index("host"), pa.field("host", pa.binary()), pa.array([b"\xff\xfe\x80"])
    ),
}


@pytest.mark.parametrize("place", ["run", "attempt"])
@pytest.mark.parametrize("how", SPOILT)
def test_a_file_that_is_not_of_the_schema_is_refused_by_name(store, run_file, attempt_files, how, place):
    file = run_file if place == "run" else attempt_files[0]
    schema_kept = pq.read_table(file)
    pq.write_table(SPOILT[how](schema_kept), file)
    with pytest.raises(StoreError, match="parquet"):
        open_store(store).run(RUN)
    with pytest.raises(HarnessError):
        query_store("select * from runs, attempts", store)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 200 + b"PAR1", os.urandom(1000)])
def test_a_file_that_is_no_parquet_is_refused_by_name(store, run_file, content):
    run_file.write_bytes(content)
    with pytest.raises(StoreError, match="parquet"):
        open_store(store).run(RUN)


@pytest.mark.parametrize("column", ["plan", "reused", "notes", "versions"])
@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", '"text"', "1e999", "\x00"])
def test_a_run_whose_json_is_not_what_it_should_be_is_refused(store, run_file, column, text):
    rewrite(run_file, lambda row: row.update({column: text}))
    with pytest.raises(StoreError, match="parquet"):
        api.report(RUN, store=store)


@pytest.mark.parametrize("number", [0, -1, -(2**31), 2])
def test_the_number_of_an_attempt_is_that_of_its_file(store, attempt_files, number):
    rewrite(attempt_files[0], lambda row: row.update(attempt=number))
    with pytest.raises(StoreError, match="parquet"):
        open_store(store).run(RUN)


def test_a_file_that_unfolds_to_gigabytes_is_refused_before_it_is_read(store, attempt_files, monkeypatch):
    """With a bound of a hundredth, so that the test itself takes no gigabytes."""
    assert soundness.MOST_VALUES <= 1 << 27
    monkeypatch.setattr(soundness, "MOST_VALUES", 1 << 20)
    file = attempt_files[0]
    table = pq.read_table(file)
    index = table.schema.get_field_index("costs")
    kind = table.schema.field("costs").type
    rows = 600_000
    fields = [pa.nulls(rows, field.type) for field in kind.value_type]
    structs = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    bomb = pa.ListArray.from_arrays(pa.array([0, rows], pa.int32()), structs, type=kind)
    pq.write_table(table.set_column(index, table.schema.field("costs"), bomb), file, compression="zstd")
    assert file.stat().st_size < 1 << 20
    with pytest.raises(StoreError, match=r"parquet.*values"):
        open_store(store).run(RUN)


# --- values


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, whose sums overflow
def test_absurd_values_are_reported_as_they_are(store, run_file, attempt_files, tmp_path):
    values = [1e308, -1e308, float("nan"), float("inf"), 5e-324, -0.0]

    def change(row: dict[str, Any]) -> None:
        for index, metric in enumerate(row["metrics"]):
            metric["value"] = values[index % len(values)]
            metric["count"] = 2**62
        row["error"] = "x" * 1_000_000
        row["wall_seconds"] = 1e308
        row["started"] = row["started"].replace(year=9999)

    for file in attempt_files:
        rewrite(file, change)
    rewrite(run_file, lambda row: row.update(started=row["started"].replace(year=9998)))
    written = api.report(RUN, store=store, out=tmp_path / "report")
    assert written.html.stat().st_size < 20 << 20


def test_ten_thousand_labels_make_no_endless_report(store, attempt_files, tmp_path):
    def change(row: dict[str, Any]) -> None:
        last = next(one for one in row["metrics"] if one["metric"] == "delta_e" and one["epoch"] == 2)
        row["metrics"] += [{**last, "label": f"colour={number}"} for number in range(10_000)]

    for file in attempt_files:
        rewrite(file, change)
    written = api.report(RUN, store=store, out=tmp_path / "report")
    assert written.html.stat().st_size < 50 << 20


@pytest.mark.parametrize("size", [(0, 0), (30_000, 30_000)])
def test_a_picture_that_unfolds_to_gigabytes_is_refused(store, attempt_files, tmp_path, size):
    """A bomb: 900 million pixels of one colour in a file of a megabyte; or no picture at all."""
    path = store / "samples" / "bomb.png"
    if size == (0, 0):
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 100)
    else:
        path.write_bytes(png_header(*size))

    def change(row: dict[str, Any]) -> None:
        for artifact in row["artifacts"]:
            artifact["path"] = "samples/bomb.png"

    for file in attempt_files:
        rewrite(file, change)
    with pytest.raises(HarnessError, match=r"bomb\.png"):
        api.report(RUN, store=store, out=tmp_path / "report")


def png_header(width: int, height: int) -> bytes:
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IHDR" + head
    data = b"IDAT" + zlib.compress(b"\x00" * 1000)
    chunks = [
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in (body, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

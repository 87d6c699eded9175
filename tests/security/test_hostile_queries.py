"""SQL that somebody else wrote sees the tables of the store, and nothing of the machine."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.store import query
from harness.store.query import print_query, query_store

MARK = "PRIVATE-TO-THE-READER"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    path = tmp_path / "private.csv"
    path.write_text(f"secret\n{MARK}\n")
    return path


READS = [
    "select * from read_csv('{file}')",
    "select * from '{file}'",
    "select * from read_text('{file}')",
    "select * from read_blob('/proc/self/environ')",
    "select * from glob('{folder}/*')",
    "select * from read_json('{file}')",
    "select * from parquet_metadata('{file}')",
    "select * from query('select * from read_text(''{file}'')')",
    "attach '{folder}/other.db'",
    "import database '{folder}'",
]
WRITES = [
    "copy runs to '{folder}/out.csv'",
    "copy (select 1) to '/dev/stdout'",
    "select 1; copy runs to '{folder}/out.csv'",
    "export database '{folder}/dump'",
    "attach '{folder}/new.db' as other; create table other.t as select 1",
    "insert into runs select * from runs",
    "update trials set status = 'complete'",
    "delete from metrics",
]
SETTINGS = [
    "set enable_external_access = true",
    "reset enable_external_access",
    "set lock_configuration = false",
    "set memory_limit = '1TB'",
    "set python_enable_replacements = true",
    "set home_directory = '{folder}'",
    "pragma enable_profiling",
    "set profiling_output = '{folder}/out.json'",
    "call enable_logging(storage_path = '{folder}')",
    "install httpfs",
    "install httpfs from '{folder}'",
    "load httpfs",
    "load '{folder}/evil.duckdb_extension'",
    "create persistent secret (type s3)",
]


@pytest.mark.parametrize("sql", READS + WRITES + SETTINGS)
def test_a_statement_reaches_no_file_and_no_setting(honest, private, sql):
    before = set(private.parent.rglob("*"))
    with pytest.raises(HarnessError) as error:
        query_store(sql.format(file=private, folder=private.parent), honest)
    assert MARK not in str(error.value)
    assert set(private.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["tables", "sql", "private_table", "connection"])
def test_variables_of_the_program_are_no_tables(honest, name):
    import pyarrow as pa

    private_table = pa.table({"secret": [MARK]})
    assert private_table.num_rows == 1
    with pytest.raises(HarnessError, match="does not exist"):
        query_store(f"select * from {name}", honest)


def test_a_statement_leaves_the_store_as_it_was(honest):
    before = {path: path.stat().st_mtime_ns for path in honest.rglob("*")}
    for sql in ("drop view runs; select 1", "create table runs2 as select * from runs; select 1"):
        query_store(sql, honest)
    assert {path: path.stat().st_mtime_ns for path in honest.rglob("*")} == before


@pytest.mark.parametrize(
    "sql",
    [
        "select * from range(1000000000000)",
        "select repeat('x', 1000) from range(1000000000)",
    ],
)
def test_an_endless_answer_is_refused_at_its_bound(honest, monkeypatch, sql):
    monkeypatch.setattr(query, "MOST_BYTES", 32 << 20)
    with pytest.raises(HarnessError, match=r"larger than 32 MiB.*LIMIT"):
        query_store(sql, honest)


def test_what_a_statement_computes_with_is_bounded(honest, monkeypatch):
    monkeypatch.setitem(query.SEALED, "memory_limit", "50MB")
    with pytest.raises(HarnessError, match="Out of Memory"):
        query_store("select * from range(100000000) t order by hash(range)", honest)


FORMULAS = ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(1)", "\t=1", "=1+1"]
HARMLESS = ["-1", "+2.5e3", "mse", "1=1", "", "a@b"]


def test_csv_has_no_text_that_a_spreadsheet_would_compute(honest, capsys):
    texts = ", ".join("('" + one.replace("'", "''") + "')" for one in FORMULAS + HARMLESS)
    print_query(f"select * from (values {texts}) as t(word)", honest, "csv")
    read = [row[0] if row else "" for row in csv.reader(io.StringIO(capsys.readouterr().out))]
    assert read == ["word", *(f"'{one}" for one in FORMULAS), *HARMLESS]


def test_numbers_in_csv_stay_numbers(honest, capsys):
    print_query("select -1.5 as a, -2 as b", honest, "csv")
    assert capsys.readouterr().out.splitlines() == ["a,b", "-1.5,-2"]


def test_json_holds_texts_exactly_and_no_sign_that_a_terminal_obeys(honest, capsys):
    print_query("select chr(27) || '[2J' || chr(155) || chr(8238) || '=Δ' as word", honest, "json")
    out = capsys.readouterr().out
    assert json.loads(out) == [{"word": "\x1b[2J\x9b\u202e=Δ"}]
    assert out.isprintable() or not set(out) & set("\x1b\x9b\u202e")
    assert "Δ" in out


def test_a_table_shows_escape_sequences_and_does_not_send_them(honest, command):
    sql = "select chr(27) || ']0;owned' || chr(7) as word, chr(27) || '[31m' as \"\x1b[1mname\""
    done = command("query", sql, "--store", str(honest))
    assert "\\x1b]0;owned" in done.out
    assert not set(done.out) & set("\x1b\x07\x9b")

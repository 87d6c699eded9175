"""SQL over a store: what a statement gives is Python values, whatever DuckDB calls their types."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from harness.errors import HarnessError
from harness.store.query import print_query, query_store
from tests.support.stored_run import store_record
from tests.support.synthetic_run import synthetic_record


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with one run of 4 variants x 3 seeds, one of whose trials failed."""
    folder = tmp_path_factory.mktemp("queried")
    record = synthetic_record(folder / "made", seeds=3, failed=(("lab", 1),), samples=False)
    store_record(folder / "store", record)
    return folder / "store"


def test_moments_have_their_time_zone(store):
    rows = query_store("select started, min(started) over () as first from attempts", store).rows
    assert {type(value) for row in rows for value in row} == {datetime}
    assert all(value.utcoffset() == timedelta() for row in rows for value in row)
    (row,) = query_store("select timestamptz '2026-11-20 12:00:00+02' as moment", store).rows
    assert row == (datetime(2026, 11, 20, 10, tzinfo=UTC),)


def test_sums_of_integers_are_integers_and_differences_of_moments_are_durations(store):
    sql = "select sum(seed), interval 90 minutes as long, max(started) - max(started) as none, null as absent"
    (row,) = query_store(f"{sql} from trials", store).rows
    assert row == (12, timedelta(minutes=90), timedelta(), None)
    assert [type(value) for value in row] == [int, timedelta, timedelta, type(None)]


def test_a_statement_without_rows_gives_its_columns(store):
    answer = query_store("select seed, started from attempts where false", store)
    assert (answer.columns, answer.rows) == (["seed", "started"], [])


@pytest.mark.parametrize("format_", ["table", "csv", "json"])
def test_every_format_prints_moments(store, format_, capsys):
    print_query("select timestamptz '2026-11-20 12:00:00Z' as moment, 7::hugeint as n", store, format_)
    printed = capsys.readouterr().out
    assert "2026-11-20 12:00:00+00:00" in printed
    if format_ == "json":
        assert json.loads(printed) == [{"moment": "2026-11-20 12:00:00+00:00", "n": 7}]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select seeds from trials", "the query failed"),
        ("select seed, seed from trials", "two columns have one name"),
        ("-- nothing asked", "gives no rows"),
    ],
)
def test_a_wrong_statement_is_told(store, sql, said):
    with pytest.raises(HarnessError, match=said):
        query_store(sql, store)

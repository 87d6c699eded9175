"""No trial runs twice, and one that fails stops no other."""

import json
import subprocess

import pyarrow.parquet as pq
import pytest

from harness.store.write import create_store
from harness.testing.tiny import TINY
from tests.support.harness_process import HARNESS, HarnessProcess, attempts


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reuse")
    suite = folder / "tiny.yaml"
    suite.write_text(TINY)
    run = HarnessProcess(suite, folder / "store", "--executor", "local")
    assert run.end() == 0, run.log.read_text()
    return folder / "store"


def run(suite, store, *options):
    result = subprocess.run(
        [HARNESS, "run", str(suite), "--store", str(store), "--executor", "local", *options],
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.fixture
def copied(store, tmp_path):
    """Return a copy of the store, to be changed."""
    subprocess.run(["cp", "-r", str(store), str(tmp_path / "store")], check=True)
    return tmp_path / "store"


def test_the_same_command_runs_nothing(write_suite, store):
    before = attempts(store)
    code, out, err = run(write_suite(TINY), store)
    assert code == 0
    assert "6 already in the store, nothing to run" in err
    assert "report" in out
    assert attempts(store) == before


def test_more_seeds_and_a_new_level_run_only_what_is_missing(write_suite, copied):
    text = (
        TINY.replace("seeds: 2", "seeds: 3")
        .replace("      lab:", "      heavy: {set: {loss.l1: 0.9}}\n      lab:")
        .replace("design: cumulative", "design: one_at_a_time")
    )
    code, _, err = run(write_suite(text), copied)
    assert code == 0
    # mse and l1 of seeds 0 and 1 are known; lab stands on the base now, heavy is new
    assert "4 variants x 3 seeds = 12 trials, 4 already in the store, 8 to run" in err
    ids = [row["trial_id"] for row in attempts(copied)]
    assert len(ids) == len(set(ids)) == 6 + 8


def test_another_suite_reuses_the_trials_that_it_shares(write_suite, copied):
    code, _, err = run(write_suite(TINY.replace("suite: tiny", "suite: other")), copied)
    assert code == 0
    assert "nothing to run" in err


def test_fresh_runs_again_what_is_known(write_suite, copied):
    code, _, err = run(write_suite(TINY), copied, "--fresh", "--only", "loss_terms=l1")
    assert code == 0
    assert "4 to run" in err
    assert sorted(row["attempt"] for row in attempts(copied)) == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2]


def test_trials_of_other_code_run_again_and_a_line_says_so(write_suite, copied):
    for file in (copied / "attempts").glob("*/*.parquet"):
        table = pq.read_table(file)
        column = table.schema.get_field_index("code_hash")
        pq.write_table(table.set_column(column, "code_hash", [["another"]]), file)
    code, _, err = run(write_suite(TINY), copied, "--seeds", "1")
    assert code == 0
    assert "3 trials in the store came from other training code" in err
    assert "3 to run" in err


def test_trials_of_other_threads_run_again(write_suite, copied):
    code, _, err = run(write_suite(TINY), copied, "--seeds", "1", "--set", "resources.cpus=2")
    assert code == 0
    assert "3 to run" in err
    assert "other threads" in err


def test_a_failing_trial_is_recorded_and_the_others_go_on(write_suite, tmp_path):
    text = TINY.replace(
        "      l1: {set: {loss.l1: 0.5}, why: sharper edges}",
        "      l1: {set: {optimizer.lr: 1e30, model.output: linear}}",
    ).replace("cumulative", "one_at_a_time")
    store = tmp_path / "store"
    code, out, _ = run(write_suite(text), store, "--seeds", "1")
    assert code == 1
    assert "failed" in out
    assert "NonFiniteLossError" in out
    rows = {row["variant"]: row for row in attempts(store)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "mse": "complete",
        "l1": "failed",
        "lab": "complete",
    }
    assert rows["l1"]["error_class"] == "NonFiniteLossError"
    evidence = json.loads(rows["l1"]["failure"])
    assert len(evidence["batch"]) == 16
    assert set(evidence["loss_sums"]) == {"loss", "loss/mse"}


def test_a_store_that_cannot_be_written_is_refused_before_anything_runs(write_suite, tmp_path):
    (tmp_path / "store").write_text("a file is no folder")
    code, _, err = run(write_suite(TINY), tmp_path / "store")
    assert code == 2
    assert "cannot be written" in err


def query(store, sql, format_="json"):
    result = subprocess.run(
        [HARNESS, "query", sql, "--store", str(store), "--format", format_], capture_output=True, text=True
    )
    return result.returncode, result.stdout, result.stderr


def test_a_query_sees_every_table(store):
    code, out, _ = query(
        store,
        "select variant, count(*) as n from metrics join trials using (trial_id)"
        " where metric = 'delta_e' and split = 'validation' and label is null group by all order by all",
    )
    assert code == 0
    assert json.loads(out) == [{"variant": name, "n": 6} for name in ("l1", "lab", "mse")]
    for table in ("runs", "costs", "artifacts", "attempts"):
        assert int(json.loads(query(store, f"select count(*) as n from {table}")[1])[0]["n"]) > 0


def test_a_query_can_read_and_write_no_file(store, tmp_path):
    for sql in (
        "select * from read_csv('/etc/passwd')",
        f"copy (select 1) to '{tmp_path}/x.csv'",
        "install httpfs",
        "attach 'x.db'",
    ):
        code, _, err = query(store, sql)
        assert code == 2, sql
        assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_json_has_no_nan_and_no_column_twice(store):
    assert (
        query(store, "select 'nan'::double as a, 1 as b")[1] == '[\n  {\n    "a": null,\n    "b": 1\n  }\n]\n'
    )
    code, _, err = query(store, "select 1 as a, 2 as a")
    assert (code, "two columns have one name" in err) == (2, True)


def test_a_wrong_query_is_answered_with_the_tables_there_are(store):
    code, _, err = query(store, "select * from metric")
    assert code == 2
    assert "tables are runs, attempts, trials, metrics, costs, artifacts" in err


def test_a_table_of_a_killed_writer_is_not_read(copied):
    trial = next((copied / "attempts").iterdir())
    (trial / ".0002.parquet.abc").write_bytes(b"half a file")
    assert len(attempts(copied)) == 6


def test_a_damaged_file_is_named(copied):
    file = next((copied / "attempts").glob("*/*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    code, _, err = query(copied, "select 1")
    assert code == 2
    assert str(file) in err
    assert "Traceback" not in err


def test_a_newer_schema_is_refused(copied):
    file = next((copied / "runs").glob("*.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({b"harness_schema": b"99"}), file)
    code, _, err = query(copied, "select 1")
    assert code == 2
    assert "schema 99" in err


def test_report_and_query_import_neither_torch_nor_ray(store, tmp_path):
    from tests.unit.test_commands import imported_by

    assert imported_by("query", "select 1", "--store", str(store)) == []
    assert imported_by("report", "--store", str(store), "--out", str(tmp_path / "report")) == []
    assert (tmp_path / "report" / "report.html").is_file()


def test_a_store_can_be_made_twice(tmp_path):
    create_store(tmp_path / "s")
    assert create_store(tmp_path / "s").root == tmp_path / "s"

"""The verdicts of a run as a document: the same bytes for the same store, whoever asks, wherever."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import evidence
from harness.analysis.claims import judge_claims
from harness.analysis.document import SECTIONS, verdicts_document
from harness.analysis.effects import compare_all
from harness.analysis.plain_json import document_text, plain_value
from harness.errors import HarnessError
from harness.store.read import open_store
from harness.terminal.console import stdout
from harness.terminal.verdicts_page import print_verdicts
from tests.support.stored_run import store_record
from tests.support.synthetic_run import synthetic_record

HARNESS = str(Path(sys.executable).parent / "harness")


def processor_features() -> str:
    """Return the features of this processor that numpy has code of its own for."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """A store with one run: two crossed factors, claims, a failed trial and one that never ran."""
    folder = tmp_path_factory.mktemp("crossed")
    record = synthetic_record(
        folder / "made", depths=2, failed=(("lab", 1),), missing=(("ssim", 2),), samples=False, epochs=8
    )
    store_record(folder / "store", record)
    return folder / "store", record


def asked(store: Path, cwd: Path, **environment: str) -> bytes:
    command = [HARNESS, "verdicts", "--json", "--store", str(store)]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(command, cwd=cwd, env={**kept, **environment}, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_the_same_store_gives_the_same_bytes_wherever_it_lies_and_whoever_asks(crossed, tmp_path):
    store, _ = crossed
    first = asked(store, store.parent, OMP_NUM_THREADS="1", PYTHONHASHSEED="1", TZ="UTC", LANG="C.UTF-8")
    copy = tmp_path / "a copy" / "elsewhere"
    for path in sorted(store.rglob("*.parquet"), reverse=True):  # files made in another order
        target = copy / path.relative_to(store)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    second = asked(
        copy,
        tmp_path,
        OMP_NUM_THREADS="2",
        PYTHONHASHSEED="99",
        TZ="Pacific/Apia",
        LC_ALL="C",
        PYTHONIOENCODING="latin-1",
        NPY_DISABLE_CPU_FEATURES=processor_features(),
        OPENBLAS_CORETYPE="Prescott",
    )
    assert second == first
    assert first.isascii()
    document = json.loads(first)
    assert document["factorials"]["delta_e"], "the sections that solve linear systems are asked for, too"
    assert str(store.parent) not in first.decode()


def test_the_document_says_what_the_analysis_says(crossed):
    store, record = crossed
    document = evidence.verdicts("latest", store=store)
    assert list(document) == ["schema", "run", "plan", *(key for key, _ in SECTIONS)]
    assert document["schema"] == 1
    assert [claim["verdict"] for claim in document["claims"]] == [
        found.verdict for found in judge_claims(record)
    ]
    effects = compare_all(record, "ssim")
    told = document["effects"]["ssim"]
    assert [one["verdict"] for one in told] == [one.verdict for one in effects]
    assert [one["p_adjusted"] for one in told] == [pytest.approx(one.p_adjusted, rel=1e-9) for one in effects]
    pairs = len(record.plan.variants) * (len(record.plan.variants) - 1) // 2
    assert {name: len(found) for name, found in document["pairs"].items()} == dict.fromkeys(
        record.plan.metrics, pairs
    )
    assert {(one["variant"], one["seed"], one["reason"]) for one in document["missing"]} == {
        ("lab", 1, "failed: NonFiniteLossError"),
        ("ssim", 2, "not run"),
    }


def test_a_change_of_one_value_changes_the_document(tmp_path):
    record = synthetic_record(tmp_path, steps=2, seeds=3, epochs=2, samples=False, claims=False)
    before = document_text(verdicts_document(record))
    rows = record.metrics
    whole = rows["label"].isna() & (rows["split"] == "validation") & (rows["metric"] == "ssim")
    changed = rows["value"].copy()
    changed.loc[rows.index[whole & (rows["epoch"] == 2)][0]] *= 1 + 1e-6
    other = replace(record, metrics=rows.assign(value=changed))
    assert document_text(verdicts_document(other)) != before


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1 / 3, "0.3333333333"),
        (123456789.123456789, "123456789.1"),
        (-0.0, "0.0"),
        (1e-300, "1e-300"),
        (float("nan"), "null"),
        (float("inf"), "null"),
        (np.float64(2.0), "2.0"),
        (np.int64(3), "3"),
        (np.bool_(True), "true"),
        (True, "true"),
        ({"b", "a"}, '["a", "b"]'),
        ({("depth", "loss"): 1.0}, '{"depth x loss": 1.0}'),
        ((1, None), "[1, null]"),
    ],
)
def test_values_have_one_form(value, written):
    assert json.dumps(plain_value(value)) == written


def test_numbers_that_differ_in_the_last_bits_are_written_alike():
    random = np.random.default_rng(5)
    values = random.normal(size=1000)
    nearly = np.nextafter(values, np.inf)
    assert plain_value(values) == plain_value(nearly)


def test_the_page_shows_claims_and_effects_on_the_primary_metric(crossed, capsys):
    _, record = crossed
    print_verdicts(record, stdout())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "colorization_losses (laptop)  run 20261120-093000-1a2b3c, running"
    assert lines[1].startswith("– missing")
    assert sum(line.startswith(("✓ confirmed", "✗ refuted", "? inconclusive")) for line in lines[4:7]) == 3
    assert "delta_e against the reference" in lines


def test_a_run_that_is_not_there_is_one_message(crossed):
    store, _ = crossed
    with pytest.raises(HarnessError, match="no run 'nothing'"):
        evidence.verdicts("nothing", store=store)


def test_a_stored_record_is_read_back_as_it_was(crossed):
    store, record = crossed
    read = open_store(store).run()
    assert read.plan == record.plan
    assert len(read.metrics) == len(record.metrics)
    assert read.run["started"] == record.run["started"]

"""What the gate writes for other programs, and what its commands print and return."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import HarnessError
from harness.tracking.baseline.series import established
from harness.tracking.baseline.snapshot import snapshot
from harness.tracking.gate.documents import gate_document, gate_junit, gate_markdown, write_documents
from harness.tracking.gate.judge import judge
from harness.tracking.gate.options import GateOptions, Margin
from tests.support.baselines import RunShape, run_of
from tests.support.large_store import Scale, write_large_run

NOISE = np.array([-0.1, 0.1, 0.0, 0.05, -0.05])
ODD = "<b>|`[x](http://y)` & @all"


def gate_of(shift_a, shift_b, **options):
    """A gate of two variants against eight runs, each moved by so much."""
    random = np.random.default_rng(1)
    shape = RunShape(commit="0123456789abcdef", dirty=True, spec={"optimizer": {"lr": 0.5}})
    before = RunShape(spec={"optimizer": {"lr": 0.1}})
    runs = [
        run_of(
            f"r{index}",
            {name: list(8 + 0.1 * random.normal() + 0.1 * random.normal(size=5)) for name in "ab"},
            before,
        )
        for index in range(8)
    ]
    new = run_of("new", {"a": list(8 + shift_a + NOISE), "b": list(8 + shift_b + NOISE)}, shape)
    base = established("main", [snapshot(run, "main") for run in runs])[0]
    return judge(new, base, GateOptions(**options))


def test_junit_has_one_test_case_for_each_variant_and_metric():
    root = ElementTree.fromstring(gate_junit(gate_of(3.0, 0.0)).partition("\n")[2])
    [suite] = root.findall("testsuite")
    assert root.tag == "testsuites"
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    first, second = suite.findall("testcase")
    assert (first.get("classname"), first.get("name")) == ("hand.a", "delta_e")
    [failure] = first.findall("failure")
    assert failure.get("type") == "regressed"
    assert failure.get("message").startswith("delta_e of A: ΔE 11.0, 3.0 worse [")
    assert second.find("failure") is None
    times = [float(case.get("time")) for case in (first, second)]
    assert times == [50.0, 50.0]  # five trials of ten seconds each
    assert float(suite.get("time")) == sum(times)
    assert suite.get("timestamp") == "2026-11-01T12:00:00"


def test_what_is_inconclusive_is_skipped_and_fails_under_strict():
    found = gate_of(0.3, 0.0, margins={"delta_e": Margin(0.05)})
    loose = gate_of(0.0, 0.0)
    assert loose.verdict == "pass"
    assert found.verdict == "inconclusive"
    for strict, kind in ((False, "skipped"), (True, "failure")):
        case = ElementTree.fromstring(gate_junit(found, strict=strict).partition("\n")[2]).find(".//testcase")
        assert "cannot be ruled out" in case.find(kind).get("message")
        assert len(case) == 1


def odd_gate():
    base = snapshot(run_of("r0", {ODD: [8.0, 8.1, 8.2]}), "main")
    return judge(run_of("new", {ODD: [18.0, 18.3, 18.2]}), base)


def test_odd_names_stay_text_in_every_document():
    found = odd_gate()
    case = ElementTree.fromstring(gate_junit(found).partition("\n")[2]).find(".//testcase")
    assert case.get("classname") == f"hand.{ODD}"
    text = gate_markdown(found)
    assert "<b>" not in text
    assert "`" not in text.replace("\\`", "")
    assert "@all" not in text.lower()
    row = next(line for line in text.splitlines() if line.startswith("| ✗"))
    assert row.replace("\\|", "").count("|") == 9


def test_markdown_tells_the_verdict_first_then_numbers_then_what_changed():
    text = gate_markdown(gate_of(3.0, 0.0))
    first, *rest = text.splitlines()
    assert first.startswith(
        "### ✗ regressed: hand, run new of 0123456789+ against the baseline main (8 runs)"
    )
    assert first.endswith("1 regressed, 1 pass")
    table = [line for line in rest if line.startswith("| ")]
    assert "3.0" in table[2] and "regressed" in table[2]
    assert "configuration: optimizer.lr: 0.1 -&gt; 0.5" in text
    assert "uncommitted" not in text and "changes that are not committed" in text


def test_json_is_versioned_rounded_and_the_same_every_time():
    document = gate_document(gate_of(3.0, 0.0))
    assert (document["schema"], document["verdict"]) == (1, "regressed")
    assert document["counts"] == {"regressed": 1, "inconclusive": 0, "pass": 1}
    first = document["judgements"][0]
    assert first["drop"] == float(f"{first['drop']:.10g}")
    assert first["metric"] == "delta_e"
    assert first["runs"] == [f"r{index}" for index in range(8)]
    again = json.dumps(gate_document(gate_of(3.0, 0.0)), allow_nan=False)
    assert again == json.dumps(document, allow_nan=False)


def test_a_document_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write"):
        write_documents(odd_gate(), junit=tmp_path / "file" / "j.xml")


SCALE = Scale(variants=3, seeds=5, metrics=2, epochs=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of three runs: two alike, and one whose last variant is worse."""
    root = tmp_path_factory.mktemp("store")
    for number, gain in enumerate((0.0, 0.0, -1e3)):
        write_large_run(root, f"run-{number}", SCALE, number=number, attempt=number + 1, gain=gain)
    return root


def harness(*arguments, store, folder):
    options = ["--store", str(store)] * (arguments[1] in ("set", "add") or arguments[0] == "gate")
    return CliRunner().invoke(app, [*arguments, *options, "--baselines", str(folder)])


def test_a_baseline_is_set_added_to_listed_shown_and_removed(store, tmp_path):
    assert "no baselines here" in harness("baseline", "list", store=store, folder=tmp_path).output
    made = harness("baseline", "set", "main", "run-0", store=store, folder=tmp_path)
    assert made.exit_code == 0
    assert "1 run, the newest run run-0" in made.output
    assert "2 runs" in harness("baseline", "add", "main", "run-1", store=store, folder=tmp_path).output
    listed = json.loads(harness("baseline", "list", "--json", store=store, folder=tmp_path).stdout)
    assert [(one["name"], one["runs"], one["newest"]) for one in listed] == [("main", 2, "run-1")]
    shown = json.loads(harness("baseline", "show", "main", "--json", store=store, folder=tmp_path).stdout)
    assert [level["runs"] for level in shown["levels"]] == [2, 2, 2]
    assert all(level["between_sd"] > 0 for level in shown["levels"])
    assert "sd between runs" in harness("baseline", "show", "main", store=store, folder=tmp_path).output
    assert harness("baseline", "remove", "main", store=store, folder=tmp_path).exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_exit_codes_tell_a_pass_a_regression_and_what_is_inconclusive(store, tmp_path):
    assert harness("baseline", "set", "main", "run-0", store=store, folder=tmp_path).exit_code == 0
    same = harness("gate", "run-0", "--strict", store=store, folder=tmp_path)
    assert (same.exit_code, same.output[0]) == (0, "✓")
    noise = harness("gate", "run-1", store=store, folder=tmp_path)
    assert (noise.exit_code, noise.output[0]) == (0, "?")
    assert harness("gate", "run-1", "--strict", store=store, folder=tmp_path).exit_code == 4
    worse = harness("gate", "run-2", store=store, folder=tmp_path)
    assert (worse.exit_code, worse.output[0]) == (3, "✗")
    assert "1 regressed, 2 inconclusive" in worse.output
    others = harness("gate", "run-2", "--variant", "v000", store=store, folder=tmp_path)
    assert others.exit_code == 0


def test_the_documents_are_written_beside_the_answer(store, tmp_path):
    harness("baseline", "set", "main", "run-0", store=store, folder=tmp_path)
    junit, markdown, document = (tmp_path / "deep" / f"gate.{ending}" for ending in ("xml", "md", "json"))
    options = ["--junit", str(junit), "--markdown", str(markdown), "--json", str(document)]
    done = harness("gate", "run-1", *options, store=store, folder=tmp_path)
    assert (done.exit_code, done.output[0]) == (0, "?")
    assert ElementTree.parse(junit).getroot().get("tests") == "3"
    assert markdown.read_text().startswith("### ? inconclusive")
    assert json.loads(document.read_text())["verdict"] == "inconclusive"
    printed = harness("gate", "run-1", "--json", "-", store=store, folder=tmp_path)
    assert printed.stdout == document.read_text()


@pytest.mark.parametrize("option", ["--json", "--junit", "--markdown"])
def test_an_option_is_no_name_of_a_file(store, tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    harness("baseline", "set", "main", "run-0", store=store, folder=tmp_path)
    swallowed = harness("gate", "run-1", option, "--strict", store=store, folder=tmp_path)
    assert swallowed.exit_code == 2
    assert "expected the name of a file, got --strict" in " ".join(swallowed.output.split())
    assert not (tmp_path / "--strict").exists()

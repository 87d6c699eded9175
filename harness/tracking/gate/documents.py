"""A gate's answer for other programs: JUnit XML, Markdown for a pull request, JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from harness.analysis.plain_json import document_text, plain_value
from harness.markdown import markdown_list, markdown_table, markdown_text
from harness.store.files import replacing
from harness.tracking.baseline.model import BaselineRun
from harness.tracking.gate.model import CostJudgement, Gate, Judgement, Verdict
from harness.tracking.gate.wording import HEADER, Row, change_text, headline, reasons, rows_of, run_text

SCHEMA = 1
LEGEND = (
    "Worse by: how far the run's mean is from the baseline's level, positive is worse, with one-sided 95 % "
    "bounds. Told from: the drop from which on the gate says regressed."
)


def gate_document(gate: Gate) -> dict[str, Any]:
    """Return the answer as JSON values; the same store and baseline give the same bytes."""
    verdicts: tuple[Verdict, ...] = ("regressed", "inconclusive", "pass")
    return {
        "schema": SCHEMA,
        "verdict": gate.verdict,
        "counts": {one: gate.count(one) for one in verdicts},
        "baseline": gate.baseline,
        "suite": gate.suite,
        "profile": gate.profile,
        "run": _run(gate.run),
        "against": [_run(one) for one in gate.against],
        "judgements": [_judgement(one) for one in gate.judgements],
        "costs": [_judgement(one) for one in gate.costs],
        "changes": plain_value(gate.changes),
        "notes": list(gate.notes),
    }


def _run(run: BaselineRun) -> dict[str, Any]:
    return run.model_dump(mode="json", exclude={"configurations", "fingerprint"})


def _judgement(one: Judgement | CostJudgement) -> dict[str, Any]:
    found = {each.name: getattr(one, each.name) for each in fields(one)}
    found["runs"] = [run.run for run in one.runs]
    if isinstance(one, Judgement):
        found["metric"] = found.pop("info").name
    plain: dict[str, Any] = plain_value(found)
    return plain


def gate_junit(gate: Gate, *, strict: bool = False) -> str:
    """Return JUnit XML: one test case for every variant and figure that is gated.

    What regressed is a failure, what is inconclusive is skipped, under `strict` a failure too. The
    time of a variant's trials is shared out over its test cases.
    """
    suite = ElementTree.Element("testsuite", name=_xml(f"harness gate {gate.baseline}"))
    shares = {name: sum(one.variant == name for one in gate.gated) for name in gate.seconds}
    total = 0.0
    for one in gate.gated:
        seconds = gate.seconds.get(one.variant, 0.0) / max(1, shares.get(one.variant, 1))
        total += seconds
        suite.append(_test_case(gate, one, seconds, strict=strict))
    failures = len(suite.findall("testcase/failure"))
    counts = {"tests": len(gate.gated), "failures": failures, "errors": 0}
    skipped = len(suite.findall("testcase/skipped"))
    for name, value in (*counts.items(), ("skipped", skipped)):
        suite.set(name, str(value))
    suite.set("time", f"{total:.3f}")
    suite.set("timestamp", gate.run.when.strftime("%Y-%m-%dT%H:%M:%S"))
    root = ElementTree.Element("testsuites", {name: suite.attrib[name] for name in (*counts, "time")})
    root.append(suite)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def gate_markdown(gate: Gate, *, strict: bool = False) -> str:
    """Return Markdown for a comment on a pull request: the verdict, a table, what changed, details."""
    rows = rows_of(gate)
    telling = [row for row in rows if row.verdict is not None]
    variants = len({one.variant for one in gate.judgements})
    others = [row for row in rows if row.verdict is None]
    against = ", ".join(run.revision for run in gate.against)
    parts = [
        f"### {markdown_text(headline(gate, strict=strict))}",
        _table(telling),
        markdown_list(reasons(telling)),
        "**What changed**",
        markdown_list(_what_changed(gate, variants)),
        "<details><summary>Details</summary>",
        markdown_list(gate.notes),
        _table(others) if others else "",
        f"Baseline: {markdown_text(against)}. {markdown_text(LEGEND)}",
        "</details>",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_documents(
    gate: Gate,
    *,
    strict: bool = False,
    junit: Path | None = None,
    markdown: Path | None = None,
    json_: Path | None = None,
) -> None:
    """Write the documents that a file is given for, each in one step.

    Raises:
        HarnessError: a file cannot be written.
    """
    written: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (junit, lambda: gate_junit(gate, strict=strict)),
        (markdown, lambda: gate_markdown(gate, strict=strict)),
        (json_, lambda: document_text(gate_document(gate))),
    )
    for file, text in written:
        if file is not None:
            with replacing(file) as temporary:
                temporary.write_text(text(), encoding="utf-8")


def _what_changed(gate: Gate, variants: int) -> list[str]:
    newest = gate.against[-1]
    code = "the same" if gate.run.code == newest.code else "changed"
    found = [change_text(change, variants) for change in gate.changes]
    configuration = [f"configuration: {one}" for one in found] or ["configuration: the same"]
    return [f"commit: {newest.revision} -> {gate.run.revision}", f"training code: {code}", *configuration]


def _test_case(
    gate: Gate, one: Judgement | CostJudgement, seconds: float, *, strict: bool
) -> ElementTree.Element:
    name = one.info.name if isinstance(one, Judgement) else one.cost
    where = f"{gate.suite}.{gate.profile}" if gate.profile else gate.suite
    case = ElementTree.Element(
        "testcase", classname=_xml(f"{where}.{one.variant}"), name=_xml(name), time=f"{seconds:.3f}"
    )
    message = _xml(f"{name} of {one.title}: {one.reason}")
    if one.verdict == "regressed" or (strict and one.verdict == "inconclusive"):
        failure = ElementTree.SubElement(case, "failure", message=message, type=str(one.verdict))
        against = ", ".join(run.revision for run in one.runs)
        failure.text = _xml(f"{message}\n{run_text(gate.run)}; baseline: {against}")
    elif one.verdict == "inconclusive":
        ElementTree.SubElement(case, "skipped", message=message)
    else:
        ElementTree.SubElement(case, "system-out").text = message
    return case


def _xml(text: str) -> str:
    """Return a text without the characters that XML 1.0 has no way to write."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _table(rows: Iterable[Row]) -> str:
    return markdown_table(HEADER, [row.cells for row in rows])

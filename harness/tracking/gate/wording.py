"""How a gate's answer is written, on a terminal and in Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.costs import COST_INFOS, format_cost
from harness.analysis.wording import counted, format_difference, format_interval, format_value, metric_name
from harness.tracking.baseline.model import BaselineRun
from harness.tracking.gate.model import CostJudgement, Gate, Judgement, SettingChange, Verdict

SIGNS: dict[Verdict | None, str] = {"regressed": "✗", "inconclusive": "?", "pass": "✓", None: "·"}
HEADER = ("", "variant", "figure", "baseline", "run", "worse by", "told from", "verdict")


@dataclass(frozen=True)
class Row:
    """One judgement as the cells of `HEADER`."""

    verdict: Verdict | None
    cells: tuple[str, ...]
    reason: str


def headline(gate: Gate, *, strict: bool) -> str:
    """Return the answer in one line."""
    counts = [(gate.count(one), one) for one in ("regressed", "inconclusive", "pass")]
    listed = ", ".join(f"{count} {verdict}" for count, verdict in counts if count)
    profile = f" {gate.profile}" if gate.profile else ""
    fails = " (fails: --strict)" if strict and gate.verdict == "inconclusive" else ""
    runs = counted(len(gate.against), "run")
    return (
        f"{SIGNS[gate.verdict]} {gate.verdict}{fails}: {gate.suite}{profile}, {run_text(gate.run)} "
        f"against the baseline {gate.baseline} ({runs}): {listed}"
    )


def run_text(run: BaselineRun) -> str:
    """Return a run and its commit: "run 20261120-135535-95f7 of 3f2a91c0d5+"."""
    return f"run {run.run}" + (f" of {run.revision}" if run.commit else "")


def rows_of(gate: Gate) -> list[Row]:
    """Return every judgement, gated ones first."""
    metrics = [_metric_row(one) for one in gate.judgements]
    return sorted([*metrics, *map(_cost_row, gate.costs)], key=lambda row: row.verdict is None)


def change_text(change: SettingChange, of: int) -> str:
    """Return a changed setting in one line; `of` is the number of variants that are judged."""
    names = "" if len(change.variants) == of else f" ({', '.join(change.variants)})"
    return f"{change.path}: {change}{names}"


def _metric_row(one: Judgement) -> Row:
    info = one.info
    shown = [None if value is None else format_value(info, value) for value in (one.level, one.mean)]
    word = f"{one.verdict}{', improved' * one.improved}{'' if one.gated else ' (information)'}"
    alarm = "" if one.alarm_from is None else format_difference(info, one.alarm_from, signed=False)
    cells = (
        SIGNS[one.verdict],
        one.title,
        metric_name(info),
        shown[0] or "",
        shown[1] or "",
        _worse_by(one),
        alarm,
        word,
    )
    return Row(one.verdict if one.gated else None, cells, one.reason)


def _worse_by(one: Judgement) -> str:
    if one.drop is None:
        return ""
    if one.drop_low is None or one.drop_high is None:
        return format_difference(one.info, one.drop)
    half = (one.drop_high - one.drop_low) / 2
    interval = format_interval(one.info, one.drop_low, one.drop_high)
    return f"{format_difference(one.info, one.drop, resolution=half)} {interval}"


def _cost_row(one: CostJudgement) -> Row:
    title = COST_INFOS[one.cost].title
    interval = "" if one.low is None or one.high is None else f" [{one.low:.2f}, {one.high:.2f}]"
    ratio = one.reason if one.ratio is None else f"× {one.ratio:.2f}{interval}"
    limit = "" if one.limit is None else f"× {one.limit:g}"
    shown = ["" if value is None else format_cost(one.cost, value) for value in (one.level, one.mean)]
    word = one.verdict or "information"
    return Row(one.verdict, (SIGNS[one.verdict], one.title, title, *shown, ratio, limit, word), one.reason)


def reasons(rows: Sequence[Row]) -> list[str]:
    """Return one line for every row that decides and is no plain pass."""
    return [
        f"{' '.join(row.cells[:2])}, {row.cells[2]}: {row.reason}"
        for row in rows
        if row.verdict in ("regressed", "inconclusive") or row.cells[-1].startswith("pass, improved")
    ]

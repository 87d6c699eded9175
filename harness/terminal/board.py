"""What the commands print: the plan, the progress of a run, the verdicts."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.analysis.claims import judge_claims
from harness.analysis.effects import Comparison, compare_all
from harness.analysis.values import Absence, absences
from harness.analysis.wording import (
    format_difference,
    format_duration,
    format_effect,
    format_number,
    format_p,
    format_replicates,
    format_trial,
    name_replicates,
    replicate_noun,
)
from harness.api import Prepared
from harness.config import MetricInfo
from harness.execute.base import Ended, EpochDone, Event, Listener, Notice, Reused, Started
from harness.plan import Plan, PlannedTrial, Variant
from harness.reporting.comparisons import distinct
from harness.reporting.render import WrittenReport
from harness.store.read import RunRecord
from harness.terminal.console import plain_table
from harness.terminal.plan_page import headline

ARROWS = {"lower": "↓", "higher": "↑"}
ENDED = ("done", "failed")
MOST_ABSENCES = 3  # that the end of a run names
SIGNS = {
    "confirmed": ("✓", "green"),
    "refuted": ("✗", "red"),
    "inconclusive": ("?", "yellow"),
    "better": ("✓", "green"),
    "worse": ("✗", "red"),
    "equivalent": ("=", "default"),
    "described": ("·", "default"),  # too few seeds to judge
}


@dataclass
class TrialProgress:
    """Where one trial stands."""

    state: str = "waiting"
    epoch: int = 0
    epochs_here: int = 0
    """Epochs of this run; a trial that goes on has some behind it already."""
    value: float | None = None
    started: float | None = None
    seconds: float = 0.0


@dataclass
class Board:
    """Where a run stands: told by events, read by the display."""

    plan: Plan
    slots: int
    trials: dict[str, TrialProgress] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, prepared: Prepared) -> Self:
        """Return the board that a run begins with: what the store holds is done."""
        board = cls(prepared.plan, prepared.slots)
        for trial_id in prepared.assessment.reused:
            if trial_id in board.epochs:
                board.trials[trial_id] = TrialProgress("done", board.epochs[trial_id])
        return board

    @cached_property
    def planned(self) -> dict[str, PlannedTrial]:
        """The planned trials by id."""
        return {trial.id: trial for trial in self.plan.trials}

    @cached_property
    def epochs(self) -> dict[str, int]:
        """Epochs that every trial trains at most."""
        return {trial.id: int(trial.spec["train"]["epochs"]) for trial in self.plan.trials}

    @cached_property
    def ids(self) -> dict[str, list[str]]:
        """Ids of the trials of every variant."""
        found: dict[str, list[str]] = {variant.name: [] for variant in self.plan.variants}
        for trial in self.plan.trials:
            for name in trial.variants:
                found[name].append(trial.id)
        return found

    def take(self, event: Event) -> None:
        """Note what happened to a trial."""
        with self.lock:
            trial = self.trials.setdefault(event.trial_id, TrialProgress())
            if isinstance(event, Started):
                trial.state, trial.started = "running", time.monotonic()
            elif isinstance(event, EpochDone):
                trial.epoch, trial.value = event.epoch, event.value
                trial.epochs_here += 1
            elif isinstance(event, Reused):
                trial.state, trial.epoch = "done", self.epochs[event.trial_id]
            elif isinstance(event, Ended):
                trial.state = "waiting" if event.again else "failed" if event.failed else "done"
            if trial.started is not None:
                trial.seconds = time.monotonic() - trial.started

    def remaining_seconds(self) -> float | None:
        """Return the expected time to the end, from the seconds that an epoch took so far; none at first."""
        with self.lock:
            epochs = sum(trial.epochs_here for trial in self.trials.values())
            seconds = sum(trial.seconds for trial in self.trials.values() if trial.epochs_here)
            rest = sum(
                self.epochs[trial.id] - self.trials.get(trial.id, TrialProgress()).epoch
                for trial in self.plan.trials
                if self.trials.get(trial.id, TrialProgress()).state not in ENDED
            )
        return rest * seconds / epochs / self.slots if epochs else None

    def rows(self) -> Iterator[tuple[Variant, list[TrialProgress], int]]:
        """Yield every variant with its trials and the epochs that they train."""
        for variant in self.plan.variants:
            ids = self.ids[variant.name]
            progress = [self.trials.get(trial_id, TrialProgress()) for trial_id in ids]
            yield variant, progress, self.epochs[ids[0]]


def announce(prepared: Prepared, console: Console) -> None:
    """Print what a run is going to do."""
    console.print(headline(prepared, prepared.expected.seconds))
    for note in (*prepared.notes, *prepared.expected.warnings):
        console.print(f"  note: {note}", style="dim")


def conclude(record: RunRecord, written: WrittenReport, console: Console) -> None:
    """Print failed trials, the verdicts and where the report lies."""
    planned = {trial.id: trial for trial in record.plan.trials}
    for _, trial in record.trials[record.trials["status"] != "complete"].iterrows():
        first_line = str(trial["error"] or trial["status"]).splitlines()[0]
        line = Text(f"✗ {trial['status']:<13}", style="red")
        line.append(f" {trial['variant']} {format_trial(planned[trial['trial_id']])}", style="default")
        known = trial["failure_kind"]
        kind = f"{known.replace('_', ' ')}, " if isinstance(known, str) else ""
        console.print(line.append(f"   {kind}{trial['error_class']}: {first_line}", style="dim"))
    width = console.width if console.is_terminal else sys.maxsize
    absent = absences(record)
    if absent:
        console.print(missing_line(record.plan, absent, width))
    for result in judge_claims(record):
        console.print(verdict_line(result.verdict, result.claim.says, result.reason, width))
    if not record.plan.claims:
        for comparison in distinct(compare_all(record, record.plan.primary_metric)):
            console.print(comparison_line(record.plan, comparison, width))
    console.print(f"report  {_short(written.html)}")


def _progress_table(board: Board) -> Table:
    """Return where a run stands as a table."""
    info = board.plan.metrics[board.plan.primary_metric]
    table = plain_table()
    table.add_column("variant", no_wrap=True)
    table.add_column("seeds" if board.plan.folds is None else "trials", no_wrap=True, min_width=12)
    table.add_column("epoch", justify="right", no_wrap=True)
    table.add_column(f"{info.symbol} {ARROWS[info.direction]}", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for variant, trials, epochs in board.rows():
        done = [trial for trial in trials if trial.state == "done"]
        running = [trial for trial in trials if trial.state == "running"]
        failed = [trial for trial in trials if trial.state == "failed"]
        over = len(done) + len(failed) == len(trials)
        state = "running" if running else "done" if over and not failed else "" if over else "waiting"
        if failed:
            state = f"{state} {len(failed)} failed".strip()
        shown = running or done or failed
        table.add_row(
            variant.title,
            f"{len(done)}/{len(trials)} {state}",
            f"{max(trial.epoch for trial in shown)}/{epochs}" if shown else "",
            _mean(info, [trial.value for trial in shown if trial.value is not None]),
            format_duration(sum(trial.seconds for trial in trials)) if shown else "",
        )
    return table


@contextmanager
def showing(board: Board, console: Console) -> Iterator[Listener]:
    """Yield the listener that keeps a table up to date on a terminal, or prints a line a trial elsewhere."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=2, get_renderable=lambda: _screen(board)):
            yield board.take
        return

    def listen(event: Event) -> None:
        board.take(event)
        line = _plain_line(board, event)
        if line:
            console.print(line)

    yield listen


def _plain_line(board: Board, event: Event) -> str | None:
    """Return the line that a trial's end is worth where there is no terminal; none for other events."""
    if isinstance(event, Notice):
        return f"note: {event.text}"
    if not isinstance(event, (Ended, Reused)):
        return None
    info = board.plan.metrics[board.plan.primary_metric]
    trial = board.planned[event.trial_id]
    progress = board.trials[event.trial_id]
    ended = sum(progress.state in ENDED for progress in board.trials.values())
    value = "" if progress.value is None else f"  {info.symbol} {format_number(info, progress.value)}"
    epoch = f"epoch {progress.epoch}/{board.epochs[trial.id]}"
    how = _how(event)
    return (
        f"[{ended}/{len(board.plan.trials)}] {', '.join(trial.variants)} {format_trial(trial)}  "
        f"{epoch}{value}  {format_duration(progress.seconds)}{how and f'  {how}'}"
    )


def _how(event: Ended | Reused) -> str:
    """Return in words what is special about the end of an attempt."""
    if isinstance(event, Reused):
        return "by another run"
    if not event.failed:
        return ""
    kind = f" ({event.loss.words})" if event.loss else ""
    return f"{'lost' if event.again else 'failed'}{kind}{', tried again' * event.again}"


def missing_line(plan: Plan, absent: Sequence[Absence], width: int) -> Text:
    """Return which values are missing and why; beyond three reasons, how many there are."""
    said = [
        f"{plan.variant(one.variant).title} {name_replicates(one.replicates)}"
        f"{''.join(f' {plan.metrics[name].symbol}' for name in one.metrics)} ({one.reason})"
        for one in absent[:MOST_ABSENCES]
    ]
    rest = len(absent) - len(said)
    more = f" and {rest} more, see the report" if rest else ""
    return _line("–", "missing", "yellow", "verdicts rest on what is left", "; ".join(said) + more, width)


def verdict_line(verdict: str, says: str, reason: str, width: int) -> Text:
    """Return one claim's answer; its numbers go to the next line where the first has no room for them."""
    sign, colour = SIGNS[verdict]
    return _line(sign, verdict, colour, says, reason, width)


def _line(sign: str, word: str, colour: str, says: str, reason: str, width: int) -> Text:
    line = Text()
    line.append(f"{sign} {word:<13}", style=colour)
    line.append(f" {says}")
    fits = len(line) + 3 + len(reason) <= width
    line.append(f"   {reason}" if fits else f"\n{'':16}{reason}", style="dim")
    return line


def comparison_line(plan: Plan, found: Comparison, width: int) -> Text:
    """Return the verdict on two variants in the primary metric, for a suite that claims nothing."""
    info = plan.metrics[found.metric]
    title = f"{plan.variant(found.of).title} against {plan.variant(found.versus).title}"
    if found.difference is None:
        return verdict_line(found.verdict, title, f"no {replicate_noun(plan.folds)} that both have", width)
    effect = f"{info.symbol} {format_effect(info, found.difference, found.low, found.high)}"
    effect += _within(info, found)
    judged = found.p_equivalence if found.verdict == "equivalent" else found.p_adjusted
    p = "" if judged is None else f", {format_p(judged)} (Holm)"
    return verdict_line(found.verdict, title, f"{effect}, {format_replicates(found.replicates)}{p}", width)


def _within(info: MetricInfo, found: Comparison) -> str:
    if found.verdict != "equivalent":
        return ""
    assert found.margin is not None, "nothing is equivalent without a margin"
    return f", within ±{format_difference(info, found.margin, signed=False)}"


def _screen(board: Board) -> Table:
    screen = Table.grid()
    screen.add_row(_progress_table(board))
    running = sum(trial.state == "running" for trial in board.trials.values())
    seconds = board.remaining_seconds()
    if running:
        left = "" if seconds is None else f", about {format_duration(seconds)} left"
        screen.add_row(Text(f"  {running} of {board.slots} slots busy{left}", style="dim"))
    return screen


def _mean(info: MetricInfo, values: Sequence[float]) -> str:
    return format_number(info, sum(values) / len(values)) if values else ""


def _short(path: Path) -> str:
    """Return a path as seen from here, where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.api import prepare
from harness.execute.base import Ended, EpochDone, Started
from harness.reporting.render import WrittenReport
from harness.terminal.board import Board, conclude, showing
from harness.terminal.console import plain_table, stdout
from harness.testing.tiny import TINY
from tests.support.synthetic_run import synthetic_record


@pytest.fixture
def prepared(write_suite, tmp_path):
    return prepare(write_suite(TINY), store=tmp_path / "store", cpus=2)


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr("harness.terminal.board.time.monotonic", lambda: now[0])
    return now


def screen(board):
    """Return what a terminal of 90 columns shows in the end."""
    console = Console(file=io.StringIO(), force_terminal=True, width=90, height=20, color_system=None)
    with showing(board, console):
        pass
    return console.file.getvalue()


def test_the_table_shows_state_epoch_metric_and_time_left(prepared, clock):
    board = Board.of(prepared)
    first, second = prepared.plan.trials[0].id, prepared.plan.trials[1].id
    board.take(Started(first))
    board.take(Started(second))
    clock[0] += 6.0
    for epoch, value in ((1, 50.0), (2, 40.0), (3, 30.125)):
        board.take(EpochDone(first, epoch, value))
    board.take(Ended(first))
    board.take(EpochDone(second, 1, 44.0))
    shown = screen(board)
    assert "1/2 waiting" in shown  # mse: one seed done, the other one not begun
    assert "3/3" in shown
    assert "30.12" in shown
    assert "0/2 running" in shown
    assert "1/3" in shown
    assert "1 of 2 slots busy" in shown
    # 4 epochs took 12 s of two slots; 14 of 18 epochs are left: 14 * 3 s / 2
    assert board.remaining_seconds() == pytest.approx(21.0)
    assert "about 21 s left" in shown


def test_a_trial_that_goes_on_is_timed_by_its_own_epochs(prepared, clock):
    board = Board.of(prepared)
    trial = prepared.plan.trials[0].id
    board.take(Started(trial))
    clock[0] += 4.0
    board.take(EpochDone(trial, 3, 50.0))  # two of its epochs were another attempt's
    # 1 epoch took 4 s; 15 of 18 are left, two slots
    assert board.remaining_seconds() == pytest.approx(30.0)


def test_a_failed_trial_is_not_shown_as_done(prepared, clock):
    board = Board.of(prepared)
    trial = prepared.plan.trials[0].id
    board.take(Started(trial))
    board.take(Ended(trial, failed=True))
    assert "0/2 waiting 1 failed" in screen(board)
    console = Console(file=io.StringIO(), width=200)
    with showing(board, console) as listener:
        listener(Ended(trial, failed=True))
    assert console.file.getvalue() == "[1/6] mse seed 0  epoch 0/3  0 ms  failed\n"


def test_at_first_no_time_is_guessed(prepared):
    board = Board.of(prepared)
    assert board.remaining_seconds() is None
    assert "left" not in screen(board)


def test_elsewhere_a_line_is_printed_for_each_trial_that_ends(prepared, clock):
    board = Board.of(prepared)
    console = Console(file=io.StringIO(), width=200)
    trial = prepared.plan.trials[1].id
    with showing(board, console) as listener:
        listener(Started(trial))
        clock[0] += 2.5
        listener(EpochDone(trial, 3, 41.5))
        listener(Ended(trial))
    assert console.file.getvalue() == "[1/6] l1 seed 0  epoch 3/3  ΔE 41.50  2.5 s\n"


def concluded(record):
    console = Console(file=io.StringIO(), width=200)
    conclude(record, WrittenReport(html=Path("r/report.html"), markdown=Path("r/report.md")), console)
    return console.file.getvalue().splitlines()


def test_the_end_prints_a_line_a_claim_and_where_the_report_lies(tmp_path):
    record = synthetic_record(tmp_path)
    *claims, last = concluded(record)
    assert last == "report  r/report.html"
    assert len(claims) == len(record.plan.claims)
    for line, claim in zip(claims, record.plan.claims, strict=True):
        assert line.split(maxsplit=2)[1] in ("confirmed", "refuted", "inconclusive")
        assert claim.says in line


def test_the_end_says_in_one_line_what_is_missing(tmp_path):
    missing = (("mse", 4), ("lpips", 1), ("lpips", 3))
    lines = concluded(synthetic_record(tmp_path, failed=(("lab", 2),), missing=missing))
    (line,) = [line for line in lines if line.startswith("– missing")]
    assert line.split("   ")[-1] == (
        "MSE seed 4 (not run); + LPIPS seeds 1, 3 (not run); + LAB seed 2 (failed: NonFiniteLossError)"
    )


def test_the_end_of_a_whole_run_speaks_of_nothing_missing(tmp_path):
    assert not any("missing" in line for line in concluded(synthetic_record(tmp_path)))


def test_a_trial_that_was_interrupted_is_not_called_failed(tmp_path):
    record = synthetic_record(tmp_path, running=(("lab", 2),))
    record.trials["status"] = record.trials["status"].replace("running", "interrupted")
    (line,) = [line for line in concluded(record) if line.startswith("✗ interrupted")]
    assert "lab seed 2" in line


def test_without_claims_the_end_prints_the_comparisons(tmp_path):
    *lines, _ = concluded(synthetic_record(tmp_path, claims=False))
    assert len(lines) == 5  # three steps of the chain, and two more against the reference
    assert all(" against " in line and "ΔE" in line and "5 seeds" in line for line in lines)
    assert any(line.startswith("✓ better") for line in lines)


def test_a_title_is_printed_as_it_was_written(capsys):
    console = stdout()
    console.print(":smile: [bold]x[/bold]")
    table = plain_table()
    table.add_column("title")
    table.add_row(":smile: [bold]x[/bold]")
    console.print(table)
    assert capsys.readouterr().out.count(":smile: [bold]x[/bold]") == 2

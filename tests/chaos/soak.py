"""`python -m tests.chaos.soak EXECUTOR`: thousands of short trials; what must stay flat is measured.

Prints a table, and exits with 1 where the driver's memory, its file handles or the time of a trial grow.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from harness.store.read import open_store
from harness.testing.tiny import TINY
from tests.chaos.driver import HARNESS
from tests.chaos.episode import environment
from tests.chaos.processes import adopt_orphans, descendants, end_all, trains

WARM_TRIALS = 200
MOST_GROWTH_MIB = 100
MOST_NEW_HANDLES = 10
MOST_SLOWER = 1.15  # the last quarter of the trials against the first, by median: room for a busy machine
MOST_LONGER_IDLE = 0.05  # seconds
SAMPLE_SECONDS = 5.0
MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """The driver at one moment, and the largest of its workers."""

    seconds: float
    trials: int
    """That have begun."""
    rss_mib: float
    handles: int
    threads: int
    worker_rss_mib: float


@dataclass(frozen=True)
class Figures:
    """What was measured."""

    executor: str
    trials: int
    minutes: float
    rss_after_warm_up_mib: float
    rss_at_most_mib: float
    handles_after_warm_up: int
    handles_at_most: int
    worker_rss_after_warm_up_mib: float
    worker_rss_at_most_mib: float
    first_quarter_seconds: float
    """Median time of a trial, from its record."""
    last_quarter_seconds: float
    first_quarter_idle: float
    """Seconds that a CPU stands idle between two trials: what the driver and the executor take."""
    last_quarter_idle: float

    @property
    def problems(self) -> list[str]:
        """Return what grows, in words."""
        growth = self.rss_at_most_mib - self.rss_after_warm_up_mib
        handles = self.handles_at_most - self.handles_after_warm_up
        slower = self.last_quarter_seconds / self.first_quarter_seconds
        longer = self.last_quarter_idle - self.first_quarter_idle
        found = []
        if growth > MOST_GROWTH_MIB:
            found.append(f"the driver grew by {growth:.0f} MiB")
        if handles > MOST_NEW_HANDLES:
            found.append(f"the driver opened {handles} handles more")
        if slower > MOST_SLOWER:
            found.append(f"a trial takes {slower:.2f} times as long at the end")
        if longer > MOST_LONGER_IDLE:
            found.append(f"a CPU waits {longer:.3f} s longer for the next trial at the end")
        return found


def main() -> int:
    arguments = _parse()
    adopt_orphans()
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="harness-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    environment(folder)
    suite, store = folder / "suite.yaml", folder / "store"
    suite.write_text(soak_suite(arguments.trials))
    try:
        samples = _watched(suite, store, arguments.executor, folder / "driver.log")
    finally:
        end_all()
    found = figures(arguments.executor, samples, store)
    for name, value in asdict(found).items():
        print(f"{name:32} {value:.3f}" if isinstance(value, float) else f"{name:32} {value}")
    for problem in found.problems:
        print(f"! {problem}")
    return int(bool(found.problems))


def soak_suite(trials: int) -> str:
    """Return a suite of two variants that differ in their loss alone, over as many seeds as it takes."""
    text = TINY.replace("suite: tiny", "suite: soak").replace("      lab: {set: {loss.lab_l1: 0.3}}\n", "")
    return text.partition("seeds:")[0] + f"seeds: {trials // 2}\n"


def figures(executor: str, samples: list[Sample], store: Path) -> Figures:
    """Sum up what was sampled and what the store says of the trials, in the order of their ends."""
    reader = open_store(store)
    rows = reader.tables()["trials"].select(["started", "ended", "status"]).to_pylist()
    rows = sorted((row for row in rows if row["status"] == "complete"), key=lambda row: row["ended"])
    spans = [(row["ended"] - row["started"]).total_seconds() for row in rows]
    ends = [row["ended"].timestamp() for row in rows]
    quarter = len(rows) // 4
    (run,) = reader.run_rows()

    def idle(first: int, last: int) -> float:
        apart = (ends[last] - ends[first]) / (last - first)
        return float(run["cpus"]) * apart - statistics.mean(spans[first + 1 : last + 1])

    warm = [sample for sample in samples if sample.trials >= min(WARM_TRIALS, len(rows) // 2)]
    return Figures(
        executor=executor,
        trials=len(rows),
        minutes=samples[-1].seconds / 60,
        rss_after_warm_up_mib=warm[0].rss_mib,
        rss_at_most_mib=max(sample.rss_mib for sample in warm),
        handles_after_warm_up=warm[0].handles,
        handles_at_most=max(sample.handles for sample in warm),
        worker_rss_after_warm_up_mib=warm[0].worker_rss_mib,
        worker_rss_at_most_mib=max(sample.worker_rss_mib for sample in warm),
        first_quarter_seconds=statistics.median(spans[:quarter]),
        last_quarter_seconds=statistics.median(spans[-quarter:]),
        # Workers are started during the first trials: those are left out.
        first_quarter_idle=idle(quarter // 4, quarter),
        last_quarter_idle=idle(len(rows) - 1 - quarter, len(rows) - 1),
    )


def _watched(suite: Path, store: Path, executor: str, log: Path) -> list[Sample]:
    """Run the suite and return what was seen of its driver while trials were under way."""
    began, samples = time.monotonic(), []
    with log.open("w") as output:
        command = [HARNESS, "run", str(suite), "--store", str(store), "--executor", executor]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    while process.poll() is None:
        time.sleep(SAMPLE_SECONDS)
        sample = _sample(process.pid, store, time.monotonic() - began)
        if sample is not None and sample.trials < _planned(suite):  # the report at the end is another matter
            samples.append(sample)
            print(*asdict(sample).values(), flush=True)
    assert process.returncode == 0, log.read_text()[-4000:]
    return samples


def _sample(pid: int, store: Path, seconds: float) -> Sample | None:
    try:
        driver = psutil.Process(pid)
        memory, handles, threads = driver.memory_info().rss, driver.num_fds(), driver.num_threads()
        workers = [one.memory_info().rss for one in descendants(pid) if trains(one)]
    except psutil.Error:
        return None
    trials = sum(1 for _ in (store / "attempts").glob("*"))
    return Sample(round(seconds, 1), trials, memory / MIB, handles, threads, max(workers, default=0) / MIB)


def _planned(suite: Path) -> int:
    return 2 * int(suite.read_text().rpartition("seeds:")[2])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("executor", choices=("ray", "local"))
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--folder", help="to work in; a new temporary one by default")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

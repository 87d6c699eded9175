"""Machines that trials ran on: a measured cost is compared on one machine alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from harness.analysis.wording import counted

MACHINE = ("host", "device", "threads")
"""Columns of a record's trials that tell one machine from another."""


class Machine(NamedTuple):
    """What a measured cost depends on."""

    host: str
    device: str
    """With its name where it has one: "cpu", "cuda:NVIDIA A100"."""
    threads: int | None
    """None where they were not recorded."""

    def __str__(self) -> str:
        """Return "atlas (cpu, 4 threads)"."""
        threads = "" if self.threads is None else f", {counted(self.threads, 'thread')}"
        return f"{self.host} ({self.device}{threads})"


def machines_of(trials: pd.DataFrame) -> list[Machine]:
    """Return the machine of every row of a record's trials."""
    columns = (trials[name].tolist() for name in MACHINE)
    return [
        Machine(str(host), str(device), None if pd.isna(threads) else int(threads))
        for host, device, threads in zip(*columns, strict=True)
    ]


def usual_machine(machines: Iterable[Machine]) -> Machine | None:
    """Return the machine that stands there most often, of several the first by name; none for nothing."""
    counts = Counter(machines)
    return min(counts, key=lambda one: (-counts[one], str(one)), default=None)

"""What analysis asks of a run's record; `harness.store.read.RunRecord` is one."""

from __future__ import annotations

from typing import Protocol

import pandas as pd

from harness.plan import Plan


class Record(Protocol):
    """A run as its store tells it, with one attempt for each trial.

    Columns are those of `harness.store.schema`; `metrics` and `costs` also name
    the `trial_id` and the `attempt` that a row belongs to.
    """

    @property
    def plan(self) -> Plan:
        """What the run was asked to do."""

    @property
    def trials(self) -> pd.DataFrame:
        """One row per planned trial that was tried."""

    @property
    def metrics(self) -> pd.DataFrame:
        """One row per trial, epoch, split, metric and label."""

    @property
    def costs(self) -> pd.DataFrame:
        """One row per trial, epoch and name."""

    def images(self) -> pd.DataFrame:
        """Return one row per trial and validation image; see `harness.store.read.RunRecord.images`."""

"""Failure modes: where the trained models of a variant fail, read from the table of validation images."""

from harness.analysis.failure_modes.confusion import ConfusedPair, Confusion
from harness.analysis.failure_modes.find import FailureModes, failure_modes, failure_modes_of
from harness.analysis.failure_modes.frequency import Frequency
from harness.analysis.failure_modes.gaps import Gap

__all__ = [
    "ConfusedPair",
    "Confusion",
    "FailureModes",
    "Frequency",
    "Gap",
    "failure_modes",
    "failure_modes_of",
]

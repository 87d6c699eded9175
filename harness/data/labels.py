"""Names of the labels of a data set: fixed ones, or those that its settings lead to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.config import DataConfig

LabelNames = Mapping[str, Sequence[str]]


def label_names(data_set: Any, config: DataConfig) -> LabelNames:
    """Return the names of the values of every kind of label, in the order of their numbers; needs no data.

    Args:
        data_set: the class, or one of it. Its `label_names` is a mapping, or a static method that
            takes the settings.
        config: its settings.
    """
    names = data_set.label_names
    found: LabelNames = names(config) if callable(names) else names
    return found

"""What one validation found of every single image: the columns of the table of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.config import MetricInfo

Columns = dict[str, Tensor]
"""Name -> one entry an image, on the CPU: `index` and `place` (in the split) int64, `label/<kind>` and
`found/<kind>` int64 (index of a name, -1 for none), metrics and "loss" float64, NaN where not defined."""
NAMED = ("label/", "found/")
PLACE = "place"


def columns_of(
    places: Sequence[int],
    index: Tensor,
    labels: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
) -> Columns:
    """Return the columns of the images at `places`; a batch may hold more images behind them."""
    columns = {PLACE: torch.tensor(places, dtype=torch.int64), "index": index}
    columns |= {f"label/{kind}": numbers for kind, numbers in labels.items()}
    columns |= {f"found/{kind}": numbers for kind, numbers in found.items()}
    columns |= {name: value.double() for name, value in values.items() if not name.startswith("loss/")}
    return {name: column[: len(places)].cpu() for name, column in columns.items()}


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the images of all parts, sorted by `index`."""
    order = torch.cat([part["index"] for part in parts]).argsort(stable=True)
    return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}


def worst_places(columns: Columns, info: MetricInfo, most: int) -> list[int]:
    """Return the places of at most `most` images, the worst in a metric first, ties by index.

    Images for which the metric is not defined are none of them.
    """
    value = columns[info.name]
    defined = ~value.isnan()
    order = info.improvement(1.0) * value[defined]
    return [int(place) for place in columns[PLACE][defined][order.argsort(stable=True)][:most]]


def written_out(columns: Columns, names: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    """Return the columns as the store keeps them: names for their indices, none for -1 and for NaN.

    Args:
        columns: as from `joined`.
        names: kind -> names, `Task.label_names`.
    """
    return {
        name: _named(column, names[name.partition("/")[2]]) if name.startswith(NAMED) else _plain(column)
        for name, column in columns.items()
        if name != PLACE
    }


def _named(column: Tensor, names: Sequence[str]) -> list[str | None]:
    return [None if number < 0 else names[number] for number in column.tolist()]


def _plain(column: Tensor) -> list[Any]:
    return [None if number != number else number for number in column.tolist()]

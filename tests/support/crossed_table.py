"""Plans and tables of crossed factors, made by hand: what a variant is called says its levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from harness.analysis.crossing import Crossing, find_crossings
from harness.analysis.values import Replicate, ReplicateTable
from harness.plan import Plan, Variant
from tests.unit.analysis.hand_record import DELTA_E, build

Levels = Mapping[str, Sequence[str]]
Cell = tuple[str, ...]


def plan_of(
    factors: Levels, cells: Sequence[Cell] | None = None, *, seeds: int = 5, folds: int | None = None
) -> Plan:
    """Return a plan with one variant for each cell, called after its levels; all combinations by default."""
    chosen = list(product(*factors.values())) if cells is None else list(cells)
    names = [name_of(cell) for cell in chosen]
    finals = {DELTA_E.name: {name: [0.0] * (seeds * (folds or 1)) for name in names}}
    plan = build(finals, chain=False, folds=folds).plan
    variants = tuple(
        Variant(name=name, title=name, levels=dict(zip(factors, cell, strict=True)))
        for name, cell in zip(names, chosen, strict=True)
    )
    return plan.model_copy(update={"variants": variants})


def crossing_of(factors: Levels, cells: Sequence[Cell] | None = None) -> Crossing:
    """Return the one factorial of such a plan."""
    (crossing,) = find_crossings(plan_of(factors, cells))
    return crossing


def table_of(variants: Sequence[str], values: ArrayLike, folds: int | None = None) -> ReplicateTable:
    """Return values, shape (variants, seeds), or with folds (variants, folds) of one seed, as a table."""
    filled = np.asarray(values, dtype=np.float64)
    count = range(filled.shape[1])
    replicates = [Replicate(seed) if folds is None else Replicate(0, seed) for seed in count]
    trials = np.array([[f"{name}-{one}" for one in count] for name in variants], dtype=object)
    return ReplicateTable(tuple(variants), tuple(replicates), filled, trials, folds)


def name_of(cell: Cell) -> str:
    """Return what the variant of a cell is called."""
    return ",".join(cell)

"""Ablation studies and benchmarks for vision: plan, run, keep and judge.

The functions that the commands call are here too: `run`, `report` and `verdicts`, `compare`, `history`,
`set_baseline`, `gate`, `export`, `predict` (and `Predictor`, for many pictures), and `open_store`,
`load_suite`, `build_plan`. Each is imported when first used, so that `import harness` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import report, run
    from harness.evidence import (
        accept_change,
        add_to_baseline,
        compare,
        gate,
        history,
        set_baseline,
        verdicts,
    )
    from harness.package.export import export
    from harness.package.predict import Predictor, predict
    from harness.planning.build import build_plan
    from harness.store.read import open_store
    from harness.suite import load_suite

__version__ = "0.1.0"
__all__ = [
    "Predictor",
    "__version__",
    "accept_change",
    "add_to_baseline",
    "build_plan",
    "compare",
    "export",
    "gate",
    "history",
    "load_suite",
    "open_store",
    "predict",
    "report",
    "run",
    "set_baseline",
    "verdicts",
]

_HOMES = {
    "Predictor": "harness.package.predict",
    "accept_change": "harness.evidence",
    "add_to_baseline": "harness.evidence",
    "build_plan": "harness.planning.build",
    "compare": "harness.evidence",
    "export": "harness.package.export",
    "gate": "harness.evidence",
    "history": "harness.evidence",
    "load_suite": "harness.suite",
    "open_store": "harness.store.read",
    "predict": "harness.package.predict",
    "report": "harness.api",
    "run": "harness.api",
    "set_baseline": "harness.evidence",
    "verdicts": "harness.evidence",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)

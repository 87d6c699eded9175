"""The trackers that a suite asks for: known, well configured, and installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from harness.errors import HarnessError
from harness.grammar import Suite
from harness.registry import registry
from harness.validation import Mistake, Mistakes, check


def tracker_configs(suite: Suite) -> tuple[dict[str, dict[str, Any]], list[Mistake]]:
    """Return the Config of every tracker of a suite as JSON, by name, and all that is wrong with them."""
    found: dict[str, dict[str, Any]] = {}
    mistakes: list[Mistake] = []
    for name, options in suite.trackers.items():
        place = ("trackers", name)
        try:
            tracker = registry.load("tracker", name)
            config = check(tracker.Config, {**options, "name": name}, place)
        except HarnessError as error:
            mistakes.append(Mistake(place, str(error), of_key=True))
        except Mistakes as wrong:
            mistakes += wrong.mistakes
        else:
            if lacking := not_installed(tracker.needs):
                mistakes.append(Mistake(place, missing(lacking), of_key=True))
            found[name] = config.model_dump(mode="json")
    return found, mistakes


def not_installed(packages: Sequence[str]) -> list[str]:
    """Return those of the packages that cannot be imported; a folder of that name is none."""
    found = {name: importlib.util.find_spec(name.replace("-", "_")) for name in packages}
    return [name for name, spec in found.items() if spec is None or spec.origin is None]


def missing(packages: Sequence[str]) -> str:
    """Return what to do about packages that are not installed."""
    return f"{' and '.join(packages)} not installed; pip install {' '.join(packages)}"

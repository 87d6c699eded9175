"""Suites as plain values, and YAML for them in any of its spellings."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

AXES: dict[str, list[Any]] = {
    "train.epochs": [3, 4, 5, 6],
    "train.clip_norm": [1.0, 0.5, 2.5, 1e-3],
    "model.layers": [1, 2, 3, 4],
    "model.embedding": [8, 16, 24, 40],
    "optimizer.lr": [2e-3, 1e-3, 1e-4, 2.5e-4],
    "data.seed": [0, 1, 2, 3],
    "data.overlap": [0.25, 0.5, 0.75, 1e-2],
}
"""Path -> value in the base, then others: all may be combined."""
LOSSES = ("mse", "l1", "ssim", "lab_l1")


def base(losses: list[str] | None = None) -> dict[str, Any]:
    """Return a configuration that is sound, with the first value of every axis."""
    found: dict[str, Any] = {
        "data": {"name": "polygons", "size": 32, "train_size": 64, "validation_size": 24},
        "model": {"name": "conditional_unet", "widths": [8, 16]},
        "loss": dict.fromkeys(losses or ["mse"], 0.5),
        "optimizer": {"name": "adamw"},
        "train": {"batch_size": 16, "augment": ["hflip", "vflip"]},
    }
    for path, values in AXES.items():
        section, key = path.split(".")
        found[section][key] = values[0]
    return found


def suite(vary: list[Any], losses: list[str] | None = None, **settings: Any) -> dict[str, Any]:
    """Return a suite that varies `vary`."""
    return {
        "suite": "made",
        "task": "colorization",
        "primary_metric": "delta_e",
        "base": base(losses),
        "vary": vary,
        **settings,
    }


def axes(least: int = 1, most: int = 4) -> st.SearchStrategy[list[str]]:
    """Draw different paths."""
    return st.lists(st.sampled_from(sorted(AXES)), min_size=least, max_size=most, unique=True)


@st.composite
def entries(draw: st.DrawFn, index: int, paths: list[str]) -> dict[str, Any]:
    """Draw a factor or a group that varies `paths` and nothing else."""
    design = draw(
        st.sampled_from(
            ("one_at_a_time", "cumulative", "leave_one_out", "factorial", "list", "group", "paired", "beside")
        )
    )
    if design in ("group", "paired", "beside"):
        count = draw(st.integers(1, 3))
        factors = [
            {"factor": f"f{index}_{i}", "path": path, "values": AXES[path][:count] or []}
            for i, path in enumerate(paths)
        ]
        name = {"group": "factorial", "beside": "side_by_side"}.get(design, design)
        return {"group": f"g{index}", "design": name, "factors": factors}
    levels: dict[str, Any] = {f"l{index}_{i}": {"set": {p: AXES[p][1]}} for i, p in enumerate(paths)}
    if draw(st.booleans()) and design in ("one_at_a_time", "cumulative"):
        levels = {f"control{index}": {}, **levels}
    return {"factor": f"f{index}", "design": design, "levels": levels}


@st.composite
def suites(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a suite with entries of all designs, each on paths of its own."""
    paths = draw(axes(1, 5))
    vary = []
    while paths:
        count = draw(st.integers(1, min(3, len(paths))))
        mine, paths = paths[:count], paths[count:]
        vary.append(draw(entries(len(vary), mine)))
    settings: dict[str, Any] = {"seeds": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        settings["folds"] = draw(st.integers(2, 3))
    if draw(st.booleans()):
        settings["design"] = draw(st.sampled_from(("factorial", "side_by_side")))
    return suite(vary, **settings)


ORDERED = ("levels", "variants", "profiles")
"""Mappings whose order means something."""


class Writer:
    """Writes plain values as YAML, each time another way."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.anchors: dict[str, str] = {}

    def text(self, value: dict[str, Any]) -> str:
        """Return the YAML of a mapping."""
        return "\n".join(self._block(value, "", ordered=False)) + "\n"

    def _block(self, value: Any, indent: str, *, ordered: bool) -> list[str]:
        lines: list[str] = []
        if isinstance(value, dict):
            for key, child in self._items(value, ordered=ordered):
                lines += self._put(f"{indent}{self._scalar(key)}:", child, indent, ordered=key in ORDERED)
        else:
            for child in value:
                lines += self._put(f"{indent}-", child, indent, ordered=False)
        return lines

    def _put(self, start: str, child: Any, indent: str, *, ordered: bool) -> list[str]:
        """Return `child` behind `start`: on its line, or below it."""
        noise = self.random.choice(["", "", "", "  # why: not", "\n", f"\n{indent}# {{a: [}}"])
        alias = self._alias(child)
        if alias is None and isinstance(child, (dict, list)) and child and self.random.random() < 0.6:
            anchor = self._anchor(child)
            deeper = indent + self.random.choice(["  ", " ", "    "])
            return [f"{start}{anchor and ' ' + anchor}{noise}", *self._block(child, deeper, ordered=ordered)]
        return [f"{start} {alias or self._flow(child, ordered=ordered)}{noise}"]

    def _flow(self, value: Any, *, ordered: bool) -> str:
        if alias := self._alias(value):
            return alias + " "
        if not isinstance(value, (dict, list)):
            return self._scalar(value)
        space = self.random.choice(["", " "])
        if isinstance(value, list):
            inner = [self._flow(item, ordered=False) for item in value]
            text = f"[{space}{', '.join(inner)}{space}]"
        else:
            inner = [
                f"{self._scalar(key)}: {self._flow(item, ordered=key in ORDERED)}"
                for key, item in self._items(value, ordered=ordered)
            ]
            text = f"{{{space}{', '.join(inner)}{space}}}"
        anchor = self._anchor(value)
        return f"{anchor} {text}" if anchor else text

    def _items(self, value: dict[str, Any], *, ordered: bool) -> list[tuple[str, Any]]:
        items = list(value.items())
        if not ordered:
            self.random.shuffle(items)
        return items

    def _alias(self, value: Any) -> str | None:
        anchor = self.anchors.get(json.dumps(value)) if isinstance(value, (dict, list)) else None
        return f"*{anchor}" if anchor and self.random.random() < 0.8 else None

    def _anchor(self, value: Any) -> str:
        """Return an anchor for a container that comes for the first time, now and then."""
        key = json.dumps(value)
        if key in self.anchors or self.random.random() < 0.5:
            return ""
        self.anchors[key] = f"a{len(self.anchors)}"
        return f"&{self.anchors[key]}"

    def _scalar(self, value: Any) -> str:
        pick = self.random.choice
        if isinstance(value, bool) or value is None:
            return json.dumps(value)
        if isinstance(value, int):
            return pick([str(value), hex(value), f"0o{value:o}", f"+{value}"])
        if isinstance(value, float):
            return pick([repr(value), f"{value:.6e}", f"{value:.10f}", f"{value:.6E}"])
        return pick([value, f"'{value}'", json.dumps(value)])


def written(value: dict[str, Any], random: Random) -> str:
    """Return a suite as YAML in random spelling: styles, order of keys, quotes, numbers, comments, aliases."""
    return Writer(random).text(value)

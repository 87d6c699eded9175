"""Changes of suites at random: of bytes, of lines, and of what they say."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from corpus import BESIDE, ODD_FILES, ODD_MODULES, attacks, suites
from ruamel.yaml import YAML, YAMLError

from harness import catalog

Place = tuple[Any, Any]
"""A container and the key or index within it."""


@dataclass
class Case:
    """A suite with the files beside it, and what it is planned with."""

    suite: bytes
    beside: dict[str, bytes] = field(default_factory=dict)
    """Files that replace those of `corpus.BESIDE`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of `plan_suite`."""


ODD_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 1000, 10**9, -(10**12), 2**63, 10**40, 0.5, 1e-3, 1e308, 5e-324, -0.0,
    "", " ", "x", "null", "1", "1e3", "all", "base", "none", "on", "no_mse", "*", "**", ".", "..", "a.b", "'", "a'b",
    "loss.*", "$", "${depths}", "${x", "\u202e\u2066", "e\u0301\u0327" * 5, "\U0001f4a9", "\u0000", "\x1b[31m", "\ud800",
    "a" * 300, "../../etc/passwd", [], {}, [[]], [{}], {"": 1}, {"name": None}, {"name": "adamw"}, {"name": ["x"]},
    ["a", "a"], [1, "1", 1.0, True], {"weight": -1}, {"weight": "1"}, {"set": {"loss": 1}}, {"drop": ["loss"]},
    {"factor": "f", "levels": {"a": {}}}, {"group": "g", "factors": []}, {"use": "skips"}, {"use": "width", "with": 1},
    list(range(50)), {str(i): i for i in range(50)}, [0.1] * 20,
]  # fmt: skip

WORDS = ["base", "vary", "data", "model", "loss", "optimizer", "schedule", "train", "metrics", "perceptual_weights", "name", "factor", "group", "levels", "design", "each", "except", "path", "values", "scale", "when", "from", "set", "drop", "add", "swap", "requires", "resolution", "use", "with", "factors", "variants", "exclude", "match", "why", "reference", "seeds", "folds", "margins", "claims", "profiles", "resources", "budget", "report", "extends", "include", "options", "one_at_a_time", "leave_one_out", "cumulative", "factorial", "list", "paired", "side_by_side", "mse", "l1", "ssim", "lab_l1", "lpips", "adamw", "sgd", "conditional_unet", "backbone_head", "polygons", "hflip", "delta_e", "psnr", "depth", "norm", "widths", "skips", "suite", "task", "direction", "of", "versus", "at_least", "at_most", "reported", "tolerance", "ranked", "best", "among", "largest_gain", "interaction", "together", "neither", "curve", "by_epoch", "plateaued", "cost", "train_seconds", "parameters"]  # fmt: skip


class Mutator:
    """Makes case after case from one generator of random numbers."""

    def __init__(self, random: Random, canary: str) -> None:
        self.random = random
        self.canary = canary
        self.texts = suites()
        self.waiting: list[int] = []
        self.trees = [YAML(typ="safe", pure=True).load(text) for text in self.texts]
        self.ablations = [
            catalog.find("ablations", name).read_text("utf-8") for name in catalog.names("ablations")
        ]

    def cases(self, count: int) -> Iterator[Case]:
        """Yield cases: mostly of what is said, then of how it is written, then attacks."""
        kinds = (self.of_meaning, self.of_text, self.of_bytes, self.of_files, self.attack)
        for _ in range(count):
            kind = self.random.choices(kinds, weights=(62, 16, 6, 8, 8))[0]
            case = kind()
            if self.random.random() < 0.3:
                case.options = self.options()
            yield case

    # ---- what is said

    def of_meaning(self) -> Case:
        tree = self.tree()
        for _ in range(self.random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
            self.change(tree)
        return Case(self.written(tree))

    def tree(self) -> Any:
        return copy.deepcopy(self.random.choice(self.trees))

    def change(self, tree: Any) -> None:
        places = list(_places(tree))
        if not places:
            return
        changes: list[Callable[[list[Place]], None]] = [
            self.nudge, self.nudge, self.nudge, self.shuffle,
            self.replace, self.replace, self.remove, self.rename, self.exchange, self.duplicate, self.move,
            self.operate, self.operate, self.exchange_names, self.top_level, self.combine, self.adopt,
        ]  # fmt: skip
        self.random.choice(changes)(places)

    def nudge(self, places: list[Place]) -> None:
        """Change a number a little, or turn a switch: the suite often stays right."""
        numbers = [(c, k) for c, k in places if isinstance(c[k], (int, float))]
        if numbers:
            container, key = self.random.choice(numbers)
            value = container[key]
            container[key] = (
                not value if isinstance(value, bool) else value * self.random.choice((1, 2, 3, 0.5))
            )
            if isinstance(value, int) and not isinstance(value, bool):
                container[key] = int(container[key])

    def shuffle(self, places: list[Place]) -> None:
        """Give the keys of a mapping, or the elements of a list, another order."""
        container, _ = self.random.choice(places)
        if isinstance(container, list):
            self.random.shuffle(container)
            return
        items = self.random.sample(list(container.items()), len(container))
        container.clear()
        container.update(items)

    def replace(self, places: list[Place]) -> None:
        container, key = self.random.choice(places)
        container[key] = self.value()

    def value(self) -> Any:
        roll = self.random.random()
        if roll < 0.6:
            return copy.deepcopy(self.random.choice(ODD_VALUES))
        if roll < 0.75:
            return self.random.choice(WORDS)
        if roll < 0.8:
            return self.random.choice([*ODD_FILES, *ODD_MODULES])
        if roll < 0.85:
            return _deep(self.random.choice((3, 30, 62, 70)), self.random.random() < 0.5)
        if roll < 0.9:
            return self.path()
        places = list(_places(self.random.choice(self.trees)))
        container, key = self.random.choice(places)
        return copy.deepcopy(container[key])

    def path(self) -> str:
        """Return a dotted path: of a suite, perhaps with a part more, less or other."""
        parts = list(self.random.choice(list(_paths(self.random.choice(self.trees)))))
        for _ in range(self.random.choice((0, 0, 1, 2))):
            parts.insert(
                self.random.randint(0, len(parts)), self.random.choice([*WORDS, "0", "-1", "99", "*", ""])
            )
        if self.random.random() < 0.5 and parts[0] == "base":
            del parts[0]
        if self.random.random() < 0.1:
            del parts[self.random.randrange(len(parts) + 1) :]
        return ".".join(parts) if self.random.random() < 0.9 else '."'.join(parts)

    def remove(self, places: list[Place]) -> None:
        container, key = self.random.choice(places)
        del container[key]

    def rename(self, places: list[Place]) -> None:
        mappings = [place for place in places if isinstance(place[0], dict)]
        container, key = self.random.choice(mappings)
        other = self.random.choice([*WORDS, key + "x", key[:-1], key.upper(), *map(str, container)])
        items = [(other if name == key else name, value) for name, value in container.items()]
        container.clear()
        container.update(items)

    def exchange(self, places: list[Place]) -> None:
        (one, first), (two, second) = self.random.choice(places), self.random.choice(places)
        one[first], two[second] = copy.deepcopy(two[second]), copy.deepcopy(one[first])

    def move(self, places: list[Place]) -> None:
        (one, first), (two, second) = self.random.choice(places), self.random.choice(places)
        value = one[first]
        del one[first]
        if isinstance(two, list):
            two.insert(second, copy.deepcopy(value))
        else:
            two[str(first)] = copy.deepcopy(value)

    def duplicate(self, places: list[Place]) -> None:
        container, key = self.random.choice(places)
        value = copy.deepcopy(container[key])
        if isinstance(container, list):
            for _ in range(self.random.choice((1, 1, 2, 20))):
                container.insert(self.random.randint(0, len(container)), copy.deepcopy(value))
        else:
            container[f"{key}_{self.random.randint(0, 99)}"] = value

    def operate(self, places: list[Place]) -> None:
        """Change an operator of some level, or a path that something goes by."""
        found = [
            (container, key)
            for container, key in places
            if key in ("set", "add", "swap", "scale", "drop", "when", "requires", "path", "each", "except")
        ]
        levels = [container[key] for container, key in places if key == "levels" and container[key]]
        levels = [level for level in levels if isinstance(level, dict)]
        if levels and self.random.random() < 0.5:
            level = self.random.choice(list(self.random.choice(levels).values()))
            if isinstance(level, dict):
                operator = self.random.choice(("set", "add", "swap", "scale", "when"))
                level.setdefault(operator, {})
                if isinstance(level[operator], dict):
                    level[operator][self.path()] = self.value()
        elif found:
            container, key = self.random.choice(found)
            paths = {self.path(): self.value() for _ in range(self.random.choice((1, 2)))}
            one = next(iter(paths))
            container[key] = {"drop": list(paths), "requires": list(paths), "path": one, "each": one}.get(
                key, paths
            )

    def exchange_names(self, places: list[Place]) -> None:
        """Give one factor, group, level or claim the name of another."""
        names = [
            place
            for place in places
            if place[1] in ("factor", "group", "id", "of", "versus", "from", "metric")
        ]
        values = [container[key] for container, key in names] + self.level_names(places)
        if names and values:
            container, key = self.random.choice(names)
            container[key] = self.random.choice(values)

    @staticmethod
    def level_names(places: list[Place]) -> list[str]:
        return [name for c, k in places if k == "levels" and isinstance(c[k], dict) for name in c[k]]

    def top_level(self, places: list[Place]) -> None:
        """Put a setting at the top: reference, exclude, design, folds and the like."""
        tree = places[0][0]
        if not isinstance(tree, dict):
            return
        names = [*self.level_names(places), "base", "all", "no_mse", "x"]
        factors = [str(c[k]) for c, k in places if k in ("factor", "group")] or ["f"]
        pick = self.random.choice
        tree.update(
            pick(
                [
                    {"reference": pick(names)},
                    {"exclude": [{"match": {pick(factors): pick(names)}, "why": "x"}]},
                    {"exclude": [{"match": {pick(factors): [pick(names), pick(names)]}, "why": "x"}] * 2},
                    {"design": pick(["factorial", "side_by_side"])},
                    {"folds": pick([2, 3, 100, 10**9])},
                    {"seeds": pick([1, 1000, [5, 5], [2**62], 10**9])},
                    {"extends": pick(["parent.yaml", "colorization_losses", *ODD_FILES])},
                    {"include": pick(["part.yaml", ["part.yaml", "part.yaml"], *ODD_FILES])},
                    {"budget": {pick(["hours", "trials", "money", "gpu_hours"]): self.value()}},
                    {"profiles": {"smoke": {self.path(): self.value() for _ in range(3)}}},
                ]
            )
        )

    def combine(self, places: list[Place]) -> None:
        """Put what stands under `vary` into a group, or give an entry another design."""
        tree = places[0][0]
        vary = tree.get("vary") if isinstance(tree, dict) else None
        if not isinstance(vary, list) or not vary:
            return
        design = self.random.choice(
            ("factorial", "paired", "list", "side_by_side", "cumulative", "leave_one_out", "one_at_a_time")
        )
        entry = self.random.choice(vary)
        if self.random.random() < 0.5 and isinstance(entry, dict):
            entry["design"] = design
            if self.random.random() < 0.3:
                entry["resolution"] = self.random.choice((3, 4, 5, 7, 8))
            return
        size = self.random.randint(1, len(vary))
        group: dict[str, Any] = {"group": "made", "design": design, "factors": vary[:size]}
        if design == "list":
            group["variants"] = {"one": {"skips": "no_skips"}, "two": {}}
        vary[:size] = [group]

    def adopt(self, places: list[Place]) -> None:
        """Take entries from another suite."""
        tree, other = places[0][0], self.random.choice(self.trees)
        if isinstance(tree, dict) and isinstance(tree.get("vary"), list):
            tree["vary"] += copy.deepcopy(
                self.random.sample(other["vary"], self.random.randint(1, len(other["vary"])))
            )

    def written(self, tree: Any) -> bytes:
        """Return a tree as JSON, which is YAML, with keys that stand twice now and then."""
        text = json.dumps(tree, indent=self.random.choice((None, 1)), ensure_ascii=self.random.random() < 0.3)
        return text.encode("utf-8", "surrogatepass")

    # ---- how it is written

    def of_text(self) -> Case:
        lines = self.random.choice(self.texts).splitlines()
        for _ in range(self.random.choice((1, 1, 2, 4))):
            self.random.choice((self.change_line, self.change_word, self.move_line))(lines)
        if self.random.random() < 0.15:
            other = self.random.choice(self.texts).splitlines()
            lines = (
                lines[: self.random.randrange(len(lines) + 1)] + other[self.random.randrange(len(other)) :]
            )
        return Case("\n".join(lines).encode("utf-8", "surrogatepass"))

    def change_line(self, lines: list[str]) -> None:
        index = self.random.randrange(len(lines))
        line = lines[index]
        lines[index] = self.random.choice(
            [
                "",
                line[::-1],
                f" {line}",
                line.strip(),
                f"\t{line}",
                f"{line}\n{line}",
                f"{line} &a",
                f"{line}:",
                f"# {line}",
            ]
        )

    def change_word(self, lines: list[str]) -> None:
        index = self.random.randrange(len(lines))
        words = lines[index].split(" ")
        odd = [
            "*data",
            "&data",
            "!!int",
            "!!python/name:os.system",
            "!!binary",
            "<<:",
            "[",
            "}",
            "'",
            '"',
            "|",
            ">-",
            "? ",
        ]
        odd += [
            "0x1G",
            "1e400",
            "-.inf",
            ".NaN",
            "~",
            "1_0",
            "2020-01-01",
            "0b1",
            "{{}}",
            "{a: b}",
            "\u2028",
            "\ufeff",
            "\x07",
        ]
        words[self.random.randrange(len(words))] = self.random.choice([*odd, *WORDS])
        lines[index] = " ".join(words)

    def move_line(self, lines: list[str]) -> None:
        line = lines.pop(self.random.randrange(len(lines)))
        if self.random.random() < 0.7 or not lines:
            lines.insert(self.random.randint(0, len(lines)), line)

    def of_bytes(self) -> Case:
        data = bytearray(self.random.choice(self.texts).encode())
        kind = self.random.randrange(3)
        if kind == 0:
            del data[self.random.randrange(len(data)) :]
        for _ in range(self.random.choice((1, 2, 10, 100)) if kind else 0):
            at = self.random.randrange(len(data))
            data[at] = self.random.randrange(256) if kind == 1 else data[self.random.randrange(len(data))]
        return Case(bytes(data))

    def of_files(self) -> Case:
        """Return a sound suite beside files that are not."""
        name = self.random.choice([name for name in BESIDE if name.endswith(".yaml")])
        text = self.random.choice([*BESIDE.values(), *self.ablations, *self.texts, "", "[]", "x", "{"])
        try:
            tree = YAML(typ="safe", pure=True).load(text)
        except YAMLError:
            tree = None
        data = text.encode()
        if isinstance(tree, dict):
            for _ in range(self.random.choice((0, 1, 3))):
                self.change(tree)
            data = self.written(tree)
        suite = self.texts[1].encode() if self.random.random() < 0.7 else self.of_meaning().suite
        return Case(suite, {name: data})

    def attack(self) -> Case:
        if not self.waiting:  # each kind comes once before any comes again
            kinds = range(len(attacks(self.random, self.canary)))
            self.waiting = self.random.sample(kinds, len(kinds))
        return Case(attacks(self.random, self.canary)[self.waiting.pop()])

    # ---- what it is planned with

    def options(self) -> dict[str, Any]:
        pick = self.random.choice
        kinds: dict[str, Any] = {
            "overrides": [self.override() for _ in range(pick((1, 1, 2, 5)))],
            "profile": pick(["smoke", "odd", "full", "laptop", "", "nothing", "a.b", "\u202e", "x" * 200]),
            "seeds": pick([1, 5, 0, -1, 10**9, 1000]),
            "only": [
                pick(["skips=no_skips", "skips=", "=", "norm=norm_batch", "x", "terms=no_l1", "\u202e=\x1b"])
            ],
            "skip_broken": True,
        }
        return {key: kinds[key] for key in self.random.sample(sorted(kinds), pick((1, 1, 2)))}

    def override(self) -> str:
        texts = [
            self.path(),
            "vary",
            "vary.0",
            "vary.0.levels",
            "base",
            "base.loss",
            "suite",
            "extends",
            "use",
            "seeds",
        ]
        texts += [
            "base.train.epochs",
            "vary.0.use",
            "profiles.smoke",
            "vary.99",
            "vary.00",
            "vary.\u0663",
            "",
            "\ud800",
        ]
        values = [
            "",
            "1",
            "{",
            "[]",
            "{}",
            "null",
            "!!python/name:os.system",
            "&a [*a]",
            "\ud800",
            "\x1b[0m",
            "1e400",
        ]
        values += [
            "[" * 100,
            "'\u202e'",
            "{use: skips}",
            "[{use: skips}]",
            "a: b: c",
            "- - - 1",
            "\u0085",
            "9" * 5000,
        ]
        return (
            self.random.choice(texts)
            + self.random.choice(("=", "=", "=", "=", "", "=="))
            + self.random.choice(values)
        )


def _deep(depth: int, listed: bool) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if listed else {"a": value}
    return value


def _places(tree: Any) -> Iterator[Place]:
    """Yield every place of a tree; the first one belongs to its root."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(children):
        yield tree, key
        yield from _places(value)


def _paths(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in children:
        yield (*path, str(key))
        yield from _paths(value, (*path, str(key)))

"""From the factors of a suite to its variants: which configurations there are and what they are called."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harness.ablate import ABSENT, Configuration, PatchError, apply_patch, differing, written
from harness.config import TrialSpec
from harness.document import Path_, split_path
from harness.errors import did_you_mean
from harness.grammar import Factor, Group, Level, Suite
from harness.plan import Variant
from harness.planning import designs
from harness.planning.designs import Change, DesignError, Point
from harness.planning.levels import levels_of_factor
from harness.planning.naming import Made, VariantNames
from harness.planning.selection import fits, levels_of, unknown_levels
from harness.validation import Mistake, Mistakes

MOST_CHANGES = 100_000  # that the levels of all variants make
Specify = Callable[[Configuration], TrialSpec]


@dataclass(frozen=True)
class Candidate:
    """A variant before its configuration is known to be right."""

    variant: Variant
    configuration: Configuration
    changes: tuple[Change, ...]
    """What made the configuration, on top of the suite's base, in the order applied."""


@dataclass(frozen=True)
class Expansion:
    """What the factors of a suite lead to."""

    candidates: list[Candidate]
    """The reference first, then in the order of the suite."""
    mistakes: list[Mistake]
    notes: list[str]
    """What was left out and why, and how effects are aliased."""
    controls: dict[str, str]
    """Name of a level that is the base, one of every factor -> name of the base, after one of them."""


def expand(suite: Suite, specify: Specify) -> Expansion:
    """Return the reference and the variants of every factor, and what is wrong with them.

    `specify` returns the specification of a configuration, for any one seed, or raises `Mistakes`.
    """
    return _Expander(suite, specify).expand()


class _Expander:
    def __init__(self, suite: Suite, specify: Specify) -> None:
        self.suite = suite
        self.specify = specify
        self.mistakes: list[Mistake] = []
        self.notes: list[str] = []
        self.controls: dict[str, str] = {}
        self.levels: dict[tuple[str, str], Level] = {}
        """What people said about (factor, level)."""
        self.in_base: list[Change] = []
        """Changes of leave_one_out factors: they are part of the base."""
        self.skipped: dict[tuple[str, str], list[Change]] = {}
        """(factor, level) -> its change, once for every point left out because of its condition."""

    def expand(self) -> Expansion:
        entries = [self._points(entry, ("vary", index)) for index, entry in enumerate(self.suite.vary)]
        if self.suite.design == "factorial" and all(entries) and len(entries) > 1:
            entries = [self._combined(entries, ("design",), "factorial")]
        entries = self._few_enough(entries)
        found = (self._make(point, index) for index, points in enumerate(entries) for point in points)
        made = list({(one.entry, one.point.labels): one for one in found if one is not None}.values())
        self._tell_of_conditions(made)
        return Expansion(self._candidates(made), self.mistakes, self.notes, self.controls)

    # ---- points

    def _few_enough(self, entries: list[list[Point]]) -> list[list[Point]]:
        """Return the points of all entries; none, and a mistake noted, where nobody could wait for them."""
        points = [point for found in entries for point in found]
        changes = sum(self._patches_of(point) for point in points)
        if len(points) <= designs.MOST_POINTS and changes <= MOST_CHANGES:
            return entries
        most = f"{designs.MOST_POINTS} variants that make {MOST_CHANGES} changes"
        told = f"expected at most {most}, these are {len(points)} that make {changes}"
        self.mistakes.append(Mistake(("vary",), told))
        return []

    def _patches_of(self, point: Point) -> int:
        """Return how often patches are applied for a point; each condition looks at the others applied."""
        changes = len(self.in_base) + len(point.changes)
        return changes * (1 + sum(bool(change.when) for change in point.changes))

    def _points(self, entry: Factor | Group, place: Path_) -> list[Point]:
        try:
            return self._of_group(entry, place) if isinstance(entry, Group) else self._of_factor(entry, place)
        except DesignError as error:
            self.mistakes.append(Mistake((*place, "design"), str(error)))
            return []

    def _of_factor(self, factor: Factor, place: Path_) -> list[Point]:
        found, mistakes = levels_of_factor(factor, self.suite.base, place)
        self.mistakes += mistakes
        self.levels.update({(one.change.factor, one.change.level): one.level for one in found})
        changes = [one.change for one in found]
        if not changes:
            return []
        starts = {name: level.from_ for name, level in (factor.levels or {}).items() if level.from_}
        if factor.design == "cumulative":
            return designs.cumulative(changes)
        if factor.design == "leave_one_out" and factor.each is not None:
            return [designs.whole(factor.factor), *designs.one_at_a_time(changes, {})]
        if factor.design == "leave_one_out":
            self.in_base += changes
            return self._described_leave_one_out(changes)
        if factor.design == "factorial":
            points, note = designs.factorial(designs.on_and_off(changes), factor.resolution)
            self._note(factor.factor, note)
            return self._with_joined_titles(designs.joined_labels(points))
        return designs.one_at_a_time(changes, starts)

    def _with_joined_titles(self, points: list[Point]) -> list[Point]:
        """Note the titles of the parts that are on as that of the whole."""
        for point in points:
            titles = [
                self.levels[change.factor, change.level].title or change.level for change in point.changes
            ]
            self.levels.setdefault(point.labels[0], Level(title=" + ".join(titles) or None))
        return points

    def _described_leave_one_out(self, changes: list[Change]) -> list[Point]:
        for change in changes:
            level = self.levels[change.factor, change.level]
            title = f"without {level.title or change.level}"
            without = level.model_copy(update={"title": title, "reported": {}, "links": {}})
            self.levels[change.factor, f"{designs.WITHOUT}{change.level}"] = without
        return designs.leave_one_out(changes)

    def _of_group(self, group: Group, place: Path_) -> list[Point]:
        members = [
            self._points(entry, (*place, "factors", index)) for index, entry in enumerate(group.factors)
        ]
        if not all(members):
            return []
        if group.design == "side_by_side":
            return [point for member in members for point in member]
        if group.design == "paired":
            return designs.paired(members)
        if group.design == "list":
            return self._listed(group, members, place)
        return self._combined(members, place, group.group, group.resolution)

    def _combined(
        self, members: Sequence[Sequence[Point]], place: Path_, name: str, resolution: int | None = None
    ) -> list[Point]:
        try:
            points, note = designs.factorial(members, resolution)
        except DesignError as error:
            self.mistakes.append(Mistake(place, str(error)))
            return []
        self._note(name, note)
        return points

    def _listed(self, group: Group, members: Sequence[Sequence[Point]], place: Path_) -> list[Point]:
        known = {
            point.labels[0][0]: {p.labels[0][1]: p for p in member} for member in members for point in member
        }
        points = []
        for name, picks in (group.variants or {}).items():
            where = (*place, "variants", name)
            picked = []
            for factor, level in picks.items():
                if factor not in known:
                    message = f"no factor '{factor}' in the group{did_you_mean(factor, known)}"
                    self.mistakes.append(Mistake((*where, factor), message, of_key=True))
                elif level not in known[factor]:
                    message = f"no level '{level}'{did_you_mean(level, known[factor])}"
                    self.mistakes.append(Mistake((*where, factor), message))
                else:
                    picked.append(known[factor][level])
            points.append(designs.chosen(group.group, name, picked))
        return points

    def _note(self, name: str, note: str) -> None:
        if note:
            self.notes.append(f"{name}: {note}")

    # ---- configurations

    @cached_property
    def base(self) -> Configuration:
        """The suite's base with every level of its leave_one_out factors."""
        return self._apply(self.suite.base, self.in_base) or self.suite.base

    @cached_property
    def base_spec(self) -> TrialSpec | None:
        """The base as a specification; none where it is not sound."""
        return self._spec(self.base)

    def _spec(self, configuration: Configuration) -> TrialSpec | None:
        try:
            return self.specify(configuration)
        except Mistakes:  # told of with their places when the variants are specified
            return None

    def _apply(self, configuration: Configuration, changes: Iterable[Change]) -> Configuration | None:
        """Return the configuration with changes applied; none, and a mistake noted, where one fails."""
        for change in changes:
            try:
                configuration = apply_patch(configuration, change.patch)
            except PatchError as error:
                place = change.place_of(error.operator, error.path)
                mistake = Mistake(place, str(error))
                if mistake not in self.mistakes:
                    self.mistakes.append(mistake)
                return None
        return configuration

    def _make(self, point: Point, entry: int) -> Made | None:
        point = self._without_idle_levels(point)
        if not point.labels:
            return None
        changes = self._changes_of(point)
        configuration = self._apply(self.suite.base, changes) if changes else self.suite.base
        return None if configuration is None else Made(point, configuration, entry)

    def _without_idle_levels(self, point: Point) -> Point:
        """Return a point without the levels whose condition does not hold in it."""
        changes = self._changes_of(point)
        idle = {
            (change.factor, change.level): change
            for change in point.changes
            if change.when and not self._holds(change, [other for other in changes if other is not change])
        }
        if not idle:
            return point
        for key, change in idle.items():
            self.skipped.setdefault(key, []).append(change)
        return replace(
            point,
            labels=tuple(label for label in point.labels if label not in idle),
            levels=tuple(level for level in point.levels if level not in idle),
            changes=tuple(change for change in point.changes if (change.factor, change.level) not in idle),
            previous=None if any(label in idle for label in point.labels) else point.previous,
        )

    def _changes_of(self, point: Point) -> list[Change]:
        kept = [change for change in self.in_base if (change.factor, change.level) not in point.left_out]
        return [*kept, *point.changes]

    def _holds(self, change: Change, others: Sequence[Change]) -> bool:
        configuration = self._apply(self.suite.base, others)
        if configuration is None:
            return True  # told of elsewhere
        spec = self._spec(configuration)
        return all(
            _setting(configuration, spec, split_path(path))
            in (wanted if isinstance(wanted, list) else [wanted])
            for path, wanted in change.when.items()
        )

    def _tell_of_conditions(self, made: Sequence[Made]) -> None:
        kept = {(change.factor, change.level) for found in made for change in found.point.changes}
        told: set[tuple[str, str]] = set()
        for key, changes in self.skipped.items():
            condition = ", ".join(f"{path} = {_in_words(wanted)}" for path, wanted in changes[0].when.items())
            if key in kept:
                self.notes.append(f"{'='.join(key)} applies only with {condition}, and stands nowhere else")
            else:
                if (key[0], condition) not in told:  # once for a factor whose levels all ask for it
                    message = f"applies nowhere: it asks for {condition}"
                    self.mistakes.append(Mistake(changes[0].place, message))
                told.add((key[0], condition))

    # ---- variants

    def _is_control(self, configuration: Configuration) -> bool:
        """Tell whether a configuration is the base: a control level, empty or saying the same again."""
        if configuration == self.base:
            return True
        spec = self._spec(configuration)
        return spec is not None and self.base_spec is not None and _alike(spec, self.base_spec)

    def _candidates(self, made: Sequence[Made]) -> list[Candidate]:
        controls = self._controls(made)
        names = VariantNames(made, controls, self._control_labels(made))
        self.controls = names.controls
        reference = self._reference(made, controls, names)
        merged = {id(found) for found in controls}
        rest: list[Made | None] = [one for one in made if one is not reference and id(one) not in merged]
        if reference is not None and controls:
            rest.insert(0, None)  # the base is a variant like others where another one is the reference
        self._tell_of_idle_entries(made, controls)
        first = self._candidate(reference, names, None)
        return self._excluded([first, *(self._candidate(one, names, first) for one in rest)])

    def _controls(self, made: Sequence[Made]) -> list[Made]:
        """Return the first point of every entry that is the base."""
        controls: dict[int, Made] = {}
        for found in made:
            if found.entry not in controls and self._is_control(found.configuration):
                controls[found.entry] = found
        return list(controls.values())

    def _control_labels(self, made: Sequence[Made]) -> set[tuple[str, str]]:
        """Return the (factor, level) labels that on their own change nothing: names leave them out."""
        alone: dict[tuple[str, str], list[Change]] = {}
        left_out: set[tuple[str, str]] = set()
        for found in made:
            labelled = {factor for factor, _ in found.point.labels}
            for label in found.point.labels:
                if label not in alone and not any(factor == label[0] for factor, _ in found.point.left_out):
                    # The label of a list group stands for changes of factors that have none of their own.
                    others = labelled - {label[0]}
                    alone[label] = [c for c in found.point.changes if c.factor not in others]
            left_out |= {
                label for label in found.point.labels if any(f == label[0] for f, _ in found.point.left_out)
            }
        controls = set()
        for label, changes in alone.items():
            if label in left_out or any(change.when and not self._holds(change, []) for change in changes):
                continue
            configuration = self._apply(self.base, changes)
            if configuration is not None and self._is_control(configuration):
                controls.add(label)
        return controls

    def _reference(self, made: Sequence[Made], controls: Sequence[Made], names: VariantNames) -> Made | None:
        """Return the point that is the reference; none stands for the base itself."""
        asked = self.suite.reference
        if asked is not None:
            by_name = {names.of(found): found for found in made if found not in controls}
            if asked in by_name:
                return by_name[asked]
            if asked != names.base and asked not in names.controls and made:
                known = [names.base, *by_name]
                message = f"no variant '{asked}'{did_you_mean(asked, known)}"
                self.mistakes.append(Mistake(("reference",), message))
            return None
        if controls or not made or len({found.entry for found in made}) > 1 or not self._stands_alone:
            return None
        if self._is_crossed:
            self.notes.append(f"no variant is the base; all are compared with {names.of(made[0])}")
        return made[0]

    @property
    def _is_crossed(self) -> bool:
        entry = self.suite.vary[0]
        return len(self.suite.vary) > 1 or (isinstance(entry, Group) and entry.design != "list")

    def _tell_of_idle_entries(self, made: Sequence[Made], controls: Sequence[Made]) -> None:
        """Note the entries that lead to nothing but the base."""
        merged = {id(found) for found in controls}
        for found in controls:
            if all(id(one) in merged for one in made if one.entry == found.entry):
                factors = " x ".join(factor for factor, _ in found.point.labels)
                self.notes.append(f"{factors}: its levels change nothing, so it adds no variant")

    @property
    def _stands_alone(self) -> bool:
        """Whether the suite is one design that names all its variants, so that none is added for the base."""
        if len(self.suite.vary) > 1:
            return self.suite.design == "factorial"
        entry = self.suite.vary[0]
        return isinstance(entry, Group) or entry.design in ("list", "factorial")

    def _candidate(self, found: Made | None, names: VariantNames, reference: Candidate | None) -> Candidate:
        if found is None:
            base = self._base_variant(names)
            if reference is not None:
                changes = self._differences(reference.configuration, self.base)
                base = base.model_copy(update={"factor": names.base_labels[0][0], "changes": changes})
            return Candidate(base, self.base, tuple(self.in_base))
        point = found.point
        labels = names.told_by(found)
        told = [self.levels.get(label, Level()) for label in labels]
        only = told[0] if len(told) == 1 else Level()
        whys = [level.why for level in told if level.why]
        against = reference.configuration if reference is not None else found.configuration
        variant = Variant(
            name=names.of(found),
            title=" · ".join(self._title(label, point) for label in labels),
            levels={**names.base_levels, **dict(point.levels)},
            factor=None if reference is None else " x ".join(factor for factor, _ in labels),
            previous=names.previous(found),
            changes=self._differences(against, found.configuration),
            why="; ".join(whys) or None,
            reported=only.reported,
            links=only.links,
        )
        return Candidate(variant, found.configuration, tuple(self._changes_of(point)))

    def _differences(self, reference: Configuration, other: Configuration) -> dict[str, Any]:
        """Return what differs; what one of the two does not say counts with its default, where it has one."""
        found = list(differing(reference, other))
        if all(value not in (ABSENT, None) and _at(reference, path) is not ABSENT for path, value in found):
            return {written(path): value for path, value in found}
        spec, reference_spec = self._spec(other), self._spec(reference)
        told = {path: _setting(other, spec, path) for path, _ in found}
        return {
            written(path): value
            for path, value in told.items()
            if value != _setting(reference, reference_spec, path)
        }

    def _title(self, label: tuple[str, str], point: Point) -> str:
        title = self.levels.get(label, Level()).title
        chained = point.previous is not None and dict(point.previous).get(label[0]) != label[1]
        return title or (f"+ {label[1]}" if chained else label[1])

    def _base_variant(self, names: VariantNames) -> Variant:
        told = [self.levels.get(label, Level()) for label in names.base_labels]
        titles = [level.title or name for level, (_, name) in zip(told, names.base_labels, strict=True)]
        level = told[0] if len(told) == 1 else Level()
        return Variant(
            name=names.base,
            title=" · ".join(titles),
            levels=names.base_levels,
            why=level.why,
            reported=level.reported,
            links=level.links,
        )

    def _excluded(self, candidates: list[Candidate]) -> list[Candidate]:
        """Return the candidates without those that the suite excludes, which notes name."""
        variants = [one.variant for one in candidates]
        known = levels_of(variants)
        out: dict[str, None] = {}
        for index, exclusion in enumerate(self.suite.exclude):
            place = ("exclude", index, "match")
            wrong = list(unknown_levels(exclusion.match, known, place))
            hit = {variant.name: None for variant in variants if fits(variant, exclusion.match)}
            if variants[0].name in hit:
                wrong.append(Mistake(place, "this leaves out the reference"))
            elif not hit and not wrong:
                wrong.append(Mistake(place, "no variant has these levels"))
            if wrong:
                self.mistakes += wrong
            else:
                out |= hit
                self.notes.append(f"left out: {'; '.join(hit)}: {exclusion.why}")
        kept = [one for one in candidates if one.variant.name not in out]
        names = {one.variant.name for one in kept}
        return [one if one.variant.previous in names else _without_previous(one) for one in kept]


def _without_previous(candidate: Candidate) -> Candidate:
    """Return a step whose predecessor is left out: it is compared with the reference alone."""
    return replace(candidate, variant=candidate.variant.model_copy(update={"previous": None}))


def _in_words(wanted: Any) -> str:
    """Return what a condition asks for as a suite would say it."""
    values = wanted if isinstance(wanted, list) else [wanted]
    return " or ".join(json.dumps(value).strip('"') for value in values)


def _alike(first: TrialSpec, second: TrialSpec) -> bool:
    """Tell whether two specifications are one trial, perhaps said in two ways."""
    return first == second or first.identity() == second.identity()


def _setting(configuration: Configuration, spec: TrialSpec | None, path: Path_) -> Any:
    """Return what a configuration says at a path, else its default; none where there is nothing."""
    said = _at(configuration, path)
    if said is not ABSENT or spec is None:
        return None if said is ABSENT else said
    meant = _at(spec.model_dump(mode="json"), path)
    return None if meant is ABSENT else meant


def _at(value: Any, path: Path_) -> Any:
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value

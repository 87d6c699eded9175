"""What the template `insights` shows beside the sections that every report has."""

from __future__ import annotations

from dataclasses import dataclass

from harness.reporting.model.charts import Curves
from harness.reporting.model.pictures import Picture
from harness.reporting.model.tables import Section, Sentence, Table, Verdict


@dataclass(frozen=True)
class Learning:
    """One thing that the run taught, with its number."""

    verdict: Verdict
    says: Sentence


@dataclass(frozen=True)
class FinalConfiguration:
    """All settings of the best variant, by section."""

    title: str
    colour: str
    mark: int
    why: Sentence
    """Why it is this one: its value, and whom it is ahead of."""
    sections: tuple[Table, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class AblationGroup:
    """The levels of one factor, each with what became of it."""

    title: str
    question: str | None
    table: Table


@dataclass(frozen=True)
class TrainingDynamics:
    """How training went: figures by variant, and the curves that they are of."""

    table: Table
    curves: tuple[Curves, ...]
    more_curves: tuple[Curves, ...]
    curves_note: str


@dataclass(frozen=True)
class Frame:
    """A column of pictures of one moment, the same images in every frame."""

    title: str
    """For instance "epoch 5"."""
    value: str
    """The primary metric then; empty for input and target."""
    picture: Picture


@dataclass(frozen=True)
class Strip:
    """The predictions of one variant over the epochs, from input to target."""

    title: str
    colour: str
    mark: int
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class WorstExamples:
    """The validation images on which one trial did worst."""

    title: str
    """Whose trial they are of."""
    frames: tuple[Frame, ...]
    """Worst first; the title tells the labels."""
    note: str


@dataclass(frozen=True)
class Confusion:
    """What one kind of label was taken for."""

    table: Table
    pairs: tuple[Sentence, ...]
    """The pairs that are confused most, each with its number."""


@dataclass(frozen=True)
class FailureSection:
    """Where one variant fails; empty parts where there is nothing to say."""

    title: str
    colour: str
    mark: int
    labels: Table | None
    more_labels: Table | None
    """The labels that `labels` has no room for."""
    regions: Table | None
    frequencies: tuple[Sentence, ...]
    confusions: tuple[Confusion, ...]
    worst: WorstExamples | None
    note: str
    """Why there is nothing, or what the numbers rest on."""


@dataclass(frozen=True)
class Insights:
    """The sections that are the template's own; those that every report has stand in `View`."""

    learnings: tuple[Learning, ...]
    learnings_note: str
    configuration: FinalConfiguration | None
    """None while no trial is complete."""
    architecture: Table
    ablations: tuple[AblationGroup, ...]
    ablations_notes: tuple[str, ...]
    dynamics: TrainingDynamics
    trend: tuple[Strip, ...]
    trend_note: str
    failure_modes: tuple[FailureSection, ...]
    """Of the best variant, and of the reference where that is another one."""
    open: Table | None
    """What no verdict was reached on; none where all is settled."""
    sections: tuple[Section, ...]

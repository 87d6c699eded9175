"""Before a run: does every structure of a plan work, and what does a step of it take?

A structure is everything of a specification that changes the model, the loss or a shape: trials
that differ in seed, epochs, learning rate or the weight of a term alone share one. Each structure
is run once with fake tensors (`torch._subclasses.FakeTensorMode`: shapes and types without values),
at its true picture size and micro-batch, and once for real on two of its samples. Nothing of it
touches a GPU, prints, or changes the generators and threads of this process.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from harness.config import TrialSpec
from harness.document import dotted
from harness.plan import Plan, PlannedTrial
from harness.preflight.facts import Facts, measure
from harness.preflight.step import read_a_little, train_a_little
from harness.preflight.structures import micro_batches, structure_key
from harness.preflight.wording import VALUE_DEPENDENT, blaming
from harness.registry import registry
from harness.specify import respecify
from harness.tasks.base import Task
from harness.train.isolation import undisturbed
from harness.validation import Mistake, Mistakes

SAMPLES = 2  # of the real step
REAL_STEP_FLOPS = 1e10  # the most that the real step may take: about half a second of one core
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Finding:
    """A mistake, and the variants that have it."""

    variants: tuple[str, ...]
    mistake: Mistake

    @property
    def line(self) -> str:
        """The finding in one line."""
        place = dotted(self.mistake.path)
        return f"{', '.join(self.variants)}: {place}{': ' if place else ''}{self.mistake.message}"


@dataclass(frozen=True)
class Preflight:
    """What a preflight found."""

    findings: list[Finding]
    facts: dict[str, Facts]
    """By variant; one that failed, that was not reached or whose code reads values has none."""
    structures: int
    """Distinct ones that the trials have."""
    checked: int
    seconds: float
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""

    @property
    def summary(self) -> str:
        """How much was checked, in words."""
        noun = "structure" if self.structures == 1 else "structures"
        return f"checked {self.checked} of {self.structures} {noun} in {self.seconds:.1f} s"


def check_plan(
    plan: Plan, trials: Sequence[PlannedTrial], *, seconds: float, clock: Callable[[], float] = time.monotonic
) -> Preflight:
    """Check every distinct structure of `trials`, in the order of the plan.

    Args:
        plan: that the trials belong to.
        trials: those that have to run.
        seconds: no structure is begun after them, counted from the end of the first one, which also
            pays for the imports of all.
        clock: seconds that only ever grow.
    """
    started = clock()
    structures = _structures(plan, trials)
    findings: list[Finding] = []
    facts: dict[str, Facts] = {}
    notes: dict[str, list[str]] = {}
    checked, deadline = 0, float("inf")
    with _alone(), tempfile.TemporaryDirectory(prefix="harness-preflight-") as cache:
        for spec, variants in structures:
            if checked == 1:
                deadline = clock() + seconds
            elif checked > 1 and clock() >= deadline:
                break
            checked += 1
            inspection = inspect(spec, cache=Path(cache))
            findings += [Finding(variants, mistake) for mistake in inspection.mistakes]
            if inspection.facts is not None:
                facts |= dict.fromkeys(variants, inspection.facts)
            for note in inspection.notes:
                notes.setdefault(note, []).extend(variants)
    preflight = Preflight(findings, facts, len(structures), checked, clock() - started)
    preflight.notes.extend(f"{_few(variants)}: {note}" for note, variants in notes.items())
    if checked < len(structures):
        preflight.notes.append(f"{preflight.summary}; the others show what is wrong when they start")
    return preflight


def _structures(plan: Plan, trials: Sequence[PlannedTrial]) -> list[tuple[TrialSpec, tuple[str, ...]]]:
    """Return one specification of every structure, and the variants that have it."""
    order = {variant.name: index for index, variant in enumerate(plan.variants)}
    first: dict[str, tuple[TrialSpec, list[str]]] = {}
    seen: set[str] = set()
    for trial in trials:
        if trial.variants[0] in seen:
            continue
        seen.update(trial.variants)
        spec = respecify(trial.spec)
        first.setdefault(structure_key(spec), (spec, []))[1].extend(trial.variants)
    return [(spec, tuple(sorted(names, key=lambda name: order[name]))) for spec, names in first.values()]


@dataclass(frozen=True)
class Inspection:
    """What one structure showed."""

    mistakes: list[Mistake]
    facts: Facts | None
    notes: list[str]


def inspect(spec: TrialSpec, *, cache: Path) -> Inspection:
    """Run one structure with fake tensors, then for real on a few samples.

    Args:
        spec: a trial of the structure.
        cache: folder for the few samples.
    """
    notes: list[str] = []
    facts = None
    try:
        small = _small(spec)
        task = _create(small, cache)
        try:
            facts = measure(spec, task)
        except VALUE_DEPENDENT as error:
            operation = str(error).partition("\n")[0]
            notes.append(f"FLOPs and memory are unknown, since the code reads values ({operation})")
        samples = min(SAMPLES, *micro_batches(spec))
        batch = read_a_little(small, task, samples)
        if facts is not None and facts.step_flops * samples > REAL_STEP_FLOPS:
            notes.append("model and loss were checked by shapes alone, since a real step takes too long here")
        else:
            train_a_little(small, task, batch, samples)
    except Mistakes as found:
        return Inspection(found.mistakes, None, notes)
    return Inspection([], facts, notes)


def _create(spec: TrialSpec, cache: Path) -> Task:
    """Make the task on the CPU.

    Raises:
        Mistakes: it cannot be made; below `model` where the model alone fails, too.
    """
    kind: type[Task] = registry.load("task", spec.task)
    with blaming((), "it cannot be set up"):
        try:
            return kind.create(spec, cache=cache, device=CPU)
        except Exception:
            with blaming(("model",), "the model cannot be built"), torch.device("meta"):
                kind.make_model(spec)
            raise


def _small(spec: TrialSpec) -> TrialSpec:
    """Return the same trial on a handful of samples."""
    few = SAMPLES * (spec.folds or 1)
    sizes = {
        "train_size": min(few, spec.data.train_size),
        "validation_size": min(few, spec.data.validation_size),
    }
    return spec.model_copy(update={"data": spec.data.model_copy(update=sizes)})


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Compute on one thread and without warnings, and leave this process as it was."""
    with undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
        yield

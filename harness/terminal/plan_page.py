"""What `harness plan` and `harness validate` print: variants, costs, differences, mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from harness.allotment import Allotment
from harness.analysis.values import replicates_of
from harness.analysis.wording import counted, format_duration, format_scale
from harness.api import Prepared, Validation
from harness.cost.estimate import Estimate, TrialCost
from harness.cost.fit import packing
from harness.planning.difference import PlanDifference, format_setting
from harness.terminal.console import plain_table

if TYPE_CHECKING:
    from harness.preflight.facts import Facts

MOST_ROWS = 40  # variants of a plan, and of a difference, that are printed
MOST_PARTS = 6  # settings of one variant that are printed


def print_plan(prepared: Prepared, expected: Estimate, console: Console) -> None:
    """Print a plan: what would run, what is in the store, and how long the rest takes."""
    console.print(headline(prepared, expected.seconds))
    console.print()
    console.print(_plan_table(prepared, expected))
    if (more := len(prepared.plan.variants) - MOST_ROWS) > 0:
        console.print(f"  and {more} more variants; --json tells all", style="dim")
    console.print()
    for line in _totals_lines(expected, _occupied(prepared, expected)):
        console.print(f"  {line}", style="dim")
    if prepared.facts:
        console.print("  GFLOPs: of one sample's forward pass, a multiply-add counted as two", style="dim")
    if prepared.plan.budget is not None and prepared.plan.budget.limits:
        console.print(f"  budget: {', '.join(prepared.plan.budget.limits)}", style="dim")
    for note in (*prepared.notes, *expected.warnings):
        console.print(f"  note: {note}", style="dim")


def headline(prepared: Prepared, seconds: float | None) -> str:
    """Return a plan in one line."""
    plan, missing = prepared.plan, len(prepared.missing)
    stored = len(plan.trials) - missing
    parts = [
        f"{counted(len(plan.variants), 'variant')} x {format_scale(plan)} = "
        f"{counted(len(plan.trials), 'trial')}"
    ]
    shared = len(plan.variants) * len(replicates_of(plan)) - len(plan.trials)
    if shared:
        parts.append(f"{shared} more are the same as one of these")
    if stored:
        parts.append(f"{stored} already in the store")
    parts.append(f"{missing} to run" if missing else "nothing to run")
    if missing and seconds is not None:
        parts.append(f"about {format_duration(seconds)}")
    return f"{plan.suite}  {plan.profile or 'no profile'}  {', '.join(parts)}"


def _plan_table(prepared: Prepared, expected: Estimate) -> Table:
    """Return the plan as a table: what differs from the reference, model size, what a trial takes."""
    plan, facts = prepared.plan, prepared.facts
    table = plain_table()
    table.add_column("variant", no_wrap=True)
    table.add_column("differs from the reference", overflow="fold")
    table.add_column("seeds" if plan.folds is None else "trials", justify="right")
    table.add_column("to run", justify="right")
    if facts:
        table.add_column("parameters", justify="right", no_wrap=True)
        table.add_column("GFLOPs", justify="right", no_wrap=True)
    table.add_column("time a trial", justify="right", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    occupied = _occupied(prepared, expected)
    differ = len({str(allotment) for allotment in occupied.values()}) > 1
    if differ:
        table.add_column("occupies")
    counts = Counter(name for trial in plan.trials for name in trial.variants)
    twins = {name: trial.variants[0] for trial in plan.trials for name in trial.variants[1:]}
    to_run = Counter(name for trial in prepared.missing for name in trial.variants)
    costs: dict[str, list[TrialCost]] = {}
    for trial in plan.trials:
        for name in trial.variants if trial.id in expected.trials else ():
            costs.setdefault(name, []).append(expected.trials[trial.id])
    for variant in plan.variants[:MOST_ROWS]:
        name, known = variant.name, costs.get(variant.name, [])
        memory = max((cost.memory_bytes for cost in known if cost.memory_bytes is not None), default=None)
        changes = _listing(f"{path} = {_plain(value)}" for path, value in variant.changes.items())
        shared = f" (the same trials as {twins[name]})" if name in twins else ""
        table.add_row(
            name,
            f"{changes or 'the reference'}{shared}",
            str(counts[name]),
            str(to_run[name]),
            *(_size(facts.get(name)) if facts else ()),
            _spread(known) if known else "–",
            "–" if memory is None else decimal(memory),
            *((str(occupied.get(name, "–")),) if differ else ()),
        )
    return table


def _occupied(prepared: Prepared, expected: Estimate) -> dict[str, Allotment]:
    """Return what a trial of each variant occupies, by name, as far as it has to run."""
    return {
        name: expected.allotments[trial.id]
        for trial in prepared.plan.trials
        if trial.id in expected.allotments
        for name in trial.variants
    }


def _size(facts: Facts | None) -> tuple[str, str]:
    """Return parameters and GFLOPs of a model; dashes where it was not tried."""
    return (f"{facts.parameters:,}", f"{facts.forward_flops / 1e9:.3g}") if facts else ("–", "–")


def _spread(costs: Sequence[TrialCost]) -> str:
    """Return what a trial takes, and between what it may lie where that is known."""
    mean = format_duration(sum(cost.seconds for cost in costs) / len(costs))
    low = format_duration(min(cost.low for cost in costs))
    high = format_duration(max(cost.high for cost in costs))
    return mean if low == high else f"{mean} ({low} to {high})"


def _totals_lines(expected: Estimate, occupied: Mapping[str, Allotment]) -> Iterator[str]:
    """Yield what all takes together, and what that is based on."""
    if expected.expected is not None and expected.trials:
        assert expected.low is not None and expected.high is not None
        low, mean, high = expected.low, expected.expected, expected.high
        parts = [
            f"{format_duration(mean.seconds)} ({format_duration(low.seconds)} to "
            f"{format_duration(high.seconds)}), {expected.slots} at once",
            _amount("CPU hours", low.cpu_hours, mean.cpu_hours, high.cpu_hours),
        ]
        if mean.gpu_hours:
            parts.append(_amount("GPU hours", low.gpu_hours, mean.gpu_hours, high.gpu_hours))
        if mean.money is not None:
            assert low.money is not None and high.money is not None
            parts.append(_amount(f"{expected.currency}", low.money, mean.money, high.money))
        yield f"all: {'; '.join(parts)}"
    yield from _resources_lines(occupied)
    yield f"time: {expected.basis}"
    if any(cost.memory_bytes is not None for cost in expected.trials.values()):
        yield (
            "memory: the peak of like trials in the store, else the tensors of one step without libraries"
            f"{_memory_there_is(expected)}"
        )


def _resources_lines(occupied: Mapping[str, Allotment]) -> Iterator[str]:
    """Yield what every trial occupies, where it is alike and not one CPU alone, and how GPUs are shared."""
    texts = dict.fromkeys(str(allotment) for allotment in occupied.values())
    shared = list(packing(occupied))
    if len(texts) == 1 and str(Allotment()) not in texts:
        yield "; ".join([f"each trial: {next(iter(texts))}", *shared])
    elif shared:
        yield "; ".join(shared)


def _memory_there_is(expected: Estimate) -> str:
    """Return what to hold expected memory against; nothing where that is not known."""
    machine = expected.machine
    on_gpu = any(allotment.gpus for allotment in expected.allotments.values())
    what, amount = "a GPU here has", machine.gpu_memory_bytes
    if not on_gpu:
        what, amount = "there are", machine.memory_bytes
    return "" if amount is None else f"; {what} {decimal(amount)}"


def _amount(unit: str, low: float, mean: float, high: float) -> str:
    return f"{_short(mean)} {unit} ({_short(low)} to {_short(high)})"


def _short(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:.2g}"


def print_difference(found: PlanDifference, console: Console) -> None:
    """Print what changes from one plan to another."""
    console.print(f"from {found.before} to {found.after}")
    console.print(
        f"  trials: {found.trials_shared} the same, {found.trials_new} new, {found.trials_gone} gone"
    )
    for name, change in found.general.items():
        console.print(f"  {name}: {change}")
    told = [
        *(f"+ {name}" for name in found.added),
        *(f"- {name}" for name in found.removed),
        *(
            f"~ {name}: {_listing(f'{path}: {change}' for path, change in changes.items())}"
            for name, changes in found.changed.items()
        ),
    ]
    for line in told[:MOST_ROWS]:
        console.print(f"  {line}")
    if len(told) > MOST_ROWS:
        console.print(f"  and {len(told) - MOST_ROWS} more; --json tells all", style="dim")
    claims = {"+": found.claims_added, "-": found.claims_removed, "~": found.claims_changed}
    for sign, names in claims.items():
        for name in names:
            console.print(f"  {sign} claim {name}")


def print_validation(found: Sequence[Validation], console: Console) -> None:
    """Print what is wrong with suites, or how much of them was checked."""
    for one in found:
        name = f"{one.suite} ({one.profile})" if one.profile else one.suite
        for problem in one.problems:
            console.print(problem)
        if one.problems:
            count = len(one.problems)
            console.print(f"✗ {name}  {count} error{'s' if count != 1 else ''}", style="red")
        else:
            scale = f"{one.variants} variants, {one.trials} trials, {one.checked}"
            console.print(f"✓ {name}  {scale}", style="green")
        for note in one.notes:
            console.print(f"  note: {note}", style="dim")


def _listing(parts: Iterable[str]) -> str:
    """Return parts with commas, not too many of them."""
    told = list(parts)
    more = f" and {len(told) - MOST_PARTS} more" if len(told) > MOST_PARTS else ""
    return f"{', '.join(told[:MOST_PARTS])}{more}"


def _plain(value: object) -> str:
    return "removed" if value is None else format_setting(value)

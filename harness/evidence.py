"""Judging what is stored, from Python: the functions that the commands call too. They read stores alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import catalog
from harness.errors import HarnessError
from harness.store.read import DEFAULT_STORE, open_store

if TYPE_CHECKING:
    from harness.tracking.baseline.model import Baseline
    from harness.tracking.comparison.model import RunComparison
    from harness.tracking.gate.model import Gate
    from harness.tracking.history.accepted import Accepted
    from harness.tracking.history.model import History


def verdicts(run_id: str = "latest", *, store: Path | str = DEFAULT_STORE) -> dict[str, Any]:
    """Return everything that the analysis says of a run as JSON values (docs/comparing.md).

    Args:
        run_id: a run's id, a unique prefix, or `latest`.
        store: folder or address, such as s3://bucket/folder, that results are kept in.

    Raises:
        HarnessError: no such store or run.
    """
    from harness.analysis.document import verdicts_document

    return verdicts_document(open_store(store).run(run_id))


def compare(
    a: str,
    b: str,
    *,
    store: Path | str = DEFAULT_STORE,
    suite: str | None = None,
    profile: str | None = None,
    metrics: Sequence[str] = (),
    every: bool = True,
) -> RunComparison:
    """Compare two runs, or two variants: the later side `b` against `a`.

    Args:
        a: what `harness.tracking.selection` understands: a run, `latest`, a git revision, a store or a
            variant.
        b: the same, of the later side.
        store: folder or address, such as s3://bucket/folder, that results are kept in.
        suite: suite whose runs `latest` and revisions mean; any when none.
        profile: profile whose runs they mean; any when none.
        metrics: names of metrics; without any `every` decides.
        every: compare all metrics that both record, or else the primary one and those of the report.

    Raises:
        HarnessError: a side names nothing, or the runs do not both record a metric.
    """
    from harness.tracking.comparison.compare import compare as compare_runs
    from harness.tracking.revisions import history_between
    from harness.tracking.selection import Scope, select_pair

    scope = Scope(store, suite, profile, Path.cwd())
    first, second = select_pair(a, b, scope)
    commits = [side.record.run["git_commit"] for side in (first, second)]
    return compare_runs(
        first.record,
        second.record,
        variants=(first.variant, second.variant) if first.variant and second.variant else None,
        metrics=metrics,
        every=every,
        history=history_between(commits[0], commits[1], scope.folder),
        notes=tuple(dict.fromkeys([*first.notes, *second.notes])),
    )


def history(
    *,
    metrics: Sequence[str] = (),
    variants: Sequence[str] = (),
    suite: str | None = None,
    profile: str | None = None,
    store: Path | str = DEFAULT_STORE,
    baselines: Path | str | None = None,
    at_least: float | None = None,
    html: Path | None = None,
) -> History:
    """Return how metrics changed over the runs of a suite: levels, steps and creeps.

    Args:
        metrics: names of metrics or costs; the primary metric when none.
        variants: names; all of the latest run when none.
        suite: its name; that of the latest run when none.
        profile: its name; that of the latest run when none.
        store: folder or address, such as s3://bucket/folder, that results are kept in.
        baselines: folder of accepted changes; HARNESS_BASELINES or `baselines` when none.
        at_least: smallest change that counts, in the unit in which the metric is stored, for a measured
            cost as a share of it; the margin of the suite when none, else one standard deviation.
        html: file to write a page with charts to.

    Raises:
        HarnessError: no such store, suite, metric or variant, or a broken file of accepted changes.
    """
    from harness.tracking.history.accepted import read_accepted
    from harness.tracking.history.read import read_history

    if at_least is not None and not 0 < at_least < math.inf:
        raise HarnessError(f"--at-least is the size of a change, above 0; got {at_least:g}")
    found = read_history(
        open_store(store),
        metrics=metrics,
        variants=variants,
        suite=suite,
        profile=profile,
        accepted=read_accepted(catalog.baselines_folder(baselines)),
        at_least=at_least,
    )
    if html is not None:
        from harness.reporting.history_page import write_history_page

        write_history_page(found, html, search_path=catalog.search_path("reports"))
    return found


def accept_change(
    text: str,
    why: str,
    *,
    metrics: Sequence[str] = (),
    variants: Sequence[str] = (),
    suite: str | None = None,
    profile: str | None = None,
    store: Path | str = DEFAULT_STORE,
    baselines: Path | str | None = None,
) -> list[Accepted]:
    """Keep that a change is accepted: in these histories the level starts anew at a run.

    Args:
        text: a run's id, a unique beginning of it, `latest`, or a git revision with a run.
        why: the reason, for whoever reads it later.
        metrics: names of metrics or costs; all when none.
        variants: names; all when none.
        suite: its name; that of the latest run when none.
        profile: its name; that of the latest run when none.
        store: folder or address, such as s3://bucket/folder, that results are kept in.
        baselines: folder of the file; HARNESS_BASELINES or `baselines` when none.

    Raises:
        HarnessError: no such store, run, metric or variant, or a broken file of accepted changes.
    """
    from harness.tracking.history.accepted import accept, find_accepted_run, new_entry
    from harness.tracking.history.read import known_info, known_variants, runs_of

    reader = open_store(store)
    rows = runs_of(reader, suite, profile)
    plan = reader.run(rows[-1]["run_id"], variants=()).plan
    named = find_accepted_run(text, rows, Path.cwd())
    entries = [
        new_entry(
            named,
            suite=plan.suite,
            profile=plan.profile,
            metric=metric,
            variant=variant,
            why=why,
            when=datetime.now(UTC),
        )
        for metric in ([known_info(plan, name).name for name in metrics] if metrics else [None])
        for variant in (known_variants(plan, variants) if variants else [None])
    ]
    for entry in entries:
        accept(catalog.baselines_folder(baselines), entry)
    return entries


@dataclass(frozen=True)
class BaselineChange:
    """What became of a baseline."""

    file: Path
    baseline: Baseline
    notes: tuple[str, ...]
    """What was replaced or left out, in words."""


def set_baseline(
    name: str,
    runs: Sequence[str],
    *,
    store: Path | str = DEFAULT_STORE,
    baselines: Path | str | None = None,
    keep: int = 20,
) -> BaselineChange:
    """Make runs the baseline, in place of what it was.

    Args:
        name: of the baseline.
        runs: ids, unique prefixes or `latest`, the oldest first.
        store: folder or address, such as s3://bucket/folder, that results are kept in.
        baselines: folder of the baselines' files; by default that of HARNESS_BASELINES, else `baselines`.
        keep: runs that are kept; the oldest go.

    Raises:
        HarnessError: no such run, one without a complete trial, or runs that are not comparable.
    """
    from harness.tracking.baseline.file import check_name, write_baseline
    from harness.tracking.baseline.series import established
    from harness.tracking.baseline.snapshot import snapshot

    check_name(name)
    reader = open_store(store)
    baseline, notes = established(name, [snapshot(reader.run(run), name) for run in runs], keep)
    return BaselineChange(
        write_baseline(baseline, catalog.baselines_folder(baselines)), baseline, tuple(notes)
    )


def add_to_baseline(
    name: str,
    run_id: str = "latest",
    *,
    store: Path | str = DEFAULT_STORE,
    baselines: Path | str | None = None,
    keep: int = 20,
) -> BaselineChange:
    """Add a run to a baseline as one more commit of the same level; arguments are those of `set_baseline`.

    Raises:
        HarnessError: no such run or baseline, or the run is not comparable with it.
    """
    from harness.tracking.baseline.file import read_baseline, write_baseline
    from harness.tracking.baseline.series import extended
    from harness.tracking.baseline.snapshot import snapshot

    folder = catalog.baselines_folder(baselines)
    before = read_baseline(name, folder)
    baseline, notes = extended(before, snapshot(open_store(store).run(run_id), name), keep)
    return BaselineChange(write_baseline(baseline, folder), baseline, tuple(notes))


def gate(
    run_id: str = "latest",
    *,
    against: str = "main",
    store: Path | str = DEFAULT_STORE,
    baselines: Path | str | None = None,
    metrics: Sequence[str] = (),
    variants: Sequence[str] = (),
    margins: Sequence[str] = (),
    cost_limits: Sequence[str] = (),
    costs: bool = False,
    all_metrics: bool = False,
) -> Gate:
    """Judge a run against a baseline.

    Args:
        run_id: a run's id, a unique prefix, or `latest`.
        against: name of the baseline.
        store: folder or address, such as s3://bucket/folder, that results are kept in.
        baselines: folder of the baselines' files; by default that of HARNESS_BASELINES, else `baselines`.
        metrics: gated metrics; the baseline's primary one by default.
        variants: gated variants; all of the baseline by default.
        margins: drops that do not matter: "delta_e=0.5", "delta_e=2%", or "0.5" for one metric.
        cost_limits: costs that are gated and their largest ratio: "train_seconds=1.2".
        costs: judge costs as information.
        all_metrics: judge every other metric as information.

    Raises:
        HarnessError: no such run or baseline, or no run of the baseline is comparable.
    """
    from harness.tracking.baseline.file import read_baseline
    from harness.tracking.gate.judge import judge
    from harness.tracking.gate.options import GateOptions, parse_limits, parse_margins

    baseline = read_baseline(against, catalog.baselines_folder(baselines))
    options = GateOptions(
        metrics=tuple(metrics),
        variants=tuple(variants),
        margins=parse_margins(margins, metrics or [baseline.primary_metric]),
        cost_limits=parse_limits(cost_limits),
        costs=costs,
        all_metrics=all_metrics,
    )
    return judge(open_store(store).run(run_id), baseline, options)

"""Planning, running and reporting from Python: the functions that the commands call too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import catalog
from harness.errors import HarnessError
from harness.estimate import Estimate, estimate
from harness.execute.driver import Assessment, Outcome, assess, run_plan
from harness.plan import Plan, PlannedTrial
from harness.planning import plan_suite
from harness.provenance import available_cpus
from harness.store.read import StoreReader, open_store
from harness.store.write import create_store

if TYPE_CHECKING:
    from harness.execute.base import Executor, Listener
    from harness.reporting.render import WrittenReport

EXECUTORS = ("ray", "local")
DEFAULT_STORE = Path("runs")
TIMING_SECONDS = 10.0


@dataclass(frozen=True)
class Prepared:
    """A plan, and what a store already holds of it."""

    plan: Plan
    store: Path
    assessment: Assessment
    cpus: int
    """CPUs that the run may use."""

    @property
    def missing(self) -> list[PlannedTrial]:
        """The trials that have to run."""
        return self.assessment.missing(self.plan)

    @property
    def slots(self) -> int:
        """How many trials run at once, as far as CPUs go."""
        return max(1, self.cpus // self.plan.resources.cpus)

    @property
    def notes(self) -> list[str]:
        """What somebody who runs this should know."""
        return [*self.plan.notes, *self.assessment.notes]

    def estimate(self, *, timing_seconds: float = TIMING_SECONDS) -> Estimate:
        """Return how long it will take: from the store, and from steps timed for `timing_seconds` at most."""
        reader = StoreReader(self.store)
        return estimate(
            self.plan, self.missing, slots=self.slots, store=reader, timing_seconds=timing_seconds
        )

    def to_json(self, expected: Estimate) -> dict[str, Any]:
        """Return the plan, what is missing of it and the estimate as JSON values."""
        return {
            **self.plan.model_dump(mode="json"),
            "missing": [trial.id for trial in self.missing],
            "notes": self.notes,
            "estimate": asdict(expected),
        }


def prepare(
    suite: Path | str,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    only: Sequence[str] = (),
    store: Path | str = DEFAULT_STORE,
    cpus: int | None = None,
    fresh: bool = False,
) -> Prepared:
    """Plan a suite against a store, which need not exist; nothing is written.

    Args:
        suite: a suite file, or the name of a known suite.
        profile: one of the suite's profiles.
        overrides: texts PATH=VALUE, such as "base.train.epochs=2".
        seeds: number of seeds, in place of the suite's.
        only: texts FACTOR=LEVEL; these levels and the reference are kept.
        store: folder that results are kept in.
        cpus: CPUs to use; all that this process may use when none.
        fresh: whether trials run again that the store holds.

    Raises:
        HarnessError: everything that is wrong with the suite.
    """
    plan = plan_suite(suite, profile=profile, overrides=overrides, seeds=seeds, only=only)
    root = Path(store).expanduser().resolve()
    return Prepared(plan, root, assess(plan, StoreReader(root), fresh=fresh), cpus or available_cpus())


def execute(
    prepared: Prepared,
    *,
    executor: str = "ray",
    address: str | None = None,
    listener: Listener = lambda event: None,
) -> Outcome:
    """Run what is missing, and return how that ended.

    Args:
        prepared: what to run, and where to keep it.
        executor: `ray` or `local`.
        address: of a running Ray cluster; none starts Ray on this machine.
        listener: told of what happens, in this thread.

    Raises:
        HarnessError: the store or the cluster is out of reach.
    """
    if executor not in EXECUTORS:
        raise HarnessError(f"no executor '{executor}'; known are {' and '.join(EXECUTORS)}")
    writer = create_store(prepared.store)
    workers = _executor(executor, address, prepared.cpus) if prepared.missing else None
    try:
        return run_plan(
            prepared.plan,
            writer,
            workers,
            assessment=prepared.assessment,
            listener=listener,
            cache=cache_folder(),
        )
    finally:
        if workers is not None:
            workers.close()


def run(suite: Path | str, *, executor: str = "ray", address: str | None = None, **options: Any) -> Outcome:
    """Plan a suite and run what is missing; `options` are those of `prepare`."""
    return execute(prepare(suite, **options), executor=executor, address=address)


def report(
    run_id: str = "latest",
    *,
    store: Path | str = DEFAULT_STORE,
    template: str | None = None,
    out: Path | None = None,
) -> WrittenReport:
    """Write the report of a run and return where it lies.

    Args:
        run_id: a run's id, a unique prefix, or `latest`.
        store: folder that results are kept in.
        template: name of a template, in place of the suite's.
        out: folder to write to, in place of the store's.

    Raises:
        HarnessError: no such store, run or template.
    """
    from harness.reporting.render import write_report

    reader = open_store(store)
    record = reader.run(run_id)
    folder = out or reader.report_folder(record.run["run_id"])
    return write_report(record, folder, template=template, search_path=catalog.search_path("reports"))


def cache_folder() -> Path:
    """Return the folder that generated data is kept in: below HARNESS_CACHE, else the user's cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "ablation-harness"
    return Path(os.environ.get("HARNESS_CACHE", default)).expanduser().resolve() / "data"


def _executor(name: str, address: str | None, cpus: int) -> Executor:
    if name == "local":
        if address is not None:
            raise HarnessError("--address is for Ray; drop it, or use --executor ray")
        from harness.execute.local import LocalExecutor

        return LocalExecutor(cpus=cpus)
    from harness.execute.ray_tune import RayExecutor

    return RayExecutor(address=address, cpus=cpus)

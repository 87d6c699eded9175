"""Planning, running and reporting from Python: the functions that the commands call too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import catalog
from harness.allotment import Allotment, Machine, allot, on_gpu, this_machine
from harness.cost.estimate import Estimate, estimate
from harness.cost.spending import apply_budget
from harness.data.cache import cache_folder
from harness.errors import HarnessError, SuiteError
from harness.execute.driver import Assessment, Outcome, assess, run_plan
from harness.plan import Plan, PlannedTrial
from harness.planning.build import PlannedSuite, plan_suite
from harness.store.files import Files
from harness.store.read import DEFAULT_STORE, RunRecord, StoreReader, open_store
from harness.store.write import create_store
from harness.suite import load_suite

if TYPE_CHECKING:
    from harness.execute.base import Executor, Listener
    from harness.preflight.check import Preflight
    from harness.preflight.facts import Facts
    from harness.reporting.render import WrittenReport
    from harness.tracking.history.model import History

EXECUTORS = ("ray", "local")
TIMING_SECONDS = 1.5
PREFLIGHT_SECONDS = 60.0
LARGE = 1000  # trials of a plan that is printed without trying its models
PLAN_SECONDS = 1.0  # of preflight before a plan is printed


@dataclass(frozen=True)
class Prepared:
    """A plan, and what a store already holds of it."""

    planned: PlannedSuite
    store: str
    """Address of the store."""
    assessment: Assessment
    machine: Machine
    """What the run may use."""
    preflight: Preflight | None = None
    """What the preflight found; none where it was left out."""

    @property
    def plan(self) -> Plan:
        """What is going to run."""
        return self.planned.plan

    @property
    def missing(self) -> list[PlannedTrial]:
        """The trials that have to run."""
        return self.assessment.missing(self.plan)

    @property
    def slots(self) -> int:
        """How many trials run at once."""
        return self.expected.slots

    @property
    def facts(self) -> Mapping[str, Facts]:
        """What the models of variants take, by name, as far as the preflight came."""
        return self.preflight.facts if self.preflight else {}

    @property
    def notes(self) -> list[str]:
        """What somebody who runs this should know."""
        found = self.preflight.notes if self.preflight else []
        return [*self.plan.notes, *self.assessment.notes, *found]

    def checked(self, *, seconds: float = PREFLIGHT_SECONDS, skip_broken: bool = False) -> Prepared:
        """Build and try every distinct structure of the missing trials once, and return what is sound.

        Args:
            seconds: no structure is begun after them.
            skip_broken: leave variants that fail out, with a note, in place of refusing.

        Raises:
            SuiteError: a variant fails; every failure with the level that caused it.
        """
        from harness.preflight.check import check_plan  # imports torch

        if not self.missing:
            return self
        found = check_plan(self.plan, self.missing, seconds=seconds)
        problems = {
            name: self.planned.problem(
                name, finding.mistake, also_in_reference=self.plan.reference in finding.variants
            )
            for finding in reversed(found.findings)
            for name in finding.variants
        }
        if problems and not skip_broken:
            raise SuiteError(problems.values())
        planned = self.planned.without({name: str(problem) for name, problem in problems.items()})
        return replace(self, planned=planned, preflight=found)

    def within_budget(self, *, timing_seconds: float = TIMING_SECONDS) -> Prepared:
        """Return what the suite's budget leaves of the plan.

        Raises:
            HarnessError: the plan needs more than the budget allows, and may not be trimmed.
        """
        if self.plan.budget is None:
            return self
        plan, notes = apply_budget(self.plan, self.missing, self.estimate(timing_seconds=timing_seconds))
        noted = plan.model_copy(update={"notes": (*plan.notes, *notes)})
        return replace(self, planned=replace(self.planned, plan=noted))

    @cached_property
    def expected(self) -> Estimate:
        """What the missing trials take, as far as it is known without timing anything now."""
        return self.estimate(timing_seconds=0.0)

    def allotments(self, machine: Machine) -> dict[str, Allotment]:
        """Return what each missing trial is to occupy on a machine, by its id."""
        resources, memory = self.plan.resources, self.expected.memory
        return {trial.id: allot(resources, trial.spec, machine, memory[trial.id]) for trial in self.missing}

    def estimate(self, *, timing_seconds: float = TIMING_SECONDS) -> Estimate:
        """Return what the missing trials take.

        Args:
            timing_seconds: the most that timing steps may take, where neither the store nor an earlier
                timing on this machine tells.
        """
        return estimate(
            self.plan,
            self.missing,
            machine=self.machine,
            store=StoreReader(self.store),
            facts=self.facts,
            timing_seconds=timing_seconds,
            paces=cache_folder().parent / "paces",
            budget=self.plan.budget,
            epochs_done=self.assessment.epochs_done,
        )

    def to_json(self, expected: Estimate) -> dict[str, Any]:
        """Return the plan, what is missing of it and the estimate as JSON values."""
        return {
            **self.plan.model_dump(mode="json"),
            "missing": [trial.id for trial in self.missing],
            "notes": self.notes,
            "facts": {name: asdict(found) for name, found in self.facts.items()},
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
    machine: Machine | None = None,
    prune: str | None = None,
    trackers: Sequence[str] = (),
    fresh: bool = False,
    skip_broken: bool = False,
) -> Prepared:
    """Plan a suite against a store, which need not exist; nothing is written.

    Args:
        suite: a suite file, or the name of a known suite.
        profile: one of the suite's profiles.
        overrides: texts PATH=VALUE, such as "base.train.epochs=2".
        seeds: number of seeds, in place of the suite's.
        only: texts FACTOR=LEVEL; these levels and the reference are kept.
        store: folder or address, such as s3://bucket/folder, that results are kept in.
        cpus: CPUs of this machine to use; all that this process may use when none.
        machine: what to plan for, such as a cluster; this machine when none.
        prune: scheduler that ends trials early, in place of the suite's: `asha` or `median`.
        trackers: names of trackers that show the trials, beside those of the suite.
        fresh: whether trials run again that the store holds.
        skip_broken: leave out variants whose configuration is wrong, with a note, in place of refusing.

    Raises:
        HarnessError: everything that is wrong with the suite.
    """
    if prune is not None:
        overrides = [*overrides, f"pruning.scheduler={prune}"]
    planned = plan_suite(
        suite,
        profile=profile,
        overrides=overrides,
        seeds=seeds,
        only=only,
        trackers=trackers,
        skip_broken=skip_broken,
    )
    reader = StoreReader(store)
    machine = machine or this_machine(cpus)
    gpus = float(on_gpu(planned.plan.resources, machine))
    assessment = assess(planned.plan, reader, fresh=fresh, gpus=gpus)
    return Prepared(planned, reader.address, assessment, machine)


@dataclass(frozen=True)
class Validation:
    """What is wrong with a suite under one profile."""

    suite: str
    """As the user named it."""
    profile: str | None
    variants: int
    trials: int
    checked: str
    """How much was tried, in words; empty where the suite was not sound enough to try."""
    problems: tuple[str, ...]
    """One line each."""
    notes: tuple[str, ...]


def validate(
    suite: Path | str, *, profile: str | None = None, overrides: Sequence[str] = ()
) -> list[Validation]:
    """Check a suite as it stands and under each of its profiles, or under one profile alone.

    Every distinct structure is tried, whatever a store holds. A suite that there is not has this
    as its problem, so that those beside it are checked all the same.
    """
    profiles = [profile] if profile is not None else [None, *_profiles_of(suite)]
    return [_validation(suite, one, overrides) for one in profiles]


def _profiles_of(suite: Path | str) -> list[str]:
    try:
        return list(load_suite(suite).suite.profiles)
    except SuiteError as error:
        return list(error.rest.suite.profiles) if error.rest is not None else []
    except HarnessError:  # no such suite
        return []


def _validation(suite: Path | str, profile: str | None, overrides: Sequence[str]) -> Validation:
    nowhere = Path(os.devnull)  # a store that holds nothing
    try:
        prepared = prepare(suite, profile=profile, overrides=overrides, store=nowhere).checked()
    except HarnessError as error:
        found_wrong = error.problems if isinstance(error, SuiteError) else [error]
        lines = tuple(str(problem) for problem in found_wrong)
        return Validation(str(suite), profile, 0, 0, "", lines, ())
    plan, found = prepared.plan, prepared.preflight
    return Validation(
        suite=str(suite),
        profile=profile,
        variants=len(plan.variants),
        trials=len(plan.trials),
        checked=found.summary if found else "",
        problems=(),
        notes=tuple(prepared.notes),
    )


def execute(
    prepared: Prepared,
    *,
    executor: str = "ray",
    address: str | None = None,
    workers: Executor | None = None,
    listener: Listener = lambda event: None,
) -> Outcome:
    """Run what is missing, and return how that ended.

    Args:
        prepared: what to run, and where to keep it.
        executor: `ray` or `local`.
        address: of a running Ray cluster; none starts Ray on this machine.
        workers: an executor that is there already, from `connect`; it is closed in the end.
        listener: told of what happens, in this thread.

    Raises:
        HarnessError: the store, the cache or the cluster is out of reach.
    """
    if executor not in EXECUTORS:
        raise HarnessError(f"no executor '{executor}'; known are {' and '.join(EXECUTORS)}")
    if prepared.plan.pruning is not None and executor != "ray":
        raise HarnessError("pruning needs Ray: use --executor ray, or --set pruning=null for whole trials")
    writer = create_store(prepared.store)
    cache = cache_folder()
    _require_folder(cache)
    if workers is None and prepared.missing:
        workers = _executor(executor, address, prepared.machine.cpus)
    needed = workers if prepared.missing else None
    try:
        if needed is not None:
            needed.fit_out(prepared.plan, writer, fresh=prepared.assessment.fresh)
        return run_plan(
            prepared.plan,
            writer,
            needed,
            assessment=prepared.assessment,
            listener=listener,
            cache=cache,
            allotments=prepared.allotments(needed.machine) if needed is not None else {},
            durations=prepared.expected.lengths,
        )
    finally:
        if workers is not None:
            workers.close()


def connect(address: str | None, *, executor: str = "ray") -> Executor | None:
    """Return an executor on a running Ray cluster, whose `machine` can be planned for; none without address.

    Raises:
        HarnessError: nobody answers there, or refuses.
    """
    return _executor(executor, address, 0) if address is not None else None


def run(suite: Path | str, *, executor: str = "ray", address: str | None = None, **options: Any) -> Outcome:
    """Plan a suite, check it and run what is missing; `options` are those of `prepare`."""
    skip_broken = bool(options.get("skip_broken"))
    if (workers := connect(address, executor=executor)) is not None:
        options["machine"] = workers.machine
    ready = prepare(suite, **options).checked(skip_broken=skip_broken).within_budget()
    return execute(ready, executor=executor, address=address, workers=workers)


def other_plan(text: str, *, profile: str | None = None, store: Path | str = DEFAULT_STORE) -> Plan:
    """Return the plan that a user names to compare with: a suite, a plan as JSON, or a run of the store.

    Args:
        text: a suite's file or name, a file of `harness plan --json`, or a run's id, prefix or `latest`.
        profile: taken for a suite that has a profile of this name.
        store: folder or address that runs are looked up in.

    Raises:
        HarnessError: it is none of these, or something is wrong with it.
    """
    if text.endswith(".json"):
        return _plan_in(Path(text))
    try:
        found = catalog.find_suite(text)
    except HarnessError as error:
        try:
            return open_store(store).run(text).plan
        except HarnessError as other:
            raise HarnessError(f"{text} is no suite ({error}) and no run ({other})") from None
    known = load_suite(found).suite.profiles
    return plan_suite(found, profile=profile if profile in known else None).plan


def _plan_in(file: Path) -> Plan:
    """Return the plan that `harness plan --json` wrote to a file."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        return Plan.model_validate({key: fields[key] for key in Plan.model_fields if key in fields})
    except OSError as error:
        raise HarnessError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise HarnessError(
            f"{file} holds no plan; `harness plan SUITE --json > {file}` writes one"
        ) from error


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
        store: folder or address, such as s3://bucket/folder, that results are kept in.
        template: name of a template, in place of the suite's.
        out: folder to write to, in place of the store's.

    Raises:
        HarnessError: no such store, run or template; a store whose links lead the report elsewhere.
    """
    from harness.reporting.render import write_report

    reader = open_store(store)
    record = reader.run(run_id)
    there = reader.report_folder(record.run["run_id"])
    folder = out or _readable_folder(reader.files, there)
    written = write_report(
        record,
        folder,
        template=template,
        search_path=catalog.search_path("reports"),
        history=_history_until(reader, record),
    )
    if out is None and not reader.files.is_local:
        reader.files.upload(folder, there)
    return written


def _readable_folder(files: Files, folder: str) -> Path:
    """Return where people can open a report: in the store, or here where the store is elsewhere."""
    if files.is_local:
        return files.local_folder(folder)
    return Path(f"report-{folder.rpartition('/')[2]}").resolve()


def _history_until(reader: StoreReader, record: RunRecord) -> History:
    """Return the history that a run ends: of the primary metric, of all its variants."""
    from harness.tracking.history.accepted import read_accepted
    from harness.tracking.history.read import MOST_FOR_REPORT, read_history

    run = record.run
    return read_history(
        reader,
        suite=run["suite"],
        profile=run["profile"],
        until=run["run_id"],
        accepted=read_accepted(catalog.baselines_folder(None)),
        most=MOST_FOR_REPORT,
    )


def _require_folder(cache: Path) -> None:
    """Refuse a cache that cannot be made; one that is there may be read-only and hold all that is needed."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(
            f"the folder of generated data {cache} cannot be made: {error.strerror or error}; "
            "set HARNESS_CACHE to a folder that you may write"
        ) from error


def _executor(name: str, address: str | None, cpus: int) -> Executor:
    if name == "local":
        if address is not None:
            raise HarnessError("--address is for Ray; drop it, or use --executor ray")
        from harness.execute.local import LocalExecutor

        return LocalExecutor(cpus=cpus)
    from harness.execute.ray_tune import RayExecutor

    return RayExecutor(address=address, cpus=cpus)

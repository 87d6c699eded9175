"""Before and during a run: `run`, `plan`, `validate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from harness.commands.options import (
    DEFAULT_STORE,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    JsonOption,
    OnlyOption,
    PreflightOption,
    ProfileOption,
    SeedsOption,
    SetOption,
    SkipBrokenOption,
    StoreOption,
    SuiteArgument,
    print_json,
)
from harness.errors import HarnessError


def run(
    suite: SuiteArgument,
    profile: ProfileOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    only: OnlyOption = None,
    store: StoreOption = DEFAULT_STORE,
    executor: Annotated[str, typer.Option(help="Where trials run: `ray` or `local`.")] = "ray",
    address: Annotated[
        str | None, typer.Option(help="Address of a running Ray cluster; none starts Ray here.")
    ] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs to use; all there are by default.")] = None,
    prune: Annotated[
        str | None, typer.Option(metavar="SCHEDULER", help="End poor trials early: `asha` or `median`.")
    ] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            "--tracker", metavar="NAME", help="Show trials in a tracker, such as tensorboard. Repeatable."
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run trials again that the store holds.")] = False,
    preflight: PreflightOption = True,
    skip_broken: SkipBrokenOption = False,
) -> None:
    """Run what is missing of a suite, then report.

    Trials that the store holds as complete are not run again. Ctrl-C writes checkpoints;
    the same command goes on where it stopped.
    """
    from harness import api
    from harness.store.read import open_store
    from harness.terminal.board import Board, announce, conclude, showing
    from harness.terminal.console import stderr, stdout

    workers = api.connect(address, executor=executor)
    prepared = api.prepare(
        suite,
        profile=profile,
        overrides=set_ or (),
        seeds=seeds,
        only=only or (),
        store=store,
        cpus=cpus,
        machine=None if workers is None else workers.machine,
        prune=prune,
        trackers=tracker or (),
        fresh=fresh,
        skip_broken=skip_broken,
    )
    if preflight:
        prepared = prepared.checked(skip_broken=skip_broken)
    prepared = prepared.within_budget()
    progress = stderr()
    announce(prepared, progress)
    board = Board.of(prepared)
    with showing(board, progress) as listener:
        outcome = api.execute(
            prepared, executor=executor, address=address, workers=workers, listener=listener
        )
    if outcome.over_budget:
        progress.print(
            f"stopped by the budget: {outcome.over_budget}; the same command goes on from here, "
            "if what is left fits into the budget"
        )
        raise typer.Exit(EXIT_FAILED)
    if outcome.stopped:
        progress.print(
            f"stopped by the rules for failures: {outcome.stopped}; what was written stays, "
            "and the same command goes on from there"
        )
        raise typer.Exit(EXIT_FAILED)
    if outcome.interrupted:
        noticed = outcome.by_signal == "SIGUSR1"  # a scheduler's, some time before the limit
        progress.print(
            "interrupted at the scheduler's notice (SIGUSR1); the same command, in a job that is queued "
            "again, goes on where this one stopped"
            if noticed
            else "interrupted; the same command goes on where this one stopped"
        )
        raise typer.Exit(EXIT_INTERRUPTED)
    record = open_store(store).run(outcome.run_id)
    written = api.report(outcome.run_id, store=store)
    conclude(record, written, stdout())
    if outcome.failed:
        raise typer.Exit(EXIT_FAILED)


def plan(
    suite: SuiteArgument,
    profile: ProfileOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    only: OnlyOption = None,
    store: StoreOption = DEFAULT_STORE,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs to plan for.")] = None,
    preflight: Annotated[
        bool | None,
        typer.Option(
            "--preflight/--no-preflight",
            help="Try models and time steps; done by default unless the plan is large.",
        ),
    ] = None,
    skip_broken: SkipBrokenOption = False,
    diff: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="Show what changes from a suite, a plan as JSON, or a run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a suite would run: variants, seeds, what is missing, and what it takes.

    Models are tried, and steps timed, for a second or two, and not at all where there are more
    than a thousand trials; `validate` and `run` try every distinct model.
    """
    from harness import api
    from harness.planning.difference import compare_plans
    from harness.terminal.console import stdout
    from harness.terminal.plan_page import print_difference, print_plan

    prepared = api.prepare(
        suite,
        profile=profile,
        overrides=set_ or (),
        seeds=seeds,
        only=only or (),
        store=store,
        cpus=cpus,
        skip_broken=skip_broken,
    )
    if diff is not None:
        found = compare_plans(api.other_plan(diff, profile=profile, store=store), prepared.plan)
        print_json(asdict(found)) if as_json else print_difference(found, stdout())
        return
    if preflight is None:
        preflight = len(prepared.plan.trials) <= api.LARGE
    if preflight:
        prepared = prepared.checked(seconds=api.PLAN_SECONDS, skip_broken=skip_broken)
    timing = api.TIMING_SECONDS if preflight else 0.0
    refusal: HarnessError | None = None
    try:
        prepared = prepared.within_budget(timing_seconds=timing)
    except HarnessError as error:  # told when it is seen what takes how much
        refusal = error
    expected = prepared.estimate(timing_seconds=timing)
    if as_json:
        print_json(prepared.to_json(expected))
    else:
        print_plan(prepared, expected, stdout())
    if refusal is not None:
        raise refusal


def validate(
    suites: Annotated[list[str], typer.Argument(metavar="SUITE...", help="Suite files, or names of suites.")],
    profile: ProfileOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find everything that is wrong with suites; nothing runs but one small step of each distinct model.

    Without --profile a suite is checked as it stands and under each of its profiles.
    """
    from harness import api
    from harness.terminal.console import stdout
    from harness.terminal.plan_page import print_validation

    found = [one for name in suites for one in api.validate(name, profile=profile, overrides=set_ or ())]
    print_json([asdict(one) for one in found]) if as_json else print_validation(found, stdout())
    if any(one.problems for one in found):
        raise typer.Exit(EXIT_BAD_INPUT)

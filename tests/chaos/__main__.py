"""`python -m tests.chaos WORLD=FAULTS ...`: a world is an executor and a store, such as `ray:folder`.

Prints every fault as it is made, then a table, and exits with 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.chaos import checks
from tests.chaos.cluster import RayCluster
from tests.chaos.driver import HARNESS
from tests.chaos.episode import Episode, Log, Plan, environment
from tests.chaos.processes import (
    adopt_orphans,
    bury_orphans,
    descendants,
    end_all,
    end_with_parent,
    wait_until_gone,
    words,
)
from tests.chaos.stores import BucketStore, FolderStore, Store
from tests.chaos.study import suite_text

WEIGHTS = {
    "kill -9 of a worker": 6,
    "kill -9 of one of two processes of a trial": 3,
    "kill -9 of a node's raylet": 4,
    "kill -9 of the driver": 4,
    "SIGINT to the driver": 2,
    "SIGTERM to the driver": 2,
    "SIGUSR1 to the driver": 2,
    "SIGSTOP of a worker, for good": 1,
    "full disk": 2,
    "store out of reach": 3,
    "store hangs": 3,
    "second driver": 2,
}
SHORT = (
    "kill -9 of a worker",
    "kill -9 of one of two processes of a trial",
    "kill -9 of a node's raylet",
    "kill -9 of the driver",
    "SIGTERM to the driver",
    "store out of reach",
)
ONLY_RAY = {"kill -9 of a node's raylet"}
ONLY_FOLDER = {"full disk"}
ONLY_BUCKET = {"store hangs"}
# Ray's own, of a node whose raylet was killed: they stay for about a minute.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
LEFT_SECONDS = 30.0


@dataclass
class Result:
    """What became of one world."""

    world: str
    log: Log
    seconds: float = 0.0
    episodes: int = 0
    trials: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    problems: list[str] = field(default_factory=list)


def main() -> int:
    arguments = _parse()
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"ended by signal {number}"))
    if arguments.short:
        end_with_parent()
    try:
        return _run_worlds(arguments)
    finally:
        end_all()


def _run_worlds(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="harness-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    environment(folder)
    print(f"everything lies in {folder}", flush=True)
    suite, calm = folder / "suite.yaml", folder / "calm.yaml"
    suite.write_text(
        suite_text(
            epochs=arguments.epochs,
            seeds=arguments.seeds,
            stall_minutes=arguments.stall_seconds / 60,
            two_processes=not arguments.one_process,
        )
    )
    two_processes = not arguments.one_process
    calm.write_text(suite_text(epochs=arguments.epochs, seeds=arguments.seeds, two_processes=two_processes))
    undisturbed = _run_undisturbed(calm, folder / "undisturbed")
    results = [
        run_world(world, int(faults), arguments, suite, undisturbed, folder)
        for world, _, faults in (text.partition("=") for text in arguments.worlds)
    ]
    for result in results:
        show(result)
    return int(any(result.problems for result in results))


def run_world(
    world: str, faults: int, arguments: argparse.Namespace, suite: Path, undisturbed: str, folder: Path
) -> Result:
    """Make the faults in one world, over as many episodes as they last for."""
    executor, kind = world.split(":")
    folder = folder / world.replace(":", "-")
    folder.mkdir()
    weights = {
        name: weight
        for name, weight in WEIGHTS.items()
        if not (
            (executor != "ray" and name in ONLY_RAY)
            or (kind != "folder" and name in ONLY_FOLDER)
            or (kind != "bucket" and name in ONLY_BUCKET)
            or (arguments.one_process and "one of two" in name)
            or (arguments.short and name not in SHORT)
        )
    }
    plan = Plan.drawn(weights, faults, arguments.seed)
    result = Result(world, Log(folder / "log.jsonl"))
    began = time.monotonic()
    while plan.kinds:
        result.episodes += 1
        episode = folder / f"episode-{result.episodes}"
        _run_episode(result, executor, kind, plan, suite, undisturbed, episode)
        if result.problems:
            break
    result.seconds = time.monotonic() - began
    return result


def _run_episode(
    result: Result, executor: str, kind: str, plan: Plan, suite: Path, undisturbed: str, folder: Path
) -> None:
    store: Store = FolderStore(folder) if kind == "folder" else BucketStore(folder)
    if kind == "folder" and not store.mounted and "full disk" in plan.kinds:
        print("no full disks: this process may not mount one")
        plan.kinds = [one for one in plan.kinds if one != "full disk"]
    cluster = None
    try:
        try:
            cluster = RayCluster(store.environment) if executor == "ray" else None
            Episode(suite, store, cluster, plan, result.log, folder).run()
            found = checks.look(store.address, undisturbed, store.files())
            result.problems += found.problems
            result.trials += found.complete
            result.attempts.update(found.attempts)
            result.hidden += len(found.hidden)
            for name in found.hidden:
                result.log.write("left in the store", name=name)
        except AssertionError as error:
            result.problems.append(str(error))
        finally:
            if cluster is not None:
                cluster.close()
        result.problems += _left_over(store)
    finally:
        store.close()


def _left_over(store: Store) -> list[str]:
    """Return the processes that outlive drivers and cluster; those of the store are still wanted."""
    wanted = set(store.processes())
    ours = [one for one in descendants() if one.pid not in wanted and not _is_helper(one)]
    left = wait_until_gone(ours, LEFT_SECONDS)
    bury_orphans(wanted)
    return [f"process left: {one.pid} {' '.join(words(one))[:160]}" for one in left]


def _is_helper(process: psutil.Process) -> bool:
    """Tell Ray's agents and Python's keeper of semaphores from what is ours."""
    command = " ".join(words(process))
    return command.startswith(AGENTS) or "resource_tracker" in command


def _run_undisturbed(suite: Path, store: Path) -> str:
    if not store.exists():
        command = [HARNESS, "run", str(suite), "--store", str(store), "--executor", "local"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return str(store)


def show(result: Result) -> None:
    """Print what was done in a world, and what was found after it."""
    log = result.log
    print(f"\n{result.world}: {'as promised' if not result.problems else 'BROKEN'}")
    print(f"  faults           {log.made.total()}")
    for name, count in sorted(log.made.items(), key=lambda item: -item[1]):
        print(f"    {count:3d}  {name}")
    print(f"  driver starts    {log.starts}, ended with {dict(sorted(log.codes.items()))}")
    print(f"  tracebacks       {log.tracebacks or 'none'}")
    print(f"  complete trials  {result.trials}, in {result.episodes} runs of the suite")
    print(f"  attempts         {', '.join(f'{n} {name}' for name, n in sorted(result.attempts.items()))}")
    print(f"  hidden files     {result.hidden}")
    print(f"  wall time        {result.seconds / 60:.1f} min")
    for problem in result.problems:
        print(f"  ! {problem}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("worlds", nargs="+", metavar="WORLD=FAULTS")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=24, help="of every trial")
    parser.add_argument("--seeds", type=int, default=3, help="trials of every variant")
    parser.add_argument("--stall-seconds", type=float, default=30.0)
    parser.add_argument("--one-process", action="store_true", help="no trial in two processes")
    parser.add_argument("--short", action="store_true", help="fewer kinds of fault, as the tests take them")
    parser.add_argument("--folder", help="to work in; a new temporary one by default")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

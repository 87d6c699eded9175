"""Trials in several real processes of this machine: launched as torchrun does, gloo between them."""

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.memory_sink import MemorySink


@dataclass
class Job:
    """One trial, or a part of it."""

    spec: dict
    folder: Path
    resume_from: Path | None = None
    """Folder of the attempt to go on from; its newest state is looked up when the turn comes."""
    stop_after: int | None = None
    keep: tuple[str, ...] = ("best", "last")
    poisoned: bool = False
    """Whether the second process reads a target that is NaN at its third batch."""


@dataclass
class Outcome:
    """What the first process of a trial found."""

    facts: dict
    metrics: list
    costs: list
    kept: dict
    pictures: int
    tables: dict
    states: list
    ended: str
    engine: dict = field(default_factory=dict)
    evidence: dict | None = None


class Follower(MemorySink):
    """The sink of a process that does not report: it must never be told anything but facts."""

    def report(self, epoch, metrics, costs):
        raise AssertionError("only the first process reports")

    def picture(self, name, epoch, png):
        raise AssertionError("only the first process draws")

    def images(self, epoch, columns):
        raise AssertionError("only the first process keeps the table of images")

    def weights(self, name, epoch, path):
        raise AssertionError("only the first process keeps weights")

    def state_saved(self, state):
        raise AssertionError("only the first process saves")

    def stop_requested(self):
        raise AssertionError("only the first process is asked")


def launch(jobs, *, processes, cache):
    """Run jobs, or functions, one after the other in new processes; return what the first one returned."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="spawn",
        max_restarts=0,
        monitor_interval=0.1,
    )
    return elastic_launch(config, entrypoint=work)(jobs, cache)[0]


def work(jobs, cache):
    """Run jobs in one of the processes; all jobs share a process group, as under a scheduler's own."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    warnings.simplefilter("ignore")
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        return [job() if callable(job) else _train(job, cache) for job in jobs]
    finally:
        dist.destroy_process_group()


def _train(job, cache):
    import torch

    from harness.errors import NonFiniteLossError
    from harness.specify import respecify
    from harness.train import trial
    from harness.train.loop import Interrupted, Loop
    from harness.train.progress import newest_state

    loops = []

    class Seen(Loop):
        def run(self):
            loops.append(self)
            super().run()

        def batches(self):
            for number, batch in enumerate(super().batches()):
                if job.poisoned and number == 2 and self.processes.rank == 1:
                    batch["target"] = batch["target"] * float("nan")
                yield batch

    trial.Loop = Seen
    _share_out_small_weights()
    torch.distributed.barrier()  # what the first process wrote last for the job before is there
    leads = os.environ["RANK"] == "0"
    kind = MemorySink if leads else Follower
    state = newest_state(job.resume_from / "state") if job.resume_from else None
    sink = kind(job.folder, resume_from=state, stop_after=job.stop_after)
    spec, processes = respecify(job.spec), int(os.environ["WORLD_SIZE"])
    ended, evidence = "complete", None
    try:
        trial.run_trial(spec, sink, cache=cache, threads=1, keep=job.keep, processes=processes)
    except Interrupted:
        ended = "interrupted"
    except NonFiniteLossError as error:
        ended, evidence = "non_finite", error.evidence
    if not leads:
        return None
    return Outcome(
        sink.facts,
        sink.metrics,
        sink.costs,
        sink.kept,
        len(sink.pictures),
        sink.tables,
        sink.states,
        ended,
        engine_of(loops[0]),
        evidence,
    )


def _share_out_small_weights():
    """Let ZeRO-3 gather every weight when it is needed; it would keep small ones whole for speed."""
    from harness.train.strategy import zero

    original = getattr(zero.engine_settings, "original", zero.engine_settings)

    def settings(*args, **kwargs):
        found = original(*args, **kwargs)
        found["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return found

    settings.original = original
    zero.engine_settings = settings


def engine_of(loop):
    """Return what trains the model, seen from outside of the harness."""
    from torch.distributed.tensor import DTensor

    model = loop.model
    found = {"class": type(model).__name__, "optimizer": type(loop.optimizer).__name__}
    if hasattr(model, "zero_optimization_stage"):
        found["stage"] = model.zero_optimization_stage()
        found["sharing"] = type(model.optimizer).__name__
        found["partitioned"] = sum(hasattr(p, "ds_id") for p in model.module.parameters())
    found["sharded"] = sum(isinstance(p, DTensor) for p in model.parameters())
    return found

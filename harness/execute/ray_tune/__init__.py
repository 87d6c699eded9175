"""Trials in Ray, scheduled by Ray Tune. The only package that imports ray.

Tune is the scheduler and nothing else: which trials there are, what is kept of them, how
they go on and whether they are tried again is decided by the driver and read from the
store. One Tune trial is one attempt, in a worker process that stays warm between trials
(`reuse_actors`) and that Tune replaces when an attempt raises.

    environment   what Ray reads from the environment, set before it is imported
    cluster       a cluster: started here or joined; its nodes and their room
    travel        what goes to other machines: code, suites, plugins; and what they must see
    feed          the attempts that Tune is to begin, asked of the driver one by one
    relay         what happens, told to the driver; attempts that it wants killed
    losses        why an attempt died
    group         an attempt of several processes
    pruner        Tune's schedulers, asked which attempts to end early
    executor      the parts together
"""

from harness.execute.ray_tune import environment  # noqa: F401  # before ray is imported
from harness.execute.ray_tune.executor import RayExecutor

__all__ = ["RayExecutor"]

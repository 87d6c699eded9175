"""One run of a suite on a cluster: what `harness run` is told there, and whether its store can be reached."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from harness.errors import HarnessError
from harness.launch.settings import SECRET_IN_ADDRESS


@dataclass(frozen=True)
class Job:
    """A suite, its store and the options of `harness run`."""

    name: str
    suite: str
    store: str
    options: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows `harness run`."""
        return (self.suite, "--store", self.store, *self.options)

    def command(self, address: str) -> tuple[str, ...]:
        """Return the whole command, for a machine of the cluster at an address."""
        return ("harness", "run", *self.arguments, "--executor", "ray", "--address", address)


def new_job(suite: str, store: str, options: tuple[str, ...]) -> Job:
    """Return a job with a name of its own: when it was made, and a random end."""
    return Job(f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", suite, store, options)


def require_reachable(store: str | None, shared: str | None, *, several_machines: bool) -> str:
    """Return the store of a job that all machines of its cluster can reach.

    Args:
        store: as given; none where neither the job nor the cluster names one.
        shared: the folder that all machines see; none where there is none.
        several_machines: whether the cluster has more than this one.

    Raises:
        HarnessError: there is no store, it carries credentials, or other machines would not see it.
    """
    if store is None:
        raise HarnessError("where are results kept? --store s3://bucket/folder, or `up ... --set store=...`")
    if SECRET_IN_ADDRESS.search(store):
        raise HarnessError("credentials do not belong into --store; give them to the machines themselves")
    if not several_machines or ("://" in store and not store.startswith("file:")):
        return store
    if shared is not None and _is_below(store.removeprefix("file://"), shared):
        return store
    seen = f"is not below {shared}, which all machines see" if shared else "is a folder of one machine"
    raise HarnessError(
        f"the store {store} {seen}; expected an object store, such as s3://bucket/folder, or a folder below "
        "the setting `shared` of the cluster (`up ... --set shared=/mount`)"
    )


def _is_below(path: str, folder: str) -> bool:
    inner, outer = PurePosixPath(path), PurePosixPath(folder)
    return ".." not in inner.parts and inner.is_relative_to(outer)

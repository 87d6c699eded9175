"""Nodes that are asked to leave: attempts there write their state in time, and go on elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from harness.execute.ray_tune.cluster import leaving_nodes, node_of_actor, nodes_of_group
from harness.execute.ray_tune.feed import parcel_of
from harness.execute.ray_tune.group import Placed
from harness.store.write import StoreWriter

LOOK_SECONDS = 2.0


class Departures:
    """Asks attempts on nodes that drain to end, once each.

    Args:
        store: through which they are asked; none asks nobody.
    """

    def __init__(self, store: StoreWriter | None) -> None:
        self.store = store
        self.looked = 0.0
        self.asked: set[str] = set()
        """Names of the parcels whose nodes were asked to leave."""

    def look(self, under_way: Mapping[str, Any], groups: Mapping[str, Placed]) -> None:
        """Look for nodes that drain; at most every two seconds.

        Args:
            under_way: name of a parcel -> trial of Tune.
            groups: name of a parcel -> where its processes are, of attempts with several.
        """
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        leaving = leaving_nodes()
        if not leaving:
            return
        for name, trial in under_way.items():
            if name not in self.asked and _nodes(trial, groups.get(name)) & leaving:
                self.asked.add(name)
                task = parcel_of(trial).task
                if self.store is not None:
                    self.store.ask_to_end(task.trial_id, task.attempt, "preempted")


def _nodes(trial: Any, group: Placed | None) -> set[str]:
    if group is not None:
        return nodes_of_group(group.group)
    actor = trial.temporary_state.ray_actor
    node = node_of_actor(actor) if actor is not None else None
    return {node} - {None}  # type: ignore[return-value]

"""Weights & Biases."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.config import TrackerConfig
from harness.trackers.accelerated import started
from harness.trackers.base import Opened, TrackedRun, Tracker

if TYPE_CHECKING:
    from accelerate.tracking import WandBTracker


class WandBConfig(TrackerConfig):
    """Parameters of `WandB`."""

    project: str | None = None
    """Project that the runs go to; the name of the suite when none."""
    entity: str | None = None
    """Team or user; the account's own when none."""
    mode: Literal["online", "offline"] | None = None
    """`offline` keeps the runs below the store, for `wandb sync`; what WANDB_MODE says when none."""
    tags: tuple[str, ...] = ()
    """Labels of the runs."""


class WandB(Tracker):
    """Weights & Biases, online or offline; the key comes from WANDB_API_KEY or `wandb login`."""

    Config = WandBConfig
    needs = ("wandb",)

    def __init__(self, config: WandBConfig, run: TrackedRun) -> None:
        super().__init__(config, run)
        self.inner: WandBTracker

    def start(self, settings: Mapping[str, Any]) -> Opened:
        """Begin a run; its group is the run of the suite."""
        from accelerate.tracking import WandBTracker

        os.environ |= {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
        config: WandBConfig = self.config
        self.inner = WandBTracker(
            config.project or self.run.suite,
            name=self.run.name,
            group=self.run.run_id,
            dir=self.run.folder,
            entity=config.entity,
            mode=config.mode,
            tags=list(config.tags),
        )
        started(self.inner)
        self.inner.store_init_configuration(dict(settings))
        run = self.inner.tracker
        return Opened(run.id, run.url or str(Path(run.dir).parent))

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Log the values; the step is the epoch."""
        self.inner.log(dict(values), step=epoch)

    def picture(self, name: str, png: bytes, epoch: int) -> None:
        """Log a picture."""
        from PIL import Image

        self.inner.log_images({f"sample/{name}": [Image.open(io.BytesIO(png))]}, step=epoch)

    def finish(self, status: str) -> None:
        """Say how the attempt ended; a run that failed is marked so."""
        run = self.inner.tracker
        run.summary["status"] = status
        run.finish(exit_code=int(status == "failed"))

"""TensorBoard: event files in a folder."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import TrackerConfig
from harness.trackers.accelerated import started
from harness.trackers.base import Opened, TrackedRun, Tracker

if TYPE_CHECKING:
    from accelerate.tracking import TensorBoardTracker


class TensorBoardConfig(TrackerConfig):
    """Parameters of `TensorBoard`."""


class TensorBoard(Tracker):
    """Event files below the store, for TensorBoard; needs no network and no account.

    One folder an attempt: `trackers/tensorboard/<run>/<variant>/seed-<seed>`. The configuration stands in the
    tab of hyperparameters.
    """

    Config = TensorBoardConfig

    def __init__(self, config: TensorBoardConfig, run: TrackedRun) -> None:
        super().__init__(config, run)
        self.inner: TensorBoardTracker

    def start(self, settings: Mapping[str, Any]) -> Opened:
        """Open the event file."""
        from accelerate.tracking import TensorBoardTracker

        name = f"{self.run.run_id}/{self.run.name}"
        self.inner = TensorBoardTracker(name, self.run.folder)
        started(self.inner)
        self._note_settings(settings)
        return Opened(name, str(Path(self.run.folder) / name))

    def _note_settings(self, settings: Mapping[str, Any]) -> None:
        """Write hyperparameters into the run itself; Accelerate would make a second run for them."""
        writer = self.inner.tracker
        package = type(writer).__module__.rpartition(".")[0]  # of torch, or tensorboardX where that is all
        summary = importlib.import_module(f"{package}.summary")
        plain = {key: "none" if value is None else value for key, value in settings.items()}
        for one in summary.hparams(plain, {}):
            writer.file_writer.add_summary(one)

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Write scalars; the step is the epoch."""
        self.inner.log(dict(values), step=epoch)

    def picture(self, name: str, png: bytes, epoch: int) -> None:
        """Write a picture."""
        import numpy as np
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[None]
        self.inner.log_images({f"sample/{name}": pixels}, step=epoch, dataformats="NHWC")

    def finish(self, status: str) -> None:
        """Write how the attempt ended, and close the file."""
        self.inner.log({"status": status})
        self.inner.finish()

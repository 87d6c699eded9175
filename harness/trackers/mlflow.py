"""MLflow."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import TrackerConfig
from harness.trackers.accelerated import started
from harness.trackers.base import Opened, TrackedRun, Tracker

if TYPE_CHECKING:
    from accelerate.tracking import MLflowTracker

NOT_IN_A_NAME = re.compile(r"[^\w\-./ :]")
ENDS = {"complete": "FINISHED", "failed": "FAILED"}
"""Status of an attempt -> that of MLflow; KILLED for the others."""


class MLflowConfig(TrackerConfig):
    """Parameters of `MLflow`."""

    experiment: str | None = None
    """Experiment that the runs go to; the name of the suite when none. MLFLOW_EXPERIMENT_NAME wins."""
    tracking_uri: str | None = None
    """Address of the server; what MLFLOW_TRACKING_URI says when none, and without that a folder of the
    store."""


class MLflow(Tracker):
    """MLflow, on a server or in a folder below the store; the credentials come from the environment."""

    Config = MLflowConfig
    needs = ("mlflow",)

    def __init__(self, config: MLflowConfig, run: TrackedRun) -> None:
        super().__init__(config, run)
        self.inner: MLflowTracker

    def start(self, settings: Mapping[str, Any]) -> Opened:
        """Begin a run; the experiment is made where need be."""
        from accelerate.tracking import MLflowTracker

        config: MLflowConfig = self.config
        address = config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or self._folder()
        os.environ |= {"MLFLOW_TRACKING_URI": address, "GIT_PYTHON_REFRESH": "quiet"}
        tags = {"run": self.run.run_id, "variant": self.run.variant, "trial": self.run.trial_id}
        self.inner = MLflowTracker(config.experiment or self.run.suite, run_name=self.run.name, tags=tags)
        with self._one_at_a_time(address):
            started(self.inner)
        self.inner.store_init_configuration(dict(settings))
        info = self.inner.tracker.info
        if address.startswith(("http://", "https://")):
            place = f"{address.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
        else:
            place = str(Path(self.run.folder) / info.experiment_id / info.run_id)
        return Opened(info.run_id, place)

    def _folder(self) -> str:
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # else MLflow 3 asks for a database, with sqlalchemy
        return Path(self.run.folder).absolute().as_uri()

    @contextlib.contextmanager
    def _one_at_a_time(self, address: str) -> Iterator[None]:
        """Let two trials that begin at once not make an experiment twice; a server sees to that itself."""
        from filelock import FileLock

        if address.startswith("file:"):
            with FileLock(Path(self.run.folder) / ".lock"):
                yield
        else:
            yield

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Log the values; the step is the epoch.

        MLflow restricts names, and in its folder `train/loss` cannot be beside `train/loss/mse`: the first
        slash stays, further ones become dots, and `colour=red` becomes `colour:red`.
        """
        self.inner.log({_name(key): value for key, value in values.items()}, step=epoch)

    def picture(self, name: str, png: bytes, epoch: int) -> None:
        """Keep a picture as an artifact."""
        with tempfile.TemporaryDirectory(prefix="harness-picture-") as folder:
            file = Path(folder) / f"{name}-{epoch:04d}.png"
            file.write_bytes(png)
            self.inner.log_artifact(str(file), "samples")

    def finish(self, status: str) -> None:
        """Say how the attempt ended."""
        import mlflow

        mlflow.set_tag("status", status)
        mlflow.end_run(ENDS.get(status, "KILLED"))


def _name(key: str) -> str:
    first, slash, rest = key.replace("=", ":").partition("/")
    return NOT_IN_A_NAME.sub("_", f"{first}{slash}{rest.replace('/', '.')}")

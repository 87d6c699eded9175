"""A sink that keeps everything in memory, and stops or resumes where a test says."""

from pathlib import Path


class MemorySink:
    def __init__(
        self, folder: Path, *, resume_from: Path | None = None, stop_after: int | None = None
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.resume_from = resume_from
        self.stop_after = stop_after
        self.steps = 0
        self.facts: dict = {}
        self.metrics: list[dict] = []
        self.costs: list[dict] = []
        self.pictures: dict[tuple[str, int | None], bytes] = {}
        self.states: list[Path] = []
        self.signs_of_life = 0
        self.tables: dict[int, dict[str, list]] = {}
        self.kept: dict[str, tuple[int, Path]] = {}

    def describe(self, **facts):
        self.facts.update(facts)

    def report(self, epoch, metrics, costs):
        self.metrics += metrics
        self.costs += costs

    def picture(self, name, epoch, png):
        self.pictures[name, epoch] = png

    def images(self, epoch, columns):
        self.tables[epoch] = columns

    def weights(self, name, epoch, path):
        self.kept[name] = (epoch, path)

    def state_saved(self, state):
        self.states.append(state)

    def progressed(self):
        self.signs_of_life += 1

    def stop_requested(self):
        self.steps += 1
        return self.stop_after is not None and self.steps >= self.stop_after

    def curve(self, metric, split="validation"):
        return [
            row["value"]
            for row in self.metrics
            if row["metric"] == metric and row["split"] == split and row["label"] is None
        ]

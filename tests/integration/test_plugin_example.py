"""The project in docs/examples/plugin, planned and trained as a user would, by path of the project alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store.read import StoreReader

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "plugin"
RUN = """
import sys
from pathlib import Path

from harness.execute.driver import assess, run_plan
from harness.execute.local import LocalExecutor
from harness.planning.build import build_plan
from harness.store.read import StoreReader
from harness.store.write import create_store
from harness.suite import load_suite


def main():
    plan = build_plan(load_suite("own_parts", seeds=1))
    store = create_store(Path(sys.argv[1]))
    if len(sys.argv) > 2:  # somebody edits the plugin after planning
        source = Path("my_parts.py")
        source.write_text(source.read_text().replace("flatten(1).mean(1)", "flatten(1).sum(1)"))
    executor = LocalExecutor(cpus=1)
    try:
        assessment = assess(plan, StoreReader(store.root))
        run_plan(plan, store, executor, assessment=assessment, listener=lambda event: None, cache=Path(sys.argv[1]) / "cache")
    finally:
        executor.close()


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the example in a copy of its folder, and returns its attempts."""

    def run(*edited):
        project, script, store = tmp_path / "project", tmp_path / "elsewhere" / "run.py", tmp_path / "store"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
        script.parent.mkdir()
        script.write_text(RUN)
        result = subprocess.run(
            [sys.executable, str(script), str(store), *edited], cwd=project, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return StoreReader(store)

    return run


def test_the_example_trains_with_its_own_loss_augmentation_metric_and_model(run):
    store = run()
    attempts = store.attempts.to_pylist()
    assert [attempt["status"] for attempt in attempts] == ["complete"] * 2, attempts[0]["error"]
    specs = {attempt["variant"]: json.loads(attempt["spec"]) for attempt in attempts}
    assert specs["smooth"]["loss"] == {"my_parts:Charbonnier": {"weight": 1.0, "epsilon": 0.01}}
    assert specs["smooth"]["primary_metric"] == "wrong_pixels"
    assert list(specs["smooth"]["plugins"]) == [
        "my_parts:Charbonnier",
        "my_parts:FlatNet",
        "my_parts:InputNoise",
        "my_parts:WrongPixels",
    ]
    for variant in ("squared", "smooth"):
        trial = next(attempt["trial_id"] for attempt in attempts if attempt["variant"] == variant)
        rows = store.attempts_of(trial)[0].metrics
        wrong = [row["value"] for row in rows if row["metric"] == "wrong_pixels" and row["label"] is None]
        assert len(wrong) == 2  # epochs
        assert all(0 < value <= 1 for value in wrong)
        recorded = {row["metric"] for row in rows if row["split"] == "train" and row["label"] is None}
        assert recorded == {"loss", "loss/charbonnier" if variant == "smooth" else "loss/mse"}


def test_a_plugin_that_changed_after_planning_stops_its_trials(run):
    attempts = run("edit").attempts.to_pylist()
    assert [attempt["status"] for attempt in attempts] == ["failed"] * 2
    assert attempts[0]["error_class"] == "TrialError"
    assert "the plugin my_parts:" in attempts[0]["error"]
    assert "changed since the plan was made" in attempts[0]["error"]

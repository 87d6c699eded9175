"""A regression for real: the flip moves the input and not the target, and the gate tells it from noise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import harness

SUITE = """\
suite: flipped
question: Does a model still learn where to paint?
task: colorization
primary_metric: psnr
base:
  data: {name: polygons, size: 32, train_size: 256, validation_size: 24}
  model: {name: conditional_unet, widths: [8, 16], layers: 1}
  loss: {mse: 1.0}
  optimizer: {name: adamw, lr: 5e-3}
  schedule: {name: warmup_cosine}
  train: {epochs: 10, batch_size: 8, clip_norm: 1.0, augment: [{name: hflip, probability: 1.0}]}
vary:
  - factor: loss_terms
    levels:
      mse: {}
seeds: 3
"""
SOUND = "change(value[rows])) if value.dim() == 4 else value"
BROKEN = 'change(value[rows])) if key == "image" else value'
CONTENT = ("suites", "ablations", "reports", "cluster")


class Project:
    """A project of its own, with a copy of the harness that can be broken and repaired."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.code = folder / "project", folder / "code"
        root = Path(harness.__file__).parents[1]
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / "harness", self.code / "harness", ignore=ignore)
        for name in CONTENT:
            shutil.copytree(root / name, self.code / "harness" / name, ignore=ignore)
        self.folder.mkdir()
        (self.folder / "flipped.yaml").write_text(SUITE)

    def replace(self, text: str, other: str) -> None:
        file = self.code / "harness" / "data" / "augment.py"
        source = file.read_text()
        assert source.count(text) == 1
        file.write_text(source.replace(text, other))

    def harness(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(self.code), "PYTHONDONTWRITEBYTECODE": "1"}
        program = "from harness.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def run(self) -> None:
        done = self.harness("run", "flipped.yaml", "--executor", "local", "--fresh", "--no-preflight")
        assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_a_broken_augmentation_fails_the_gate_and_its_repair_passes(tmp_path):
    project = Project(tmp_path)
    project.run()
    assert project.harness("baseline", "set", "main", "latest").returncode == 0

    project.replace(SOUND, BROKEN)
    project.run()
    found = project.harness("gate", "--junit", "gate.xml", "--markdown", "gate.md")
    assert found.returncode == 3, found.stdout + found.stderr
    assert found.stdout.startswith("✗ regressed: flipped")
    case = ElementTree.parse(project.folder / "gate.xml").getroot().find(".//testcase")
    message = case.find("failure").get("message")
    assert (case.get("classname"), case.get("name")) == ("flipped.mse", "psnr")
    assert " dB worse [" in message
    comment = (project.folder / "gate.md").read_text()
    assert comment.startswith("### ✗ regressed")
    assert "PSNR" in comment and " dB worse" in comment
    assert "training code: changed" in comment

    project.replace(BROKEN, SOUND)
    project.run()
    repaired = project.harness("gate", "--strict")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "✓ pass" in repaired.stdout

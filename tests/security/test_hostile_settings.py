"""Settings of clusters that somebody else wrote do not break out of their place in a manifest."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from harness.errors import HarnessError
from harness.launch.control import render
from harness.launch.kinds import KINDS
from harness.redact import redact

VALUES = [
    "$(touch owned)",
    "`touch owned`",
    '"; touch owned; "',
    "'; touch owned; '",
    "x\ntouch owned",
    "x\r#SBATCH --wrap=touch",
    "a: b\n  privileged: true",
    "{{ 7*7 }}",
    "${HOME}",
    "&& touch owned",
    "| touch owned",
    "> /etc/owned",
    "!!python/object/apply:os.system [id]",
    "*anchor",
    "# comment",
    "\x00",
    "\u2028touch owned",
    "-oProxyCommand=touch owned",
    "s3://key:hunter22@bucket/x",
]
PAIRS = [
    (kind, name)
    for kind, about in KINDS.items()
    for name, field in about.settings.model_fields.items()
    if "str" in str(field.annotation)
]


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_a_hostile_setting_is_refused_or_stays_a_value(kind, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in VALUES:
        try:
            manifests = render(kind, [f"{name}={value}"])
        except HarnessError as error:
            assert "hunter22" not in redact(str(error))  # as the command line prints it
            continue
        for file, text in manifests.items():
            assert "hunter22" not in text
            require_same_shape(file, text, render(kind, []).get(file))
    assert not list(tmp_path.rglob("owned"))


def require_same_shape(file: str, text: str, honest: str | None) -> None:
    """A value may change values, never what there is: keys of YAML, commands of a script."""
    if file.endswith(".yaml"):
        documents = list(YAML(typ="safe").load_all(text))
        assert honest is None or [type(one) for one in documents] == [
            type(one) for one in YAML(typ="safe").load_all(honest)
        ]
        assert "privileged" not in text
        return
    checked = subprocess.run(
        [shutil.which("bash") or "bash", "-n"], input=text, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    bare = [line for line in text.splitlines() if line.strip().startswith("touch")]
    assert bare == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_of_a_cluster_leads_nowhere(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("../x", "/etc/x", "..", "a/b", "-x", "A B", "", "x" * 100):
        with pytest.raises(HarnessError):
            render(kind, [f"name={name}"])
    assert list(Path().iterdir()) == []

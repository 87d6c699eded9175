"""A suite that somebody else wrote: it is refused at its place, or plans what it says; it reaches nothing else.

Thousands of mutated suites are in `tests/fuzz`; here is what an attacker would try first.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import HarnessError, SuiteError
from harness.planning.build import plan_suite
from harness.suite import load_suite
from harness.testing.tiny import TINY

MARK = "PRIVATE-TO-THE-READER"
SECONDS = 10.0  # of computing


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Go to a project that holds a file which no suite may run, and a secret beside it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "private").write_text(MARK)
    return folder


def refuse(text: str | bytes, folder: Path) -> str:
    path = folder / "suite.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    began = time.process_time()
    with pytest.raises(HarnessError) as error:
        plan_suite(path)
    assert time.process_time() - began < SECONDS
    return str(error.value)


TAGS = [
    "!!python/object/apply:os.system ['touch owned']",
    "!!python/object/new:os.system ['touch owned']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!include ../private",
    "!ENV HOME",
]


@pytest.mark.parametrize("value", TAGS)
def test_a_tag_is_refused_and_runs_nothing(project, value):
    assert "tag" in refuse(TINY + f"description: {value}\n", project)
    assert not (project / "owned").exists()


DOCUMENTS: dict[str, str | bytes] = {
    "aliases that grow": "a0: &a0 [x]\n"
    + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 10}]\n" for n in range(1, 30)),
    "an alias to itself": "suite: &a [*a]\n",
    "merge keys": "base: &b {x: 1}\nvary: {<<: *b}\n",
    "keys given twice": TINY + "seeds: 3\n",
    "deep lists": "[" * 5000,
    "deep mappings": "a: " + "{a: " * 500 + "1" + "}" * 500,
    "a huge number": TINY + f"budget: {{hours: {'9' * 5000}}}\n",
    "a number in another base": TINY + "folds: 0x" + "f" * 4000 + "\n",
    "an exponent": TINY + "budget: {hours: 1e999999999}\n",
    "a huge word": TINY + "description: " + "x" * 300_000 + "\n",
    "fifty megabytes": b"#" * (50 << 20),
    "a nul": TINY.encode() + b"description: a\x00b\n",
    "a nul by its escape": TINY + 'description: "a\\0b"\n',
    "an escape sequence": TINY + 'description: "\\e[2J"\n',
    "bytes that are no text": TINY.encode() + b"description: \xff\xfe\n",
    "another encoding": (TINY + "description: x\n").encode("utf-16"),
    "turned around": TINY + "description: \u202etxt.exe\n",
    "several documents": TINY + "---\n" + TINY,
    "a directive": "%YAML 99.9\n---\n" + TINY,
    "a key that is a list": "? [a, b]\n: 1\n" + TINY,
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_made_to_hurt_is_refused(project, name):
    message = refuse(DOCUMENTS[name], project)
    assert len(message) < 20_000
    assert not set(message) & set("\x00\x1b\u202e")


NAMES = [
    "x\n",
    "../x",
    "/etc/passwd",
    "~/x",
    "a/b",
    "..",
    "-rf",
    "a b",
    "\x1b[2J",
    "a\u202eb",
    "x" * 101,
    "$(id)",
    "`id`",
    "{{7*7}}",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["suite", "factor", "level", "claim", "profile", "template"])
def test_names_are_names(project, place, name):
    quoted = '"' + "".join(f"\\u{ord(sign):04x}" for sign in name) + '"'
    text = {
        "suite": TINY.replace("suite: tiny", f"suite: {quoted}"),
        "factor": TINY.replace("factor: loss_terms", f"factor: {quoted}"),
        "level": TINY.replace("      l1:", f"      {quoted}:"),
        "claim": TINY.replace("id: lab-helps", f"id: {quoted}"),
        "profile": TINY + f"profiles: {{{quoted}: {{seeds: 1}}}}\n",
        "template": TINY + f"report: {{template: {quoted}}}\n",
    }[place]
    message = refuse(text, project)
    assert not set(message) & set("\x00\x1b\u202e")


@pytest.mark.parametrize(
    "name", ["../private", "/etc/passwd", "~/.ssh/id_rsa", "../../project/x", "x\x00y", ""]
)
@pytest.mark.parametrize("how", ["use", "extends", "include"])
def test_no_message_quotes_a_file_that_is_no_suite(project, how, name):
    quoted = '"' + "".join(f"\\u{ord(sign):04x}" for sign in name) + '"'
    line = {
        "use": f"  - use: {quoted}\n",
        "extends": f"extends: {quoted}\n",
        "include": f"include: [{quoted}]\n",
    }[how]
    text = TINY.replace("vary:\n", f"vary:\n{line}") if how == "use" else line + TINY
    message = refuse(text, project)
    assert MARK not in message
    assert "root:" not in message


@pytest.mark.parametrize("name", ["ablations", "suites"])
def test_a_linked_file_of_a_catalog_is_read_as_yaml_and_never_quoted(project, tmp_path, name):
    (project / name).mkdir()
    (project / name / "evil.yaml").symlink_to(tmp_path / "private")
    (tmp_path / "private").write_text(f"{MARK}: {MARK}\n")
    line = "extends: evil\n" if name == "suites" else ""
    text = line + (TINY.replace("vary:\n", "vary:\n  - use: evil\n") if name == "ablations" else TINY)
    refuse(text, project)  # its keys may be named, as those of any suite; what it is is the reader's own file


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["itself", "extends", "use"])
def test_a_pipe_or_a_device_is_no_suite(project, how):
    (project / "ablations").mkdir()
    pipe = {"use": project / "ablations" / "pipe.yaml"}.get(how, project / "pipe.yaml")
    os.mkfifo(pipe)
    if how == "itself":
        for path in (pipe, Path("/dev/zero")):
            with pytest.raises(HarnessError):
                load_suite(path)
        return
    text = (
        "extends: pipe.yaml\n" + TINY
        if how == "extends"
        else TINY.replace("vary:\n", "vary:\n  - use: pipe\n")
    )
    refuse(text, project)


@pytest.mark.parametrize(
    "target",
    [
        "os:system",
        "subprocess:Popen",
        "builtins:eval",
        "../evil:X",
        "evil.py:X",
        "os.path:join",
        "__main__:x",
        "a:b:c",
    ],
)
def test_a_plugin_is_a_class_of_its_kind(project, target):
    """What a plugin's module does when it is imported is its own: see docs/security.md."""
    refuse(TINY.replace("loss: {mse: 1.0}", f'loss: {{"{target}": 1.0}}'), project)


def test_thousands_of_wrong_settings_make_a_short_message(project):
    lines = "".join(f"  unknown_{number}: {number}\n" for number in range(2_000))
    message = refuse(TINY.replace("vary:\n", f"{lines}vary:\n"), project)
    assert len(message.splitlines()) <= 102


def test_memory_stays_bounded(project):
    """In a process of its own, with one more GiB than it has when it begins to read."""
    (project / "suite.yaml").write_text(DOCUMENTS["aliases that grow"])
    program = (
        "import resource; from harness.suite import load_suite; from harness.errors import HarnessError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)\n"
        "try: load_suite('suite.yaml')\n"
        "except HarnessError: print('refused')\n"
    )
    assert resource.getpagesize()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "refused\n", done.stderr


@pytest.mark.parametrize(
    "text", ["\x1b]0;owned\x07", "\x9b31m", "a\u202eb", "[red]x[/red]", ":smile:", "{{ 7*7 }}"]
)
@pytest.mark.parametrize("option", ["suite", "--set", "--profile", "--only"])
def test_what_is_typed_comes_back_without_its_commands(project, command, text, option):
    (project / "suite.yaml").write_text(TINY)
    words = {
        "suite": [text],
        "--set": ["suite.yaml", "--set", f"base.{text}={text}"],
        "--profile": ["suite.yaml", "--profile", text],
        "--only": ["suite.yaml", "--only", f"{text}={text}"],
    }[option]
    if option != "suite":
        with pytest.raises(HarnessError) as error:
            arguments = {
                "--set": {"overrides": words[2:]},
                "--profile": {"profile": text},
                "--only": {"only": words[2:]},
            }
            plan_suite(words[0], **arguments[option])
        if option != "--only":  # selected from plain texts; the command line shows all messages made visible
            assert not set(str(error.value)) & set("\x1b\x07\x9b\u202e")
        return
    done = command("plan", *words)
    assert done.code == 2
    assert not set(done.out + done.err) & set("\x1b\x07\x9b\u202e")


def test_a_problem_that_is_no_mapping_is_still_a_suite_error(project):
    path = project / "suite.yaml"
    path.write_text("just words")
    with pytest.raises(SuiteError):
        load_suite(path)

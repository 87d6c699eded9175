"""No suite, however wrong, does more than be refused with its place; none takes long, none runs code.

`HARNESS_FUZZ=20000 pytest tests/fuzz` tries as many cases, and `HARNESS_FUZZ_SEED` others.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
from pathlib import Path
from random import Random

import pytest
from corpus import BESIDE, FORBIDDEN_MODULES, HEAD, suites
from mutations import Case, Mutator

from harness import specify
from harness.errors import HarnessError, SuiteError
from harness.plan import Plan
from harness.planning import build
from harness.planning.build import PlannedSuite, plan_suite
from harness.registry import BUILTIN, Registry
from harness.testing.tiny import TINY

CASES = int(os.environ.get("HARNESS_FUZZ", "2000"))
SEED = int(os.environ.get("HARNESS_FUZZ_SEED", "0"))
SECONDS = 10.0  # of computing, for one case; ten thousand variants take 4
MEMORY = 2 << 30  # bytes, on top of what the process has
MOST_SHOWN = 10
PLACED = re.compile(r":\d+:\d+$|^--(set|seeds) ")


class TooSlow(BaseException):
    """Not an Exception, so that nothing in between catches it."""


def _too_slow(*_: object) -> None:
    raise TooSlow(f"more than {SECONDS} s")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Go to a project; while there, computing time and memory are limited."""
    for name in BESIDE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    fresh = Registry(BUILTIN)
    monkeypatch.setattr(build, "registry", fresh)
    monkeypatch.setattr(specify, "registry", fresh)
    fresh.load("task", "colorization")  # torch, before memory is limited
    modules = set(sys.modules)
    handler = signal.signal(signal.SIGPROF, _too_slow)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_AS, limits)
    signal.signal(signal.SIGPROF, handler)
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] == "fuzz_parts":
            del sys.modules[name]


def plan(case: Case, folder: Path) -> PlannedSuite | HarnessError:
    """Plan a case within its time; return the plan or why there is none."""
    for name, text in BESIDE.items():
        (folder / name).write_bytes(case.beside.get(name, text.encode()))
    path = folder / "suite.yaml"
    path.write_bytes(case.suite)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return plan_suite(path, **case.options)
    except HarnessError as error:
        return error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def check_refusal(error: HarnessError) -> None:
    """A refusal says where, in a few lines that any terminal can show."""
    text = str(error)
    text.encode("utf-8")
    assert len(text) < 100_000, f"a message of {len(text)} characters"
    hidden = re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert hidden is None, f"{hidden.group()!r} in the message"
    if isinstance(error, SuiteError):
        assert error.problems
        for problem in error.problems:
            assert PLACED.search(str(problem.position)), f"no place: {problem.position}"
    else:
        assert re.search(r"\.yaml|--only|--set|suite", text), "names no place"


def check_plan(planned: PlannedSuite) -> None:
    """Names and ids are distinct, every variant has all of its trials, and JSON keeps the plan."""
    plan = planned.plan
    names = [variant.name for variant in plan.variants]
    assert len(set(names)) == len(names), "two variants have one name"
    assert plan.reference == names[0]
    assert len({trial.id for trial in plan.trials}) == len(plan.trials), "two trials have one id"
    count = dict.fromkeys(names, 0)
    for trial in plan.trials:
        for name in trial.variants:
            count[name] += 1
    assert set(count.values()) == {len(plan.seeds) * (plan.folds or 1)}, "trials are missing"
    assert all(variant.previous in {None, *names} for variant in plan.variants)
    if len(plan.trials) <= 1000:
        assert Plan.model_validate_json(plan.model_dump_json()) == plan


def complaint(case: Case, folder: Path) -> str | None:
    """Return what goes wrong with a case beyond being refused, or none."""
    try:
        result = plan(case, folder)
        if isinstance(result, HarnessError):
            check_refusal(result)
        else:
            check_plan(result)
    except (Exception, TooSlow) as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "?"
        return f"{type(error).__name__} at {place}: {str(error)[:300]}"
    return None


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_suite_does_more_than_be_refused_with_its_place(project):
    canary = project / "canary"
    complaints: dict[str, tuple[int, Case, str]] = {}
    for index, case in enumerate(Mutator(Random(SEED), str(canary)).cases(CASES)):
        found = complaint(case, project)
        if found is not None:
            complaints.setdefault(found[:80], (index, case, found))
    shown = [
        f"case {index}: {found}\n  options {case.options}\n  beside {case.beside}\n  {case.suite[:1500]!r}"
        for index, case, found in list(complaints.values())[:MOST_SHOWN]
    ]
    assert not complaints, f"{len(complaints)} kinds of complaints\n" + "\n".join(shown)
    assert not canary.exists()
    assert not [name for name in FORBIDDEN_MODULES if name in sys.modules]


def test_the_suites_that_mutations_start_from_plan(project):
    for text in suites():
        result = plan(Case(text.encode()), project)
        assert isinstance(result, PlannedSuite), str(result)


# ---- what was found in this way, and is no refusal or crash


def planned(text: str, folder: Path, **options: object) -> PlannedSuite:
    result = plan(Case(text.encode(), options=dict(options)), folder)
    assert isinstance(result, PlannedSuite), str(result)
    return result


def refusal(text: str, folder: Path, **options: object) -> list[str]:
    result = plan(Case(text.encode(), options=dict(options)), folder)
    assert isinstance(result, SuiteError)
    return [str(problem).removeprefix(f"{folder}/") for problem in result.problems]


def test_a_step_whose_predecessor_is_excluded_has_none(project):
    text = f"{TINY}exclude: [{{match: {{loss_terms: l1}}, why: x}}]\n"
    text = text.replace("versus: l1", "versus: mse")
    found = planned(text, project).plan.variants
    assert [(variant.name, variant.previous) for variant in found] == [("mse", None), ("lab", None)]


def test_a_mistake_in_an_element_that_an_override_gave_is_placed_in_the_override(project):
    override = "base.train.augment.0=flop"
    assert refusal(TINY, project, overrides=[override])[0].startswith(
        f"--set {override}  base.train.augment[0]"
    )


def test_an_option_that_stands_in_two_places_can_be_changed_in_one(project):
    (project / "ablations/twice.yaml").write_text(
        "factor: twice\noptions: {w: {default: [8, 16]}}\n"
        "levels:\n  a: {set: {model.widths: '${w}', model.layers: 2}}\n  b: {set: {model.widths: '${w}'}}\n"
    )
    text = f"{HEAD}vary: [{{use: twice}}]\nseeds: 1\n"
    plan_ = planned(text, project, overrides=["vary.0.levels.a.set.'model.widths'.0=32"]).plan
    widths = {name: plan_.trial(name, 0).spec["model"]["widths"] for name in ("a", "b")}
    assert widths == {"a": [32, 16], "b": [8, 16]}


def test_a_difference_below_a_key_with_dots_and_quotes_is_a_change(project):
    loss = '"a.b\'c:X"'
    text = HEAD.replace("mse: 1.0", f"mse: 1.0, {loss}: {{weight: 0.5}}")
    assert refusal(f"{text}vary: [{{factor: f, each: loss.*, except: [mse]}}]\n", project) == [
        "suite.yaml:8:20  base.loss.a.b'c:X: expected package.module:Name, got 'a.b'c:X'"
    ]


def test_an_anchor_may_be_given_anew(project):
    text = TINY.replace("epochs: 3", "epochs: &n 3").replace("seeds: 2", "seeds: &n 2")
    assert len(planned(text, project).plan.seeds) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("seeds: 1000\nfolds: 100\nvary: [{use: skips}]\n", "expected 100000 trials at most"),
        (
            f"vary: [{{factor: f, path: data.seed, values: [{', '.join(map(str, range(10_001)))}]}}]",
            "10000 variants",
        ),
        ("include: [loop.yaml]\n", "more than 200 files"),
        ("description: '\u202eevil'\n", "are not text"),
        ("vary: [{factor: f, levels: {a: {set: {a..b: 1}}}}]\n", "'a..b' is no path"),
    ],
)
def test_what_is_too_much_or_reads_otherwise_than_it_is_is_refused(project, more, message):
    head = HEAD.replace("train_size: 64", "train_size: 6400")
    assert message in "\n".join(refusal(head + more, project))

"""What a trial occupies: as the suite says, else by what it needs and what there is."""

import math
import os
import stat
import sys
from pathlib import Path

import pytest

from harness import allotment as module
from harness.allotment import (
    CUDA_CONTEXT_BYTES,
    Allotment,
    ExpectedMemory,
    Machine,
    Room,
    allot,
    at_once,
    gpu_share,
    model_of,
    on_gpu,
    smaller,
    this_machine,
)
from harness.errors import HarnessError
from harness.grammar import Resources
from harness.validation import Mistakes, check

GIB = 2**30
TWO_GPUS = Machine(cpus=8, gpus=2, gpu_memory_bytes=80 * GIB, memory_bytes=64 * GIB)
ALONE = {"world_size": 1, "train": {"batch_size": 16, "accumulation": 1}}
OF_TWO = ALONE | {"world_size": 2}
OF_FOUR = ALONE | {"world_size": 4}

PRINTED = """\
0, GPU-11aa22bb-0000-0000-0000-000000000000, NVIDIA A100-SXM4-80GB, 81920
1, GPU-33cc44dd-0000-0000-0000-000000000000, NVIDIA A100-SXM4-40GB, 40960
"""


# As a suite says it


@pytest.mark.parametrize(
    ("memory", "bytes_"),
    [("8 GiB", 8 * GIB), ("512 MB", 512_000_000), (4096, 4096), ("1.5GiB", 3 * GIB // 2)],
)
def test_memory_is_read_with_its_unit(memory, bytes_):
    assert check(Resources, {"memory": memory}).memory == bytes_


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"memory": "8 apples"}, "could not interpret byte unit: apples"),
        ({"memory": 0}, "at least one byte"),
        ({"memory": True}, "got true"),
        ({"gpus": 1.5}, "a part of one GPU, or a whole number of them, got 1.5"),
        ({"gpus": -1}, "greater than or equal to 0"),
        ({"fewest_processes": 0}, "greater than or equal to 1"),
        ({"acelerator": "A100"}, "did you mean 'accelerator'?"),
    ],
)
def test_resources_that_mean_nothing_are_refused(written, message):
    with pytest.raises(Mistakes) as caught:
        check(Resources, written)
    assert message in str(caught.value)


# What there is


def gpu_query(folder, printed, code=0):
    """Put a program in the place of nvidia-smi that prints what a machine with such GPUs prints."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.write({printed!r})\nsys.exit({code})\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Return a function: what nvidia-smi prints, CUDA_VISIBLE_DEVICES -> this machine."""

    def machine(printed, visible=None, code=0):
        gpu_query(tmp_path, printed, code)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        module._installed_gpus.cache_clear()
        try:
            return this_machine(4)
        finally:
            module._installed_gpus.cache_clear()

    return machine


def test_gpus_are_those_of_the_driver_and_the_smallest_counts(gpus):
    found = gpus(PRINTED)
    assert (found.cpus, found.gpus, found.gpu_memory_bytes) == (4, 2, 40 * GIB)
    assert found.accelerators == ("A100",)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H200", "H200"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA GeForce RTX 3090", "GeForce-RTX-3090"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX-PRO-6000"),
    ],
)
def test_models_have_the_names_that_ray_gives_them(name, model):
    assert model_of(name) == model


@pytest.mark.parametrize(
    ("visible", "count", "memory"),
    [
        ("", 0, None),
        ("-1", 0, None),
        ("0", 1, 80 * GIB),
        ("1,0", 2, 40 * GIB),
        ("GPU-33cc", 1, 40 * GIB),
        ("0,-1,1", 1, 80 * GIB),  # CUDA stops at the first that leads nowhere
        ("7", 0, None),
        ("MIG-5f7e", 1, None),
    ],
)
def test_gpus_that_are_hidden_do_not_count(gpus, visible, count, memory):
    found = gpus(PRINTED, visible)
    assert (found.gpus, found.gpu_memory_bytes) == (count, memory)


def test_a_driver_that_fails_and_memory_that_is_not_told_are_taken_as_they_are(gpus):
    assert gpus("NVIDIA-SMI has failed", code=9).gpus == 0
    shared = gpus("0, GPU-1, NVIDIA GB10, [N/A]\n")
    assert (shared.gpus, shared.gpu_memory_bytes) == (1, None)


def test_this_machine_has_the_memory_that_its_kernel_tells():
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = int(next(line for line in lines if line.startswith("MemTotal:")).split()[1]) * 1024
    assert 0 < this_machine().memory_bytes <= total * 1.001


def test_a_limit_of_the_container_counts_as_the_memory(tmp_path, monkeypatch):
    limit, none = tmp_path / "memory.max", tmp_path / "none"
    limit.write_text("1073741824\n")
    none.write_text("max\n")
    monkeypatch.setattr(module, "CGROUP_LIMITS", (limit, none, tmp_path / "absent"))
    assert module.main_memory_bytes() == GIB


@pytest.mark.parametrize(
    ("given", "machine", "expected"),
    [
        (None, TWO_GPUS, True),
        (None, Machine(cpus=2), False),
        (0, TWO_GPUS, False),
        (1, Machine(cpus=2), True),
    ],
)
def test_trials_compute_on_gpus_where_there_are_any_unless_the_suite_says_otherwise(given, machine, expected):
    assert on_gpu(Resources(gpus=given), machine) is expected


# What a trial gets


def given(spec=ALONE, machine=TWO_GPUS, gpu=None, main=None, **resources):
    return allot(Resources(**resources), spec, machine, ExpectedMemory(gpu, main))


def test_what_the_suite_gives_is_what_a_trial_gets():
    found = given(cpus=4, gpus=0.5, memory="2 GiB", accelerator="A100", node={"zone": "a"})
    assert found == Allotment(1, 4, 0.5, 2 * GIB, "A100", {"zone": "a"})
    assert given(gpus=0, gpu=10 * GIB) == Allotment()


def test_a_share_of_a_gpu_is_the_expected_memory_with_a_quarter_on_top_and_the_context():
    # (10 x 1.25 + 0.6) / 80 = 0.164: two eighths
    assert given(gpu=10 * GIB).gpus == 0.25
    assert given(gpu=GIB).gpus == 0.125
    assert given(gpu=50 * GIB).gpus == 0.875
    assert given(gpu=70 * GIB).gpus == 1.0
    assert given(gpu=500 * GIB).gpus == 1.0


def test_shares_leave_room_for_what_is_expected():
    for expected in range(1, 60):
        share = gpu_share(expected * GIB, 80 * GIB)
        assert share * 80 * GIB >= expected * GIB * 1.25 + CUDA_CONTEXT_BYTES
        assert (share * 8).is_integer()


def test_a_whole_gpu_where_nothing_is_known_and_none_where_there_is_none():
    assert given().gpus == 1.0
    assert given(gpu=GIB, machine=Machine(cpus=8, gpus=1)).gpus == 1.0
    assert given(gpu=GIB, machine=Machine(cpus=8)).gpus == 0.0


def test_each_of_several_processes_has_a_gpu_of_its_own():
    assert given(OF_TWO, gpu=GIB) == Allotment(processes=2, gpus=1.0)
    with pytest.raises(HarnessError, match="each of which needs a GPU of its own; give 1"):
        given(OF_TWO, gpus=0.5)


def test_main_memory_is_that_of_like_trials_with_a_quarter_on_top_and_no_more_than_there_is():
    machine = Machine(cpus=2, memory_bytes=8 * GIB)
    assert given(machine=machine, main=4 * GIB).memory_bytes == 5 * GIB
    assert given(machine=machine, main=7 * GIB).memory_bytes == 8 * GIB
    assert given(machine=machine).memory_bytes is None
    assert given(machine=machine, main=4 * GIB, memory="1 GiB").memory_bytes == GIB


def test_an_elastic_trial_may_have_fewer_processes_that_split_its_batch_evenly():
    whole = Allotment(processes=4)
    counts = [one.processes for one in smaller(whole, OF_FOUR, 1)]
    assert counts == [4, 2, 1]  # not 3, which 16 samples do not divide into
    assert [one.processes for one in smaller(whole, OF_FOUR, 2)] == [4, 2]
    assert smaller(whole, OF_FOUR, None) == (whole,)
    in_parts = OF_FOUR | {"train": {"batch_size": 24, "accumulation": 2}}
    assert [one.processes for one in smaller(whole, in_parts, 1)] == [4, 3, 2, 1]


def test_a_least_number_of_processes_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(HarnessError, match="fewest_processes: 3 processes do not split 16 samples evenly"):
        given(OF_FOUR, fewest_processes=3, gpus=0)
    assert given(OF_TWO, fewest_processes=3, gpus=0).processes == 2  # it asks for fewer anyway


# Room


def test_a_gpu_is_never_given_away_beyond_the_whole_of_it():
    room = Room(Machine(cpus=8, gpus=2))
    placed = [room.place(Allotment(gpus=0.4)) for _ in range(5)]
    assert [one and one.gpus for one in placed] == [((0,),), ((0,),), ((1,),), ((1,),), None]
    room.free(placed[1])
    assert room.place(Allotment(gpus=0.5)).gpus == ((0,),)


def test_thirds_of_a_gpu_are_three():
    room = Room(Machine(cpus=8, gpus=1))
    placed = [room.place(Allotment(gpus=1 / 3)) for _ in range(3)]
    assert None not in placed
    assert room.place(Allotment(gpus=0.01)) is None
    for one in placed:
        room.free(one)
    assert room.place(Allotment(gpus=1.0)).gpus == ((0,),)


def test_whole_gpus_are_not_taken_from_those_that_are_shared():
    room = Room(Machine(cpus=8, gpus=3))
    room.place(Allotment(gpus=0.25))
    assert room.place(Allotment(processes=2, gpus=1)).gpus == ((1,), (2,))
    assert room.place(Allotment(gpus=1)) is None
    assert room.place(Allotment(gpus=0.75)).gpus == ((0,),)


def test_what_does_not_fit_occupies_nothing():
    room = Room(Machine(cpus=4, gpus=2, memory_bytes=8 * GIB))
    for too_much in (
        Allotment(cpus=5),
        Allotment(processes=3, cpus=2),
        Allotment(memory_bytes=9 * GIB),
        Allotment(processes=2, memory_bytes=5 * GIB),
        Allotment(processes=3, gpus=1),
        Allotment(gpus=3),
    ):
        assert room.place(too_much) is None
    assert room.place(Allotment(processes=2, cpus=2, gpus=1, memory_bytes=4 * GIB)) is not None
    assert room.place(Allotment()) is None


def test_trials_at_once_are_limited_by_whatever_is_short():
    assert at_once([Allotment(cpus=2)], Machine(cpus=7)) == 3
    assert at_once([Allotment(gpus=0.25)], TWO_GPUS) == 8
    assert at_once([Allotment(gpus=0.25, cpus=2)], TWO_GPUS) == 4
    assert at_once([Allotment(memory_bytes=30 * GIB)], TWO_GPUS) == 2
    assert at_once([Allotment(gpus=1), Allotment(gpus=0.5)], TWO_GPUS) == 2
    assert at_once([Allotment(cpus=9)], TWO_GPUS) == 1
    assert at_once([], TWO_GPUS) == 1


@pytest.mark.parametrize(
    ("allotment", "words"),
    [
        (Allotment(), "1 CPU"),
        (Allotment(cpus=4, gpus=0.25), "4 CPUs and 0.25 GPU"),
        (Allotment(2, 1, 1.0, 8 * GIB), "2 processes of 1 CPU, 1 GPU and 8.0 GiB"),
        (Allotment(gpus=2, accelerator="A100"), "1 CPU and 2 A100s"),
    ],
)
def test_an_allotment_is_told_in_words(allotment, words):
    assert str(allotment) == words
    assert math.isclose(allotment.all_gpus, allotment.processes * allotment.gpus)

"""What a run on this machine opens to the network: nothing but loopback, and no dashboard."""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path

import psutil
import pytest

from harness.testing.tiny import TINY
from tests.support.harness_process import HarnessProcess


def listening(process: psutil.Process) -> set[tuple[str, int, str]]:
    """Return address, port and name of every socket that a process and those below it listen on."""
    found = set()
    for one in [process, *process.children(recursive=True)]:
        try:
            name = " ".join(one.cmdline())[:120]
            sockets = one.net_connections("inet")
        except psutil.Error:
            continue
        found |= {(at.laddr.ip, at.laddr.port, name) for at in sockets if at.status == psutil.CONN_LISTEN}
    return found


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None  # ::ffff:127.0.0.1
    return (mapped or found).is_loopback


@pytest.mark.slow
def test_ray_on_this_machine_listens_on_loopback_alone(tmp_path: Path) -> None:
    suite = tmp_path / "tiny.yaml"
    suite.write_text(TINY.replace("seeds: 2", "seeds: 1"))
    run = HarnessProcess(
        suite,
        tmp_path / "store",
        "--executor",
        "ray",
        "--cpus",
        "1",
        "--only",
        "loss_terms=mse",
        "--no-preflight",
    )
    process, found = psutil.Process(run.process.pid), set()
    while run.process.poll() is None:
        try:
            found |= listening(process)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.5)
    assert run.process.wait() == 0, run.log.read_text()
    assert any("raylet" in name for *_, name in found), "Ray's servers were not seen"
    assert sorted(one for one in found if not is_loopback(one[0])) == []
    assert not [one for one in found if one[1] == 8265 or "dashboard/dashboard.py" in one[2]]

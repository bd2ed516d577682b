"""The bench itself: a quick run measures what needs only BusyBox and small neighbours, and cleans up."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.source_tree import ROOT

PEERS = {"crun run": "crun", "unshare": "unshare"}


@pytest.mark.needs_root
@pytest.mark.needs_cgroup
@pytest.mark.parametrize("peer", PEERS)
def test_a_quick_run_compares_the_library_with_a_neighbour(peer: str, tmp_path: Path) -> None:
    if shutil.which(PEERS[peer]) is None:
        pytest.skip(f"{PEERS[peer]} is not installed")
    rows = quick_run(tmp_path, "start")
    row = next(row for row in rows if row["peer"] == peer)
    assert row["verdict"] != "skipped", row["note"]
    assert row["ratio"]["median"] > 0


@pytest.mark.needs_root
@pytest.mark.needs_cgroup
def test_a_quick_run_says_how_much_a_monitor_keeps(tmp_path: Path) -> None:
    rows = quick_run(tmp_path, "fifty")
    row = next(row for row in rows if row["unit"] == "MiB")
    assert 0 < row["ours"]["median"] < 1


@pytest.mark.needs_root
@pytest.mark.needs_cgroup
def test_a_quick_run_measures_a_nic_and_what_passes_through_it(tmp_path: Path) -> None:
    for program in ("iperf3", "ip", "nft", "dnsmasq"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    started, passed = quick_run(tmp_path, "network")
    assert started["verdict"] != "skipped", started["note"]
    assert passed["unit"] == "Gbit/s"
    assert passed["ratio"]["median"] > 0, passed["note"]


@pytest.mark.needs_root
@pytest.mark.needs_cgroup
def test_a_quick_run_imports_pulls_creates_keeps_and_copies(tmp_path: Path) -> None:
    rows = quick_run(tmp_path, "images", "storage")
    measured = {row["what"]: row for row in rows if row["verdict"] != "skipped"}
    for what in ("import of an image archive", "pull of an image from a registry on loopback"):
        if shutil.which("skopeo") and shutil.which("umoci") and shutil.which("docker-registry"):
            assert measured[what]["theirs"]["median"] > 0, rows
    for verb in ("create", "snapshot create", "copy"):
        assert measured[f"cloison {verb} of 8 MB on overlay, whole process"]["ours"]["median"] > 0, rows


def quick_run(directory: Path, *rows: str) -> list[dict[str, Any]]:
    """Run it as `make bench` does; it exits with 1 when it leaves anything behind."""
    written = directory / "bench.json"
    command = [sys.executable, "-m", "bench", "--quick", "--root", str(directory / "root"), "--json", str(written)]
    done = subprocess.run([*command, *rows], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: list[dict[str, Any]] = json.loads(written.read_text())["rows"]
    return answer

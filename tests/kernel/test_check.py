"""`cloison check` on this host, with other programs as witnesses."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cloison.runtime.check import Finding, check


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    """What is said about this host, by name."""
    return {finding.name: finding for finding in check(str(tmp_path_factory.mktemp("data")))}


@pytest.mark.parametrize("name", ["nft", "dnsmasq", "mmdebstrap"])
def test_a_program_is_found_where_the_shell_finds_it(found: dict[str, Finding], name: str) -> None:
    assert (found[name].status == "ok") == (shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin") is not None)


@pytest.mark.parametrize("name", ["memory", "cpu", "pids"])
def test_a_controller_is_where_the_kernel_mounted_it(found: dict[str, Finding], name: str) -> None:
    if found[name].status == "missing":
        pytest.skip(f"this host has no {name} controller")
    mountpoint = found[name].detail.partition(" in ")[2].partition(",")[0]
    shown = subprocess.run(["findmnt", "-no", "FSTYPE,OPTIONS", mountpoint], capture_output=True, text=True, check=True)
    fstype, _, options = shown.stdout.strip().partition(" ")
    offered = Path(mountpoint, "cgroup.controllers").read_text() if fstype == "cgroup2" else options.replace(",", " ")
    assert name in offered.split()


def test_a_static_busybox_is_one_for_file(found: dict[str, Finding]) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    is_dynamic = subprocess.run(["ldd", busybox], capture_output=True).returncode == 0
    assert (found["busybox"].status == "limited") == is_dynamic


def test_every_ability_has_a_name_of_its_own(tmp_path: Path) -> None:
    names = [finding.name for finding in check(str(tmp_path))]
    assert len(names) == len(set(names))

"""What every test may ask for: the machine's abilities as markers, golden files, and the programs of build/.

A marker is a question with an answer of one line. A skip names what is missing, in words that say what to do about it.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite tests/golden/ with what the code says now")


def pytest_configure() -> None:
    if find_spec("cloison") is None:
        raise pytest.UsageError("cloison is not installed here: run `make build`, then .venv/bin/python -m pytest")


# --- markers: each answers with what is missing, or nothing ----------------------------------------------------------


def missing_root() -> str:
    return "" if os.geteuid() == 0 else "not root"


@functools.cache
def missing_userns() -> str:
    command = ["unshare", "--user", "--map-root-user", "true"]
    refused = subprocess.run(command, capture_output=True, text=True).returncode
    return "this user may not create user namespaces" if refused else ""


def missing_cgroup() -> str:
    trees = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")]
    is_writable = any((tree / "cgroup.procs").exists() and os.access(tree, os.W_OK) for tree in trees)
    return "" if is_writable else "no cgroup hierarchy is writable"


def missing_cgroup2() -> str:
    mounts = Path("/proc/self/mountinfo").read_text()
    return "" if " - cgroup2 " in mounts else "no cgroup v2 tree is mounted"


def missing_kvm() -> str:
    return "" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "/dev/kvm cannot be opened"


def missing_loop() -> str:
    for program in ("losetup", "mkfs.ext4"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return "" if os.access("/dev/loop-control", os.R_OK | os.W_OK) else "/dev/loop-control cannot be opened"


def missing_hugepages() -> str:
    sizes = [path.name for path in Path("/sys/kernel/mm/hugepages").glob("*")]
    if "hugepages-2048kB" not in sizes:
        return "the kernel has no huge pages of 2M"
    controllers = [line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()]
    return "" if "hugetlb" in controllers else "no cgroup controller counts huge pages"


def missing_lxcfs() -> str:
    if not shutil.which("lxcfs"):
        return "lxcfs is not installed"
    return "" if os.access("/dev/fuse", os.R_OK | os.W_OK) else "/dev/fuse cannot be opened"


def missing_debian() -> str:
    return missing_root() or ("" if shutil.which("mmdebstrap") else "mmdebstrap is not installed")


MISSING: dict[str, Callable[[], str]] = {
    "needs_root": missing_root,
    "needs_userns": missing_userns,
    "needs_cgroup": missing_cgroup,
    "needs_cgroup2": missing_cgroup2,
    "needs_kvm": missing_kvm,
    "needs_loop": missing_loop,
    "needs_hugepages": missing_hugepages,
    "needs_lxcfs": missing_lxcfs,
    "debian": missing_debian,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers():
        question = MISSING.get(marker.name)
        if question and (missing := question()):
            pytest.skip(f"{marker.name}: {missing}")


# --- golden files ----------------------------------------------------------------------------------------------------


class Blessing:
    """Equal to any text, which it writes into its file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __eq__(self, said: object) -> bool:
        if not isinstance(said, str):
            return NotImplemented
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(said)
        return True

    __hash__ = object.__hash__


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], object]:
    """`assert explain(plan) == golden("bind-read-only")` compares with tests/golden/bind-read-only.txt."""

    def expected(name: str) -> object:
        path = HERE / "golden" / f"{name}.txt"
        if request.config.getoption("--bless"):
            return Blessing(path)
        return path.read_text() if path.exists() else f"<{path.name} is not written yet: pytest --bless>"

    return expected


# --- programs that only tests run ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def launcher_test() -> Path:
    """The launcher with its named hooks compiled in."""
    return BUILD / "launcher-test"

"""What every test may ask for: the machine's abilities as markers, golden files, and the programs of build/.

A marker is a question with an answer of one line. A skip names what is missing, in words that say what to do about it.
In the guest of `make test-vm` (tools/vm) what it promises to have is never missing: there such a skip is a failure.

    CLOISON_TEST_PATIENCE   a factor for every deadline of a test: a machine under emulation is slow
    CLOISON_TEST_IMAGES     an image store with debian/12, so that none is built
    CLOISON_TEST_PROMISED   markers that may not lead to a skip, separated by spaces
"""

import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import patience

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite tests/golden/ with what the code says now")


def pytest_configure() -> None:
    if find_spec("cloison") is None:
        raise pytest.UsageError("cloison is not installed here: run `make build`, then .venv/bin/python -m pytest")
    # An example that takes long says something of the machine, which is busy, and nothing of the code.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
    # Who starts tests in the background of a shell script has them ignore Ctrl-C, and with them every program that a
    # test starts to see what that does. Source: POSIX, Shell Command Language, 2.9.3.1.
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that only the guest can run are for the guest; and their limits of time are as patient as the rest."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ONLY_IN_GUEST):
            item.add_marker("guest")
        limit = item.get_closest_marker("timeout")
        if limit is not None and patience.FACTOR != 1:
            item.add_marker(pytest.mark.timeout(patience.patient(limit.args[0])), append=False)


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


def missing_pure_v2() -> str:
    from cloison.kernel import cgroup_world

    kind = cgroup_world.detect().kind
    return "" if kind == "v2" else f"cgroups are {kind} here: make test-vm has pure v2"


def missing_systemd_host() -> str:
    return "" if Path("/run/systemd/system").is_dir() else "systemd is not this machine's first process: make test-vm"


def missing_quota() -> str:
    mounts = Path("/proc/self/mountinfo").read_text()
    return "" if "prjquota" in mounts else "nothing is mounted with project quotas: make test-vm"


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


def missing_systemd() -> str:
    return "" if Path("/run/systemd/system").is_dir() else "systemd is not process 1"


def missing_lxcfs() -> str:
    if not shutil.which("lxcfs"):
        return "lxcfs is not installed"
    return "" if os.access("/dev/fuse", os.R_OK | os.W_OK) else "/dev/fuse cannot be opened"


def missing_qemu() -> str:
    from tools.vm import session

    return session.missing_here()


def missing_debian() -> str:
    if os.environ.get("CLOISON_TEST_IMAGES"):
        return missing_root()
    return missing_root() or ("" if shutil.which("mmdebstrap") else "mmdebstrap is not installed")


@functools.cache
def lacks(answer: str) -> bool:
    """Whether the kernel refuses something to this user, by its name among the answers of the probe."""
    from cloison.kernel import probe  # not above: that it is installed is asked first

    with tempfile.TemporaryDirectory() as directory:
        return bool(getattr(probe.facts(f"{directory}/facts.json", directory).answers, answer) != 0)


def missing_vlan() -> str:
    return "this kernel has no VLAN interfaces" if lacks("vlan") else ""


def missing_ipvlan() -> str:
    return "this kernel has no ipvlan interfaces" if lacks("ipvlan") else ""


def missing_bridge_vlan() -> str:
    return "this kernel's bridges have no VLANs" if lacks("bridge_vlan") else ""


# What no machine that develops cloison can be relied on to have.
def missing_lvm() -> str:
    if shutil.which("lvcreate") is None:
        return "Debian package lvm2"
    done = subprocess.run(["modprobe", "--quiet", "dm_thin_pool"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "this kernel has no thin volumes (dm_thin_pool)"


ONLY_IN_GUEST = (
    "needs_bridge_vlan",
    "needs_ipvlan",
    "needs_lvm",
    "needs_project_quotas",
    "needs_pure_v2",
    "needs_systemd_host",
    "needs_vlan",
)
PROMISED = frozenset(os.environ.get("CLOISON_TEST_PROMISED", "").split())
MISSING: dict[str, Callable[[], str]] = {
    "needs_root": missing_root,
    "needs_userns": missing_userns,
    "needs_cgroup": missing_cgroup,
    "needs_cgroup2": missing_cgroup2,
    "needs_pure_v2": missing_pure_v2,
    "needs_systemd_host": missing_systemd_host,
    "needs_project_quotas": missing_quota,
    "needs_qemu": missing_qemu,
    "needs_vlan": missing_vlan,
    "needs_ipvlan": missing_ipvlan,
    "needs_bridge_vlan": missing_bridge_vlan,
    "needs_kvm": missing_kvm,
    "needs_loop": missing_loop,
    "needs_lvm": missing_lvm,
    "needs_hugepages": missing_hugepages,
    "needs_lxcfs": missing_lxcfs,
    "needs_systemd": missing_systemd,
    "debian": missing_debian,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers():
        question = MISSING.get(marker.name)
        if question and (missing := question()):
            if marker.name in PROMISED:
                pytest.fail(f"{marker.name}: {missing}", pytrace=False)
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

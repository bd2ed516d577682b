"""Steps that change what runs already, each alone in a plan, with the kernel's own files and other processes as
witnesses."""

import ctypes
import errno
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import CloisonError
from cloison.kernel import cgroup_world
from cloison.kernel.abi import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS, O_PATH
from cloison.plan.plan import Action, Plan
from cloison.plan.process_steps import Prlimit, Setns
from cloison.plan.steps import DeviceFilter, KillCgroup, Open, Step, Sysctl, Where, Write
from cloison.runtime import host_steps
from tests.patience import patient

pytestmark = [pytest.mark.guest, pytest.mark.needs_root, pytest.mark.needs_cgroup]

NO_LIMIT = (1 << 64) - 1
NOFILE = 7
# Two instructions: r0 = VERDICT; exit (Documentation/bpf/standardization/instruction-set.rst).
DENY, ALLOW = (struct.pack("<BBhiBBhi", 0xB7, 0, 0, verdict, 0x95, 0, 0, 0) for verdict in (0, 1))
ENDLESS = struct.pack("<BBhi", 0x05, 0, -1, 0)  # jumps to itself
BPF_PROG_QUERY, BPF_CGROUP_DEVICE = 16, 6
# A chain of processes, each of which makes the next and ends: who lists them always comes too late.
HOPPING = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
for _ in range(5): os.fork()
while True:
    if os.fork(): os._exit(0)
"""


def run(*steps: Step, inherited: tuple[int, ...] = ()) -> None:
    names = tuple(f"descriptor {number}" for number in inherited)
    host_steps.run(Plan("try", tuple(Action(step, Where.HOST) for step in steps), names), inherited)


def hierarchy(controller: str) -> str:
    """Where the v1 hierarchy of a controller is; "" stands for the v2 tree."""
    for found in cgroup_world.detect().hierarchies:
        if (found.version == 2) if not controller else (found.version == 1 and controller in found.controllers):
            return found.mountpoint
    pytest.skip(f"there is no v1 hierarchy of {controller}" if controller else "there is no v2 tree")


@pytest.fixture
def unified() -> Iterator[Path]:
    """A group in the v2 tree."""
    path = Path(hierarchy(""), "cloison-test-steps")
    path.mkdir()
    yield path
    path.rmdir()


def opens_null(group: Path) -> bool:
    """Whether a process in this group can open the null device."""
    script = 'echo 0 >"$0/cgroup.procs" && exec cat /dev/null'
    done = subprocess.run(["sh", "-c", script, group], capture_output=True, text=True)
    assert not done.stderr or "Operation not permitted" in done.stderr
    return done.returncode == 0


def programs(group: Path) -> int:
    """How many programs for devices are attached to a group, as bpf(2) says."""
    fd = os.open(group, os.O_RDONLY)
    try:
        query = bytearray(struct.pack("<IIIIQII", fd, BPF_CGROUP_DEVICE, 0, 0, 0, 0, 0).ljust(64, b"\0"))
        buffer = (ctypes.c_char * 64).from_buffer(query)
        libc = ctypes.CDLL(None, use_errno=True)
        number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
        assert libc.syscall(number, BPF_PROG_QUERY, buffer, 64) == 0 or ctypes.get_errno() == errno.ENOSPC
        return int(struct.unpack_from("<I", query, 24)[0])
    finally:
        os.close(fd)


@pytest.mark.needs_cgroup2
def test_a_device_filter_decides(unified: Path) -> None:
    assert opens_null(unified)
    run(DeviceFilter(str(unified), DENY))
    assert not opens_null(unified)


@pytest.mark.needs_cgroup2
def test_a_device_filter_takes_the_place_of_the_one_before(unified: Path) -> None:
    for program, is_open in ((DENY, False), (ALLOW, True), (DENY, False)):
        run(DeviceFilter(str(unified), program))
        assert (opens_null(unified), programs(unified)) == (is_open, 1)


@pytest.mark.needs_cgroup2
def test_an_empty_device_filter_is_none(unified: Path) -> None:
    run(DeviceFilter(str(unified), DENY))
    run(DeviceFilter(str(unified), b""))
    assert (opens_null(unified), programs(unified)) == (True, 0)


@pytest.mark.needs_cgroup2
@pytest.mark.parametrize("program", [ENDLESS, DENY[:-8], DENY[:-1]], ids=["endless", "no end", "half an instruction"])
def test_a_device_filter_that_the_kernel_refuses_leaves_the_one_before(unified: Path, program: bytes) -> None:
    run(DeviceFilter(str(unified), DENY))
    with pytest.raises(CloisonError, match="device_filter"):
        run(DeviceFilter(str(unified), program))
    assert (opens_null(unified), programs(unified)) == (False, 1)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with network, IPC and host name of its own."""
    command = ["unshare", "--net", "--ipc", "--uts", "sh", "-c", "echo; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read(1)
        yield process
        process.kill()


def limit_of(process: "subprocess.Popen[bytes]") -> list[str]:
    lines = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    return next(line.split()[3:5] for line in lines if line.startswith("Max open files"))


def test_the_limits_of_a_process_that_runs_are_set(sleeper: "subprocess.Popen[bytes]") -> None:
    run(Prlimit(sleeper.pid, NOFILE, 10, 20))
    assert limit_of(sleeper) == ["10", "20"]


def test_the_limits_of_a_process_that_has_ended_are_passed_over(sleeper: "subprocess.Popen[bytes]") -> None:
    sleeper.kill()
    sleeper.wait()
    run(Prlimit(sleeper.pid, NOFILE, 10, 20))


@pytest.mark.parametrize("pid", [0, -1, 1 << 32])
def test_limits_are_of_one_process_and_never_of_the_launcher_itself(pid: int) -> None:
    with pytest.raises(CloisonError, match="prlimit") as refused:
        run(Prlimit(pid, NOFILE, 10, 20))
    assert refused.value.facts["errno"] == "EINVAL"


def test_a_soft_limit_above_the_hard_one_is_refused(sleeper: "subprocess.Popen[bytes]") -> None:
    before = limit_of(sleeper)
    with pytest.raises(CloisonError, match="prlimit"):
        run(Prlimit(sleeper.pid, NOFILE, NO_LIMIT, 20))
    assert limit_of(sleeper) == before


OWN = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
SYSCTLS = {"net/ipv4/ip_forward": "1", "kernel/shmmni": "77", "kernel/domainname": "cellar"}


def sysctls(process: "subprocess.Popen[bytes]") -> list[str]:
    command = ["nsenter", "--target", str(process.pid), "--net", "--ipc", "--uts", "cat"]
    files = [f"/proc/sys/{key}" for key in SYSCTLS]
    return subprocess.run([*command, *files], capture_output=True, text=True, check=True).stdout.split()


def test_kernel_parameters_are_set_in_the_namespaces_of_an_inherited_process(
    sleeper: "subprocess.Popen[bytes]",
) -> None:
    host = [Path(f"/proc/sys/{key}").read_text() for key in SYSCTLS]
    pidfd = os.pidfd_open(sleeper.pid)
    proc = Open(1, -1, "/proc", O_PATH | os.O_DIRECTORY, 0)
    run(Setns(0, OWN), proc, *(Sysctl(1, key, value) for key, value in SYSCTLS.items()), inherited=(pidfd,))
    os.close(pidfd)
    assert sysctls(sleeper) == list(SYSCTLS.values())
    assert [Path(f"/proc/sys/{key}").read_text() for key in SYSCTLS] == host


def test_a_plan_in_other_namespaces_is_taken_back_there(sleeper: "subprocess.Popen[bytes]") -> None:
    before = sysctls(sleeper)
    host = Path("/proc/sys/kernel/shmmni").read_text()
    file = "/proc/sys/kernel/shmmni"
    actions = (
        Action(Setns(0, OWN), Where.HOST),
        Action(Write(-1, file, "55"), Where.HOST, undo=(Write(-1, file, before[1]),)),
        Action(Write(-1, file, "no number"), Where.HOST),
    )
    pidfd = os.pidfd_open(sleeper.pid)
    with pytest.raises(CloisonError, match="no number"):
        host_steps.run(Plan("try", actions, ("its pidfd",)), (pidfd,))
    os.close(pidfd)
    assert sysctls(sleeper) == before
    assert Path(file).read_text() == host


@pytest.fixture(params=["freezer", ""], ids=["v1", "v2"])
def group(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A group with one below it, in which processes can be frozen."""
    path = Path(hierarchy(request.param), "cloison-test-steps")
    (path / "below").mkdir(parents=True)
    yield path
    for place in (path / "below", path):
        while place.joinpath("cgroup.procs").read_text():
            time.sleep(0.01)
        place.rmdir()


def test_processes_that_fork_faster_than_they_are_listed_are_all_killed(group: Path) -> None:
    procs = group / "below" / "cgroup.procs"
    for _round in range(10):
        subprocess.run([sys.executable, "-c", HOPPING, group / "below"], check=True, timeout=patient(20))
        run(KillCgroup(str(group)))
        deadline = time.monotonic() + patient(3)
        while procs.read_text() and time.monotonic() < deadline:
            time.sleep(0.001)  # who is dying is listed for a moment, who got away for ever
        assert procs.read_text() == ""


def test_a_frozen_process_is_killed(group: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        group.joinpath("below", "cgroup.procs").write_text(str(process.pid))
        for name, word in (("freezer.state", "FROZEN"), ("cgroup.freeze", "1")):
            if (file := group / "below" / name).exists():
                file.write_text(word)
        run(KillCgroup(str(group)))
        assert process.wait(patient(10)) == -signal.SIGKILL

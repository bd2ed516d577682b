"""What a container's processes may do: capabilities, system calls, privileges, descriptors. The witness is /proc."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloison import Instance
from tests.integration import traces
from tests.integration.conftest import PAYLOAD, QUICK, Launch, answer, init_of

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]

CAP_NET_ADMIN, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_ADMIN, CAP_SYS_TIME = 12, 16, 17, 21, 25
MAC_OVERRIDE, MAC_ADMIN = 32, 33
WITHHELD = (CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_TIME, MAC_OVERRIDE, MAC_ADMIN)
SETS = ("CapBnd", "CapPrm", "CapEff")
DENIED = {
    "add_key": "ENOSYS",
    "delete_module": "EPERM",
    "io_uring_setup": "ENOSYS",
    "kexec_load": "EPERM",
    "open_by_handle_at": "EPERM",
    "settimeofday": "EPERM",
    "swapon": "EPERM",
    "userfaultfd": "EPERM",
}


@contextmanager
def waiting(instance: Instance, *, user: str = "") -> Iterator[int]:
    """A command that waits inside, as the host sees it: its pid."""
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    with instance.spawn([PAYLOAD, "ready", "here"], stdio=(null, writer, null), user=user) as execution:
        os.close(writer)
        assert os.read(reader, 100) == b"here\n"
        try:
            yield execution.pid
        finally:
            execution.signal(9)
    os.close(reader)
    os.close(null)


def capabilities(pid: int, which: str) -> int:
    return int(traces.status(pid)[which], 16)


def held(mask: int, *numbers: int) -> list[int]:
    return [number for number in numbers if mask >> number & 1]


@pytest.mark.parametrize("which", SETS)
def test_its_init_lacks_what_only_a_host_needs(web: Instance, which: str) -> None:
    assert held(capabilities(init_of(web), which), *WITHHELD) == []


@pytest.mark.parametrize("which", SETS)
def test_its_init_has_what_a_system_needs(web: Instance, which: str) -> None:
    assert held(capabilities(init_of(web), which), CAP_NET_ADMIN, CAP_SYS_ADMIN) == [CAP_NET_ADMIN, CAP_SYS_ADMIN]


@pytest.mark.parametrize("which", ["CapInh", "CapAmb"])
def test_its_init_hands_no_capability_on(web: Instance, which: str) -> None:
    assert capabilities(init_of(web), which) == 0


@pytest.mark.parametrize("which", SETS)
def test_a_command_has_the_capabilities_of_its_init(web: Instance, which: str) -> None:
    with waiting(web) as pid:
        assert capabilities(pid, which) == capabilities(init_of(web), which)


@pytest.mark.parametrize("which", ["CapPrm", "CapEff", "CapInh", "CapAmb"])
def test_a_command_of_a_user_holds_no_capability(web: Instance, which: str) -> None:
    with waiting(web, user="1000") as pid:
        assert capabilities(pid, which) == 0


def test_a_privileged_containers_init_lacks_what_only_a_host_needs(launch: Launch) -> None:
    web = launch("security.privileged=true")
    assert held(capabilities(init_of(web), "CapBnd"), *WITHHELD) == []


def test_its_init_runs_under_a_filter(web: Instance) -> None:
    assert traces.status(init_of(web))["Seccomp"] == "2"


def test_a_command_runs_under_a_filter(web: Instance) -> None:
    with waiting(web) as pid:
        assert traces.status(pid)["Seccomp"] == "2"


def test_the_filter_can_be_left_out(launch: Launch) -> None:
    assert traces.status(init_of(launch("security.seccomp=false")))["Seccomp"] == "0"


@pytest.mark.parametrize("name", DENIED)
def test_a_call_that_is_none_of_its_business_fails(web: Instance, name: str) -> None:
    assert answer(web, "call", name) == DENIED[name]


@pytest.mark.parametrize("name", DENIED)
def test_it_fails_in_a_privileged_container_too(launch: Launch, name: str) -> None:
    assert answer(launch("security.privileged=true"), "call", name) == DENIED[name]


def test_without_the_filter_the_kernel_itself_answers(launch: Launch) -> None:
    assert answer(launch("security.seccomp=false"), "call", "add_key") != "ENOSYS"


def test_it_may_make_containers_of_its_own(web: Instance) -> None:
    assert answer(web, "unshare-user") == "ok"


def test_no_new_privs_is_off_as_on_any_system(web: Instance) -> None:
    assert traces.status(init_of(web))["NoNewPrivs"] == "0"


def test_no_new_privs_reaches_its_init(launch: Launch) -> None:
    assert traces.status(init_of(launch("security.no_new_privs=true")))["NoNewPrivs"] == "1"


def test_no_new_privs_reaches_a_command(launch: Launch) -> None:
    with waiting(launch("security.no_new_privs=true")) as pid:
        assert traces.status(pid)["NoNewPrivs"] == "1"


@pytest.fixture
def leaky() -> Iterator[int]:
    """A descriptor of this process that any program it starts would inherit."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    yield fd
    os.close(fd)


def test_its_init_inherits_nothing_but_its_console(leaky: int, launch: Launch) -> None:
    found = traces.descriptors(f"/proc/{init_of(launch(*QUICK))}")
    assert found == dict.fromkeys((0, 1, 2), "/dev/pts/0")


def test_a_command_inherits_nothing_but_its_streams(web: Instance, leaky: int) -> None:
    with waiting(web) as pid:
        assert sorted(traces.descriptors(f"/proc/{pid}")) == [0, 1, 2]


def test_the_monitor_inherits_nothing(leaky: int, web: Instance, root: Path) -> None:
    targets = set(traces.descriptors(f"/proc/{web.info().monitor_pid}").values())
    ours = {f"{root}/run/{web.id}/journal", f"{web.directory}/console.log", "/dev/null", "/dev/pts/0", "/dev/pts/ptmx"}
    assert {target for target in targets if target.startswith("/")} <= ours


def test_its_init_has_every_signal_at_its_default(launch: Launch) -> None:
    init = init_of(launch("init.command=/bin/sleep 1000"))
    assert [int(traces.status(init)[which], 16) for which in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_a_command_has_every_signal_at_its_default(web: Instance) -> None:
    with waiting(web) as pid:
        assert [int(traces.status(pid)[which], 16) for which in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_it_makes_files_that_others_cannot_write(web: Instance) -> None:
    with waiting(web) as pid:
        assert traces.status(pid)["Umask"] == "0022"


def test_its_init_is_a_session_with_its_console_as_the_terminal(launch: Launch) -> None:
    fields = Path(f"/proc/{init_of(launch(*QUICK))}/stat").read_text().rpartition(")")[2].split()
    session, terminal = int(fields[3]), int(fields[4])
    assert (session, os.major(terminal)) != (0, 0)

"""A failed step becomes a sentence, a class and a hint."""

import errno
import signal

import pytest

from cloison.base.errors import CloisonError, Host, Invalid, Kernel, NoSpace, Unsupported
from cloison.plan.builder import Builder
from cloison.plan.mount_steps import MountSetattr
from cloison.plan.network_steps import Netlink, Run
from cloison.plan.process_steps import Prlimit
from cloison.plan.steps import NO_SLOT, DeviceFilter, Exec, OpenPty, Step, Write
from cloison.runtime.failures import CannotExecute, ProgramNotFound, failure
from tests.unit.plan import worlds

PLAN = worlds.start_plan()


def first(kind: type[Step], **fields: object) -> int:
    return next(
        index
        for index, action in enumerate(PLAN.actions)
        if isinstance(action.step, kind) and all(getattr(action.step, n) == v for n, v in fields.items())
    )


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (errno.ENOENT, ProgramNotFound, "'/sbin/init' was not found inside"),
        (errno.EACCES, CannotExecute, "cannot be executed"),
        (errno.ENOEXEC, CannotExecute, "cannot be executed"),
    ],
)
def test_exec_tells_not_found_from_not_executable(error: int, kind: type[CloisonError], said: str) -> None:
    problem = failure(PLAN, first(Exec), error, 0)
    assert type(problem) is kind
    assert said in str(problem)


def test_a_file_system_that_cannot_be_mapped_is_named_with_both_ways_out() -> None:
    index = next(i for i, a in enumerate(PLAN.actions) if isinstance(a.step, MountSetattr) and a.step.userns >= 0)
    problem = failure(PLAN, index, errno.EINVAL, 0)
    assert isinstance(problem, Unsupported)
    assert "security.privileged=true" in problem.hint


def test_terminals_that_are_denied_are_told_by_the_key_that_denies_them() -> None:
    assert "limits.devices" in failure(PLAN, first(OpenPty), errno.EPERM, 0).hint


def test_no_space_is_a_class_of_its_own() -> None:
    assert isinstance(failure(PLAN, 1, errno.ENOSPC, 0), NoSpace)


def test_a_process_that_died_is_told_with_its_signal() -> None:
    problem = failure(PLAN, first(Exec), errno.ECHILD, int(signal.SIGKILL))
    assert "died by SIGKILL" in str(problem)


def test_every_step_can_fail_in_words() -> None:
    for index, action in enumerate(PLAN.actions):
        problem = failure(PLAN, index, errno.EPERM, 0)
        assert isinstance(problem, Host | CannotExecute)
        assert problem.facts["step"] == index
        assert problem.facts["kind"] == action.step.kind


GROUP = "/sys/fs/cgroup/memory/cloison/c0ffee000001"


def of_step(step: Step, error: int) -> CloisonError:
    build = Builder("set the limits of web")
    build.host(step)
    return failure(build.plan(), 0, error, 0)


@pytest.mark.parametrize(
    ("step", "error", "kind", "said"),
    [
        (Write(NO_SLOT, f"{GROUP}/memory.foo", "1"), errno.ENOENT, Unsupported, "no memory.foo in its cgroup v1"),
        (Write(NO_SLOT, f"{GROUP}/memory.high", "x"), errno.EINVAL, Invalid, "refuses 'x' in memory.high"),
        (Write(NO_SLOT, f"{GROUP}/cpuset.cpus", "9"), errno.ERANGE, Invalid, "refuses '9' in cpuset.cpus"),
        (Write(NO_SLOT, f"{GROUP}/cpuset.cpus", "1"), errno.EACCES, Invalid, "refuses '1' in cpuset.cpus"),
        (Write(NO_SLOT, f"{GROUP}/io.max", "1:3 rbps=1"), errno.ENODEV, Invalid, "in io.max"),
        (Write(NO_SLOT, f"{GROUP}/cpuset.cpus", "1"), errno.EBUSY, Kernel, "in cpuset.cpus"),
        (Write(NO_SLOT, "/proc/sys/net/nope", "1"), errno.ENOENT, Invalid, "there is no kernel parameter net.nope"),
        (Write(NO_SLOT, "/proc/sys/net/a", "x"), errno.EINVAL, Invalid, "refuses 'x' in net.a"),
        (
            Write(NO_SLOT, "/proc/7/oom_score_adj", "-1"),
            errno.EACCES,
            Unsupported,
            "lower the OOM score of a process to -1",
        ),
        (Prlimit(7, 7, 1, 2), errno.EPERM, Unsupported, "raise the hard limit RLIMIT_NOFILE to 2"),
        (DeviceFilter(GROUP, b""), errno.EINVAL, Unsupported, "device_filter"),
    ],
)
def test_a_limit_that_the_kernel_refuses_is_named_with_a_way_out(
    step: Step, error: int, kind: type[CloisonError], said: str
) -> None:
    problem = of_step(step, error)
    assert type(problem) is kind
    assert said in str(problem)
    assert problem.hint


@pytest.mark.parametrize(
    ("what", "error", "said", "hint"),
    [
        ("link add q1 up type ifb; qdisc replace dev q1 root tbf rate 8bit", errno.EOPNOTSUPP, "no ifb,", "ifb,"),
        ("link add link eth0 cl1 (inside) type vlan id 7", errno.EOPNOTSUPP, "no vlan,", "8021q,"),
        ("link add q1 up type ifb; qdisc replace dev q1 root tbf rate 8bit", errno.ENOENT, "no tbf,", "sch_tbf,"),
    ],
)
def test_a_kind_of_interface_or_queue_that_is_missing_is_named(what: str, error: int, said: str, hint: str) -> None:
    build = Builder("start web")
    build.host(Netlink(what, NO_SLOT, NO_SLOT, 0, b"", 0, 0))
    problem = failure(build.plan(), 0, error, 0)
    assert type(problem) is Unsupported
    assert f"this kernel has {said}" in str(problem)
    assert problem.hint.startswith(f"modprobe {hint}")


def test_what_a_program_has_said_is_the_message() -> None:
    build = Builder("start web")
    build.host(Run(("/usr/sbin/nft", "--json", "-f", "-"), '{"fwd":{"dev":"q1"}}'))
    problem = failure(build.plan(), 0, errno.ECHILD, 1 << 8, "Error: No such file or directory")
    assert str(problem).endswith("`/usr/sbin/nft --json -f -` ended with exit code 1: Error: No such file or directory")
    assert "modprobe nft_fwd_netdev" in problem.hint

"""The default filter, carried out by hand: what is denied to whom, and with which error."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.spec.oci import SeccompArg
from cloison.spec.seccomp import default_profile

SYSTEM = (
    *("CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE"),
    *("CAP_SYS_TTY_CONFIG", "CAP_SYSLOG"),
)
EVERYTHING = (
    *SYSTEM,
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_TIME",
    "CAP_DAC_READ_SEARCH",
    "CAP_BPF",
    "CAP_PERFMON",
)
CLONE_NEWUSER, CLONE_NEWPID, CLONE_FILES = 0x10000000, 0x20000000, 0x400
TIOCSTI, TIOCLINUX, TIOCGWINSZ = 0x5412, 0x541C, 0x5413
AF_UNIX, AF_VSOCK = 1, 40


def answer(capabilities: tuple[str, ...], name: str, *arguments: int) -> int:
    """The errno with which the filter denies a call; 0 where it is allowed."""
    for rule in default_profile(capabilities).syscalls:
        if name in rule.names and all(holds(arg, arguments) for arg in rule.args):
            assert rule.action == "SCMP_ACT_ERRNO"
            assert rule.errno_ret is not None
            return rule.errno_ret
    return 0


def holds(arg: SeccompArg, arguments: tuple[int, ...]) -> bool:
    assert arg.op == "SCMP_CMP_MASKED_EQ"
    return arguments[arg.index] & arg.value == arg.value_two


def test_what_is_not_in_the_table_is_allowed() -> None:
    assert default_profile(()).default_action == "SCMP_ACT_ALLOW"
    assert answer((), "read", 0, 0, 0) == 0


@pytest.mark.parametrize(
    "name", ["kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "open_by_handle_at"]
)
def test_no_capability_lifts_what_concerns_the_host(name: str) -> None:
    assert answer(EVERYTHING, name) == errno.EPERM


@pytest.mark.parametrize("name", ["add_key", "keyctl", "request_key", "io_uring_setup", "ustat", "query_module"])
def test_a_caller_that_can_do_without_is_told_that_it_must(name: str) -> None:
    assert answer(EVERYTHING, name) == errno.ENOSYS


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("mount", "CAP_SYS_ADMIN"),
        ("pivot_root", "CAP_SYS_ADMIN"),
        ("setns", "CAP_SYS_ADMIN"),
        ("bpf", "CAP_SYS_ADMIN"),
        ("bpf", "CAP_BPF"),
        ("perf_event_open", "CAP_PERFMON"),
        ("syslog", "CAP_SYSLOG"),
        ("reboot", "CAP_SYS_BOOT"),
        ("settimeofday", "CAP_SYS_TIME"),
        ("iopl", "CAP_SYS_RAWIO"),
        ("acct", "CAP_SYS_PACCT"),
        ("vhangup", "CAP_SYS_TTY_CONFIG"),
        ("kcmp", "CAP_SYS_PTRACE"),
        ("mbind", "CAP_SYS_NICE"),
        ("chroot", "CAP_SYS_CHROOT"),
    ],
)
def test_a_capability_lifts_what_the_kernel_asks_it_for(name: str, capability: str) -> None:
    assert answer((), name) == errno.EPERM
    assert answer((capability,), name) == 0


@pytest.mark.parametrize("name", ["mount", "umount2", "setns", "unshare", "clone", "clone3", "reboot", "sethostname"])
def test_a_system_container_may_what_its_init_does(name: str) -> None:
    assert answer(SYSTEM, name, 0, 0) == 0


def test_a_forced_umount_is_denied_to_all() -> None:
    assert answer(EVERYTHING, "umount2", 0, 1) == errno.EACCES
    assert answer(EVERYTHING, "umount2", 0, 2) == 0


def test_a_new_user_namespace_takes_sys_admin() -> None:
    assert answer((), "clone", CLONE_NEWUSER | 17) == errno.EPERM
    assert answer((), "unshare", CLONE_NEWUSER | CLONE_NEWPID) == errno.EPERM
    assert answer((), "unshare", CLONE_FILES) == 0
    assert answer(SYSTEM, "unshare", CLONE_NEWUSER) == 0


def test_flags_that_cannot_be_seen_are_asked_for_in_the_old_way() -> None:
    assert answer((), "clone3") == errno.ENOSYS


@pytest.mark.parametrize("request_number", [TIOCSTI, TIOCLINUX])
def test_nothing_is_typed_into_the_callers_terminal(request_number: int) -> None:
    assert answer(EVERYTHING, "ioctl", 0, request_number) == errno.EPERM
    assert answer(EVERYTHING, "ioctl", 0, request_number | 1 << 32) == errno.EPERM
    assert answer(EVERYTHING, "ioctl", 0, TIOCGWINSZ) == 0


def test_there_is_no_way_past_the_network() -> None:
    assert answer(EVERYTHING, "socket", AF_VSOCK, 1, 0) == errno.EAFNOSUPPORT
    assert answer(EVERYTHING, "socket", AF_VSOCK | 1 << 40, 1, 0) == errno.EAFNOSUPPORT
    assert answer((), "socket", AF_UNIX, 1, 0) == 0


@pytest.mark.parametrize("persona", [0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF])
def test_a_harmless_personality_is_allowed(persona: int) -> None:
    assert answer((), "personality", persona) == 0


@given(st.integers(min_value=0, max_value=0xFFFFFFFE).filter(lambda persona: persona & ~0x20008))
def test_any_other_personality_is_denied(persona: int) -> None:
    assert answer(EVERYTHING, "personality", persona) == errno.EPERM


@pytest.mark.parametrize("bit", range(32))
def test_no_single_bit_makes_a_personality_pass(bit: int) -> None:
    persona = 0xFFFFFFFF & ~(1 << bit)
    assert answer((), "personality", persona) == errno.EPERM

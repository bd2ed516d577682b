"""Filters on the real kernel, with a program under them as the witness.

Each call has arguments with which the kernel itself would refuse it for another reason, so that the errno says who did.
"""

import contextlib
import errno
import json
import platform
import subprocess
import sys
from pathlib import Path

import pyseccomp
import pytest

from cloison.base.capabilities import CAPABILITIES
from cloison.base.errors import Invalid
from cloison.kernel.seccomp import Action, Condition, Rule, compile_filter, library_path
from cloison.runtime.seccomp import filter_for
from cloison.spec.oci import Seccomp
from cloison.spec.seccomp import default_profile

PROGRAM = Path(__file__).parent / "under_filter.py"
ALLOW, DENY = Action("SCMP_ACT_ALLOW"), Action("SCMP_ACT_ERRNO", errno.ENOTNAM)
CLONE_NEWUSER, CLONE_FS, MNT_FORCE, TIOCSTI, TCGETS = 0x10000000, 0x200, 1, 0x5412, 0x5401
NO_CAPABILITY: tuple[str, ...] = ()
SYSTEM = tuple(name for name in CAPABILITIES if name not in ("CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_TIME"))

Call = tuple[str | int, ...]


def native(name: str, *arguments: int) -> Call:
    return (pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name), *arguments)


def i386(name: str, *arguments: int) -> Call:
    return ("i386", pyseccomp.resolve_syscall(pyseccomp.Arch.X86, name), *arguments)


def answers(program: bytes, tmp_path: Path, *calls: Call) -> list[int]:
    """The errno of each call in a process under the filter `program`."""
    file = tmp_path / "program"
    file.write_bytes(program)
    result = subprocess.run(
        [sys.executable, "-I", "-S", str(PROGRAM), str(file)], input=json.dumps(calls), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    found: list[int] = json.loads(result.stdout)
    return found


def compiled(profile: Seccomp, tmp_path: Path) -> bytes:
    return filter_for(profile, str(tmp_path / "cache"))


def test_a_filter_denies_what_a_rule_names_and_nothing_else(tmp_path: Path) -> None:
    program = compile_filter(ALLOW, [Rule(("getppid",), DENY)])
    assert answers(program, tmp_path, native("getppid"), native("getpid")) == [errno.ENOTNAM, 0]


def test_a_condition_decides_by_argument(tmp_path: Path) -> None:
    program = compile_filter(ALLOW, [Rule(("umask",), DENY, (Condition(0, "SCMP_CMP_GT", 0o77),))])
    assert answers(program, tmp_path, native("umask", 0o22), native("umask", 0o777)) == [0, errno.ENOTNAM]


def test_conditions_on_one_argument_are_alternatives(tmp_path: Path) -> None:
    either = (Condition(0, "SCMP_CMP_EQ", 0o11), Condition(0, "SCMP_CMP_EQ", 0o33))
    program = compile_filter(ALLOW, [Rule(("umask",), DENY, either)])
    calls = [native("umask", mask) for mask in (0o11, 0o22, 0o33)]
    assert answers(program, tmp_path, *calls) == [errno.ENOTNAM, 0, errno.ENOTNAM]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is of x86_64")
def test_the_other_architecture_of_this_machine_is_no_way_around(tmp_path: Path) -> None:
    program = compile_filter(ALLOW, [Rule(("getppid",), DENY)])
    assert answers(program, tmp_path, i386("getppid"), i386("getpid")) == [errno.ENOTNAM, 0]


def test_a_system_call_that_nobody_knows_is_passed_over(tmp_path: Path) -> None:
    program = compile_filter(ALLOW, [Rule(("brew_coffee", "getppid"), DENY)])
    assert answers(program, tmp_path, native("getppid")) == [errno.ENOTNAM]


def test_a_rule_that_says_what_the_default_says_is_passed_over() -> None:
    compile_filter(ALLOW, [Rule(("getppid",), ALLOW)])


def test_a_rule_may_be_said_twice() -> None:
    compile_filter(ALLOW, [Rule(("getppid",), DENY), Rule(("getppid",), DENY)])


def all_calls_but(*names: str) -> tuple[str, ...]:
    known = []
    for number in range(500):
        with contextlib.suppress(ValueError):
            known.append(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, number).decode())
    return tuple(name for name in known if name not in names)


@pytest.mark.parametrize(("default", "unheard_of"), [(DENY, errno.ENOSYS), (Action("SCMP_ACT_ERRNO", 38), 38)])
def test_a_list_of_what_is_allowed_says_nothing_of_calls_that_came_later(
    default: Action, unheard_of: int, tmp_path: Path
) -> None:
    program = compile_filter(default, [Rule(all_calls_but("keyctl"), ALLOW)])
    calls = (native("getpid"), native("keyctl", 0xFFFF), (600,))
    assert answers(program, tmp_path, *calls) == [0, default.errno, unheard_of]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is of x86_64")
def test_the_other_architecture_has_calls_that_came_later_too(tmp_path: Path) -> None:
    program = compile_filter(DENY, [Rule(all_calls_but("keyctl"), ALLOW)])
    calls = (i386("getpid"), i386("keyctl", 0xFFFF), ("i386", 600))
    assert answers(program, tmp_path, *calls) == [0, errno.ENOTNAM, errno.ENOSYS]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule(("read",), Action("SCMP_ACT_NOTIFY")), "SCMP_ACT_NOTIFY.* is no action"),
        (Rule(("read",), DENY, (Condition(0, "SCMP_CMP_LIKE", 1),)), "SCMP_CMP_LIKE.* is no comparison"),
        (Rule(("read",), DENY, (Condition(9, "SCMP_CMP_EQ", 1),)), "refuses the rule for read"),
    ],
)
def test_a_word_that_is_none_is_refused(rule: Rule, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        compile_filter(ALLOW, [rule])


def test_an_architecture_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="SCMP_ARCH_PDP11"):
        compile_filter(ALLOW, [], ["SCMP_ARCH_PDP11"])


def test_a_filter_that_the_kernel_cannot_take_is_refused() -> None:
    rules = [Rule(("umask",), DENY, (Condition(0, "SCMP_CMP_EQ", mask),)) for mask in range(5000)]
    with pytest.raises(Invalid, match="the kernel takes 4096"):
        compile_filter(ALLOW, rules)


def test_the_library_is_a_file() -> None:
    assert Path(library_path()).is_file()


def test_every_name_in_the_default_profile_is_a_system_call() -> None:
    names = {name for rule in default_profile(()).syscalls for name in rule.names}
    assert {name for name in names if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) == -1} == set()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (native("keyctl", 0xFFFF), errno.ENOSYS),
        (native("open_by_handle_at", -1, 0, 0), errno.EPERM),
        (native("umount2", 0, MNT_FORCE), errno.EACCES),
        (native("umount2", 0, 0), errno.EFAULT),
        (native("ioctl", -1, TIOCSTI), errno.EPERM),
        (native("ioctl", -1, TIOCSTI | 1 << 32), errno.EPERM),
        (native("ioctl", -1, TCGETS), errno.EBADF),
        (native("mount", 0, 1, 0, 0, 0), errno.EFAULT),
        (native("reboot", 0, 0, 0), errno.EINVAL),
        (native("clone3", 0, 0), errno.EINVAL),
        (native("unshare", CLONE_NEWUSER | 1), errno.EINVAL),
        (native("pivot_root", 0, 0), errno.EFAULT),
        (native("personality", 0xFFFFFFFF), 0),
        (native("personality", 0x0008), 0),
        (native("personality", 0x40000), errno.EPERM),
        (native("personality", 0x80040000), errno.EPERM),
        (native("personality", 0x40000 | 1 << 40), errno.EPERM),
    ],
)
def test_the_default_profile_of_a_system_container(call: Call, error: int, tmp_path: Path) -> None:
    assert answers(compiled(default_profile(SYSTEM), tmp_path), tmp_path, call) == [error]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (native("mount", 0, 1, 0, 0, 0), errno.EPERM),
        (native("umount2", 0, 0), errno.EPERM),
        (native("reboot", 0, 0, 0), errno.EPERM),
        (native("clone3", 0, 0), errno.ENOSYS),
        (native("clone", CLONE_NEWUSER | CLONE_FS), errno.EPERM),
        (native("unshare", CLONE_NEWUSER | 1), errno.EPERM),
        (native("unshare", CLONE_FS), 0),
    ],
)
def test_the_default_profile_of_a_container_without_capabilities(call: Call, error: int, tmp_path: Path) -> None:
    assert answers(compiled(default_profile(NO_CAPABILITY), tmp_path), tmp_path, call) == [error]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is of x86_64")
def test_the_default_profile_covers_programs_of_i386(tmp_path: Path) -> None:
    calls = (i386("keyctl"), i386("ioctl", 0xFFFFFFFF, TIOCSTI), i386("personality", 0x40000), i386("getpid"))
    program = compiled(default_profile(SYSTEM), tmp_path)
    assert answers(program, tmp_path, *calls) == [errno.ENOSYS, errno.EPERM, errno.EPERM, 0]

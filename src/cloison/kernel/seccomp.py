"""System call filters: rules in, a program for the kernel's seccomp machine out.

libseccomp does the work, through pyseccomp: it knows the numbers of system calls on every architecture, and which
ones are reached through socketcall(2) on some. It is imported when the first filter is compiled, which takes some
50 ms; whoever wants filters often keeps them (`runtime.seccomp` does).

    a program is an array of struct sock_filter, in the machine's own byte order
    0  u16 code    2  u8 jt    3  u8 jf    4  u32 k

The words for actions, operators and architectures are those of the OCI runtime specification, which are libseccomp's.
Source: seccomp(2), seccomp_rule_add(3), seccomp_export_bpf(3).
"""

import errno
import os
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from cloison.base.errors import Bug, Invalid, Unsupported

if TYPE_CHECKING:
    import pyseccomp

INSTRUCTION_BYTES: Final = 8
MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS

# Programs of these run on a kernel of the first: whoever filters one has to filter all, or the rest is a way around.
COMPATIBLE: Final = (("X86_64", "X86", "X32"), ("AARCH64", "ARM"))

_INSTRUCTION: Final = struct.Struct("=HBBI")
_UNKNOWN: Final = -1  # __NR_SCMP_ERROR: no architecture has such a system call


class Condition(msgspec.Struct, frozen=True):
    """What an argument must be: compared by `op` with `value`; for SCMP_CMP_MASKED_EQ that is the mask, applied first,
    and it is compared with `value_two`."""

    index: int
    op: str
    value: int
    value_two: int = 0


class Action(msgspec.Struct, frozen=True):
    """What happens: a word such as SCMP_ACT_ERRNO, and the number that goes with that one; EPERM where it is None."""

    name: str
    errno: int | None = None


class Rule(msgspec.Struct, frozen=True):
    """What happens to the system calls `names` when all `conditions` hold."""

    names: tuple[str, ...]
    action: Action
    conditions: tuple[Condition, ...] = ()


def compile_filter(default: Action, rules: Iterable[Rule], architectures: Sequence[str] = ()) -> bytes:
    """The program that carries out `rules`, and `default` for everything else.

    Without `architectures` it covers the kernel's own and those compatible with it. A system call that libseccomp
    does not know, or an architecture does not have, is passed over. Conditions on one argument twice are alternatives,
    as runc takes them; and as with runc, where `default` denies, a call that came later than all that the rules name
    is ENOSYS. Raises Invalid for a word that is none, Unsupported where there is no libseccomp."""
    _require_library()
    import pyseccomp

    default_action = _action(default)
    program = pyseccomp.SyscallFilter(default_action)
    rules = tuple(rules)
    covered = _architectures(architectures)
    for architecture in covered:
        if not program.exist_arch(architecture):
            program.add_arch(architecture)
    for rule in rules:
        action = _action(rule.action)
        if action != default_action:  # libseccomp takes a rule that changes nothing for a mistake
            _add(program, rule, action)
    newest = _newest(rules, covered) if _denies(default) else []
    return _checked(_unheard_of(newest) + _exported(program))


def library_path() -> str:
    """The file of the libseccomp in use: with another one, the same rules may make another program."""
    _require_library()
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            path = line.rstrip(b"\n")[line.find(b"/") :]
            if path.rpartition(b"/")[2].startswith(b"libseccomp.so"):
                return os.fsdecode(path)
    raise Bug("libseccomp is loaded, and is not in /proc/self/maps")


def _require_library() -> None:
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, RuntimeError) as missing:  # RuntimeError: the module is there, the library is not
        raise Unsupported(
            "system call filters need libseccomp and the Python module pyseccomp",
            hint="apt-get install libseccomp2, pip install pyseccomp; or do without: security.seccomp=false",
        ) from missing


def _add(program: "pyseccomp.SyscallFilter", rule: Rule, action: int) -> None:
    import pyseccomp

    arguments = [_argument(condition) for condition in rule.conditions]
    indices = {condition.index for condition in rule.conditions}
    alternatives = [arguments] if len(indices) == len(arguments) else [[argument] for argument in arguments]
    for name in rule.names:
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        if number == _UNKNOWN:
            continue
        for argument_list in alternatives:
            _add_one(program, name, number, action, argument_list)


def _add_one(
    program: "pyseccomp.SyscallFilter", name: str, number: int, action: int, arguments: "list[pyseccomp.Arg]"
) -> None:
    try:
        program.add_rule(action, number, *arguments)
    except OSError as refused:
        if refused.errno == errno.EEXIST:  # said already, in other words
            return
        raise Invalid(f"libseccomp refuses the rule for {name}: {refused.strerror}", syscall=name) from refused


def _argument(condition: Condition) -> "pyseccomp.Arg":
    import pyseccomp

    operator = condition.op.removeprefix("SCMP_CMP_")
    if operator not in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"):
        raise Invalid(f'"{condition.op}" is no comparison; there is SCMP_CMP_NE, LT, LE, EQ, GE, GT, MASKED_EQ')
    return pyseccomp.Arg(condition.index, getattr(pyseccomp, operator), condition.value, condition.value_two)


def _action(action: Action) -> int:
    import pyseccomp

    number = errno.EPERM if action.errno is None else action.errno
    known = {
        "SCMP_ACT_ALLOW": pyseccomp.ALLOW,
        "SCMP_ACT_LOG": pyseccomp.LOG,
        "SCMP_ACT_ERRNO": pyseccomp.ERRNO(number),
        "SCMP_ACT_TRACE": pyseccomp.TRACE(number),
        "SCMP_ACT_TRAP": pyseccomp.TRAP,
        "SCMP_ACT_KILL": pyseccomp.KILL_THREAD,
        "SCMP_ACT_KILL_THREAD": pyseccomp.KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS": pyseccomp.KILL_PROCESS,
    }
    if action.name not in known:
        raise Invalid(f'"{action.name}" is no action of a system call filter here; there is {", ".join(known)}')
    return known[action.name]


def _architectures(names: Sequence[str]) -> list[int]:
    import pyseccomp

    known = {name: number for name, number in vars(pyseccomp.Arch).items() if name.isupper()}
    words = [name.removeprefix("SCMP_ARCH_") for name in names]
    for word in words:
        if word not in known:
            raise Invalid(f'"SCMP_ARCH_{word}" is no architecture of libseccomp; there is {", ".join(sorted(known))}')
    if words:
        return [known[word] for word in words]
    native = pyseccomp.system_arch()
    family = next((family for family in COMPATIBLE if known[family[0]] == native), ())
    return [known[word] for word in family] or [native]


def _exported(program: "pyseccomp.SyscallFilter") -> bytes:
    with os.fdopen(os.memfd_create("seccomp", os.MFD_CLOEXEC), "w+b") as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


def _checked(program: bytes) -> bytes:
    if len(program) > MAX_INSTRUCTIONS * INSTRUCTION_BYTES:
        raise Invalid(
            f"the system call filter has {len(program) // INSTRUCTION_BYTES} instructions,"
            f" the kernel takes {MAX_INSTRUCTIONS}",
            hint="list fewer system calls, or put those with the same action and conditions together",
        )
    return program


# --- calls that a profile cannot have heard of ------------------------------------------------------------------------

_LOAD, _JUMP, _JUMP_EQ, _JUMP_GT, _JUMP_GE, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06  # linux/bpf_common.h
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE = 0, 4  # struct seccomp_data
_RETURN_ENOSYS: Final = 0x00050000 | errno.ENOSYS
_OTHER_NUMBERS: Final = 0x0F0000  # from here on they are not in order of age: those private to arm, and all of x32
_BLOCK: Final = 6


def _unheard_of(newest: list[tuple[int, int]]) -> bytes:
    """Instructions in front of a program: a call with a higher number than the newest one in the rules is ENOSYS.

    A list of what is allowed was written for the kernels of its day. Of a call that came later it says nothing, and the
    default, usually EPERM, would be taken for an answer: ENOSYS makes libc fall back. `newest` has pairs of an
    architecture and a number."""
    code = [(_LOAD, 0, 0, _OFFSET_ARCHITECTURE)] if newest else []
    for left, (architecture, number) in zip(range(len(newest) - 1, -1, -1), newest, strict=True):
        code += [
            (_JUMP_EQ, 0, _BLOCK - 1, architecture),
            (_LOAD, 0, 0, _OFFSET_NUMBER),
            (_JUMP_GE, 2, 0, _OTHER_NUMBERS),
            (_JUMP_GT, 0, 1, number),
            (_RETURN, 0, 0, _RETURN_ENOSYS),
            (_JUMP, 0, 0, left * _BLOCK),
        ]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


def _denies(default: Action) -> bool:
    """Whether what is not named is denied, with something else than ENOSYS."""
    return default.name not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE") and default.errno != errno.ENOSYS


def _newest(rules: Sequence[Rule], architectures: Sequence[int]) -> list[tuple[int, int]]:
    """The highest number that the rules name on each architecture that orders its calls by age."""
    import pyseccomp

    names = {name for rule in rules for name in rule.names}
    found = []
    for architecture in architectures:
        numbers = [pyseccomp.resolve_syscall(architecture, name) for name in names]
        newest = max((number for number in numbers if 0 <= number < _OTHER_NUMBERS), default=None)
        if newest is not None:
            found.append((architecture, newest))
    return found

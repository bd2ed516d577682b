"""Doors onto systemd as the host's process 1: whether it is, what a unit is doing, and a scope with a process in it.

systemd alone writes to the top of the control groups that it manages; who wants groups of its own asks it for a unit
that is *delegated*, and then owns everything below that unit's directory. A scope is a unit around processes that
somebody else has started. It ends, and its directory with it, when the last process in it and below it has ended.

Source: sd_booted(3), systemd.scope(5), systemd.resource-control(5) ("Delegate="), systemd-run(1);
https://systemd.io/CGROUP_DELEGATION, https://systemd.io/CONTROL_GROUP_INTERFACE.
"""

import contextlib
import os
import select
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from cloison.base.errors import Kernel, Unsupported
from cloison.kernel.spawn import spawn

BOOTED: Final = "/run/systemd/system"  # is there if and only if systemd is process 1 (sd_booted(3))
INIT_SCOPE: Final = "/init.scope"  # where systemd itself sits
PATIENCE_S: Final = 30.0
# Joins the group whose directory it is told, says so, and stays until nobody holds the other end of its input. It
# moves itself: to move another process, the kernel waits until every CPU has come by.
_JOIN: Final = 'echo 0 >"$0/cgroup.procs" && echo && exec cat'
_MAKE_AND_JOIN: Final = f'mkdir -p "$0" && {_JOIN}'
# A scope has a limit of processes by default; here that would be one for all instances together.
_PROPERTIES: Final = ("Delegate=yes", "TasksMax=infinity")


class Scope(msgspec.Struct, frozen=True):
    """A scope to be: `unit` ("cloison.scope") in `slice` ("cloison.slice")."""

    unit: str
    slice: str
    description: str


def top() -> str | None:
    """Where the groups that systemd manages begin, below the mount point: empty for the very top, which is usual.

    None where systemd is not process 1, or where this user cannot ask it for units."""
    return _found_top() if os.geteuid() == 0 else None


def is_manager() -> bool:
    """Whether systemd is process 1, whoever asks."""
    return _found_top() is not None


def _found_top() -> str | None:
    if not os.path.isdir(BOOTED):
        return None
    try:
        with open("/proc/1/cgroup", "rb", buffering=0) as file:
            return top_of(os.fsdecode(file.readall()))
    except OSError:
        return None


def top_of(cgroup: str) -> str | None:
    """The same from the /proc/PID/cgroup of process 1: a directory as such is easily carried into a container."""
    for line in cgroup.splitlines():
        number, names, path = line.split(":", 2)
        if (number == "0" or names == "name=systemd") and path.endswith(INIT_SCOPE):
            return path.removesuffix(INIT_SCOPE)
    return None


def state(unit: str) -> str:
    """What systemd says of a unit: "active", "inactive", "deactivating" and so on. Raises Unsupported and Kernel."""
    argv = ["systemctl", "show", "--property=ActiveState", "--value", unit]
    pid, said, ends = _start(argv, has_input=False)
    try:
        return _all_of(said[0]).strip()
    finally:
        _end(pid, ends)


@contextlib.contextmanager
def joined(directory: str) -> Iterator[bool]:
    """A process in the group at `directory` as long as the block lasts; False where there is no such group."""
    with _held(["sh", "-c", _JOIN, directory]) as failed:
        yield failed is None


@contextlib.contextmanager
def made(scope: Scope, directory: str) -> Iterator[str | None]:
    """`scope`, delegated, with a process in `directory` below it as long as the block lasts.

    Gives what systemd has against it, or None."""
    properties = [f"--property={text}" for text in _PROPERTIES]
    names = [f"--unit={scope.unit}", f"--slice={scope.slice}", f"--description={scope.description}"]
    argv = ["systemd-run", "--scope", "--quiet", "--collect", "--no-ask-password", *names, *properties]
    with _held([*argv, "--", "sh", "-c", _MAKE_AND_JOIN, directory]) as failed:
        yield failed


@contextlib.contextmanager
def _held(argv: Sequence[str]) -> Iterator[str | None]:
    """A program that says one empty line and then waits for the end of its input. Gives its complaint, if any."""
    pid, (output, errors), ends = _start(argv, has_input=True)
    try:
        is_there = _first_byte(output, argv[0]) == b"\n"
        yield None if is_there else _all_of(errors).strip() or f"{argv[0]} failed without a word"
    finally:
        _end(pid, ends)


def _start(argv: Sequence[str], *, has_input: bool) -> tuple[int, tuple[int, int], tuple[int, ...]]:
    """The pid, the descriptors of what it says (output, errors), and all that are to be closed."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    given, kept = os.pipe() if has_input else (null, -1)
    output, errors = os.pipe(), os.pipe()
    try:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        pid = spawn(_program(argv[0]), list(argv), environment, [given, output[1], errors[1]])
    except BaseException:
        _close(kept, output[0], errors[0])
        raise
    finally:
        _close(null, output[1], errors[1], *((given,) if has_input else ()))
    ends = (output[0], errors[0], kept)
    return pid, (output[0], errors[0]), ends


def _end(pid: int, ends: tuple[int, ...]) -> None:
    """Its input ends, and with it the program."""
    _close(*ends)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _program(name: str) -> str:
    for directory in (*os.get_exec_path(), "/usr/bin", "/bin"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    raise Unsupported(
        f"process 1 is systemd, and its program {name!r} is not installed",
        hint="apt-get install --no-install-recommends systemd",
        program=name,
    )


def _first_byte(fd: int, name: str) -> bytes:
    if not select.select([fd], [], [], PATIENCE_S)[0]:
        raise Kernel(f"{name} has not answered within {PATIENCE_S:.0f} s", hint="see `systemctl status`")
    return os.read(fd, 1)


def _all_of(fd: int) -> str:
    said = b""
    while chunk := os.read(fd, 4096):
        said += chunk
    return said.decode(errors="replace")

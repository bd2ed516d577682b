"""What is mounted where, as a process sees it. Source: proc_pid_mountinfo(5), proc_pid_fdinfo(5)."""

import contextlib
import os
import re
from collections.abc import Iterable

import msgspec

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mounted(msgspec.Struct, frozen=True):
    """One mount: its number, the path that it is on, the options of the mount, and its file system."""

    number: int
    point: str
    options: tuple[str, ...]
    fstype: str


def mounts(pid: int) -> tuple[Mounted, ...]:
    """All that a process sees. Raises FileNotFoundError, ProcessLookupError when it has ended."""
    with open(f"/proc/{pid}/mountinfo", "rb", buffering=0) as file:
        lines = os.fsdecode(file.readall()).splitlines()
    return tuple(parsed(line) for line in lines)


def parsed(line: str) -> Mounted:
    """One line."""
    words = line.split(" ")
    rest = words[words.index("-") + 1 :]
    return Mounted(int(words[0]), _plain(words[4]), tuple(words[5].split(",")), rest[0])


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)


def number_of(fd: int) -> int:
    """The number of the mount that a descriptor is on."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))


def at(pid: int, fd: int) -> Mounted | None:
    """What is mounted just where a descriptor is, as a process sees it; None where it is somewhere in a mount."""
    number = number_of(fd)
    path = os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)")  # on another file system, by its host
    found = next((each for each in mounts(pid) if each.number == number), None)
    return found if found is not None and found.point == path else None


def fstype_of(path: str) -> str:
    """The file system that a path of the host is on; "" where that cannot be said."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            number = number_of(fd)
        finally:
            os.close(fd)
        return next((each.fstype for each in mounts(os.getpid()) if each.number == number), "")
    return ""


def users(pids: Iterable[int], number: int) -> tuple[int, ...]:
    """Those of these processes that have a file on the mount open, or are in a directory of it."""
    return tuple(pid for pid in pids if number in _used_by(pid))


def _used_by(pid: int) -> set[int]:
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fdinfo"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as file:
                found |= {int(line.split()[1]) for line in file if line.startswith("mnt_id:")}
    for name in ("cwd", "root", "exe"):
        with contextlib.suppress(OSError):
            fd = os.open(f"/proc/{pid}/{name}", os.O_PATH | os.O_CLOEXEC)
            try:
                found.add(number_of(fd))
            finally:
                os.close(fd)
    return found

"""What system is in a root filesystem, by its own files.

Files are looked for in each layer, the uppermost first, with links resolved inside of that layer alone: enough for
os-release, which is a file in the layer that brings the distribution. Source: os-release(5), elf(5).
"""

import contextlib
import os
import shlex
import stat

import msgspec

from cloison.kernel import paths

_RELEASES = ("etc/os-release", "usr/lib/os-release")
_INIT = "sbin/init"
_PROGRAMS = ("sbin/init", "bin/sh", "bin/busybox", "usr/bin/env")
_MACHINES = {
    3: "i386",
    62: "amd64",
    40: "armhf",
    183: "arm64",
    21: "ppc64el",
    22: "s390x",
    243: "riscv64",
    258: "loong64",
}
_STOPS = (("systemd", "SIGRTMIN+3"), ("busybox", "SIGUSR2"))
_SYSV_STOP = "SIGPWR"  # what LXC sends to sysvinit and upstart, which understand it


class System(msgspec.Struct, frozen=True):
    """What was found; "" for what was not. `stop_signal` asks its init to shut down, "" without one."""

    os: str = ""
    release: str = ""
    description: str = ""
    architecture: str = ""
    stop_signal: str = ""


def look(directories: tuple[str, ...]) -> System:
    """The system in these layers, the uppermost first."""
    said: dict[str, str] = {}
    architecture = stop = ""
    for directory in directories:
        with paths.held(directory) as root:
            for path in _RELEASES:
                said = said or _assignments(_read(root, path))
            architecture = architecture or next(filter(None, (_machine(root, path) for path in _PROGRAMS)), "")
            stop = stop or _stop_signal(root)
    return System(
        os=said.get("ID", ""),
        release=said.get("VERSION_ID", "") or said.get("BUILD_ID", "") or said.get("VERSION_CODENAME", ""),
        description=said.get("PRETTY_NAME", ""),
        architecture=architecture,
        stop_signal=stop,
    )


def _read(root: int, path: str) -> bytes:
    with contextlib.suppress(OSError):
        return paths.read_in_root(root, path)
    return b""


def _assignments(text: bytes) -> dict[str, str]:
    found = {}
    for line in text.decode(errors="replace").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            with contextlib.suppress(ValueError):
                found[key] = "".join(shlex.split(value))[:200]
    return found


def _machine(root: int, path: str) -> str:
    """The architecture of a program. Its header says in which order its numbers are."""
    start = _start(root, path)
    if start[:4] != b"\x7fELF" or len(start) < 20:
        return ""
    machine = int.from_bytes(start[18:20], "little" if start[5] == 1 else "big")
    return "ppc64" if machine == 21 and start[5] == 2 else _MACHINES.get(machine, "")


def _start(root: int, path: str) -> bytes:
    with contextlib.suppress(OSError):
        fd = paths.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            return os.read(fd, 64) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)
    return b""


def _stop_signal(root: int) -> str:
    """What asks the init here to end, which its name tells."""
    try:
        fd = paths.open_in_root(root, _INIT, os.O_PATH)
    except OSError:
        return ""
    try:
        name = os.path.basename(paths.name_beneath(root, fd)).decode(errors="replace")
    except ValueError:
        return ""
    finally:
        os.close(fd)
    return next((stop for word, stop in _STOPS if word in name), _SYSV_STOP)

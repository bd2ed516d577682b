"""Reading control groups: usage, limits, freezer, members. Writing is a plan's business, but for the freezer.

Source: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst.
"""

import os

import msgspec


class CgroupUsage(msgspec.Struct, frozen=True):
    """What a group has used. None where no controller counts it."""

    cpu_ns: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    processes: int | None = None


def usage(directories: tuple[tuple[int, tuple[str, ...], str], ...]) -> CgroupUsage:
    """The usage of an instance whose groups are `directories`, each (version, controllers, path)."""
    cpu = memory = peak = processes = None
    for version, controllers, path in directories:
        if version == 2:
            cpu = cpu if cpu is not None else _usage_usec(path)
            memory = memory if memory is not None else _number(f"{path}/memory.current")
            peak = peak if peak is not None else _number(f"{path}/memory.peak")
            processes = processes if processes is not None else _number(f"{path}/pids.current")
            continue
        if "cpuacct" in controllers:
            cpu = _number(f"{path}/cpuacct.usage")
        if "memory" in controllers:
            memory = _number(f"{path}/memory.usage_in_bytes")
            peak = _number(f"{path}/memory.max_usage_in_bytes")
        if "pids" in controllers:
            processes = _number(f"{path}/pids.current")
    return CgroupUsage(cpu, memory, peak, processes)


def members(path: str) -> tuple[int, ...]:
    """The pids of every process in a group and below it, as this process sees them."""
    found: list[int] = []
    for directory, _names, _files in os.walk(path):
        found += [int(word) for word in (_text(f"{directory}/cgroup.procs") or "").split()]
    return tuple(found)


def is_frozen(directories: tuple[tuple[int, tuple[str, ...], str], ...]) -> bool:
    """Whether the group's processes are frozen."""
    for version, controllers, path in directories:
        if version == 2 and "frozen 1" in (_text(f"{path}/cgroup.events") or ""):
            return True
        if "freezer" in controllers and (_text(f"{path}/freezer.state") or "").startswith("FROZEN"):
            return True
    return False


def read(path: str) -> str | None:
    """The text of a cgroup file, without its newline; None where there is no such file."""
    text = _text(path)
    return None if text is None else text.rstrip("\n")


def _usage_usec(path: str) -> int | None:
    for line in (_text(f"{path}/cpu.stat") or "").splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) * 1000
    return None


def _number(path: str) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.strip().isdecimal() else None


def _text(path: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 1 << 16).decode()
    except OSError:
        return None
    finally:
        os.close(fd)

"""Reading control groups: usage, limits, freezer, members. Writing is a plan's business, but for the freezer.

What a group has used is put together from the texts of its files, whoever read them: this process from a living
group, or a monitor at the end of a run, whose groups are gone by the time that anybody asks.
Source: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst.
"""

import itertools
import os
from collections.abc import Iterable

import msgspec

PAGE = 4096


class CgroupUsage(msgspec.Struct, frozen=True):
    """What a group has used. None where no controller counts it."""

    cpu_ns: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    processes: int | None = None
    swap_bytes: int | None = None
    cpu_throttled_ns: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    oom_kills: int | None = None


def usage(paths: Iterable[str]) -> CgroupUsage:
    """What the files at `paths` (see `cloison.plan.cgroups:sampled`) say now."""
    texts = [(path, _text(path)) for path in paths]
    return counted([(path, text) for path, text in texts if text is not None])


def counted(texts: Iterable[tuple[str, str]]) -> CgroupUsage:
    """The usage of an instance whose files had these texts, each with its path. A text that is none is passed over.

    On v1 a group does not count the out-of-memory kills of those below it: `memory.oom_control` is summed up."""
    said: dict[str, int] = {}
    for path, text in texts:
        for name, value in _said(path.rsplit("/", 1)[-1], text):
            said[name] = said.get(name, 0) + value if name == "oom_kills" else value
    memory, both = said.get("memory_bytes"), said.get("memory_and_swap_bytes")
    swap = said.get("swap_bytes")
    if memory is not None and both is not None:
        swap = max(0, both - memory)  # read one after the other: a page may have moved in between
    return CgroupUsage(
        cpu_ns=said.get("cpu_ns", said.get("unified_cpu_ns")),
        memory_bytes=memory,
        memory_peak_bytes=said.get("memory_peak_bytes"),
        processes=said.get("processes"),
        swap_bytes=swap,
        cpu_throttled_ns=said.get("cpu_throttled_ns"),
        read_bytes=said.get("read_bytes"),
        written_bytes=said.get("written_bytes"),
        oom_kills=said.get("oom_kills"),
    )


_NUMBERS = {
    "cpuacct.usage": "cpu_ns",
    "memory.usage_in_bytes": "memory_bytes",
    "memory.current": "memory_bytes",
    "memory.max_usage_in_bytes": "memory_peak_bytes",
    "memory.peak": "memory_peak_bytes",
    "memory.memsw.usage_in_bytes": "memory_and_swap_bytes",
    "memory.swap.current": "swap_bytes",
    "pids.current": "processes",
}
_LINES = {
    "cpu.stat": {  # v1 counts in nanoseconds, v2 in microseconds
        "usage_usec": ("unified_cpu_ns", 1000),
        "throttled_usec": ("cpu_throttled_ns", 1000),
        "throttled_time": ("cpu_throttled_ns", 1),
    },
    "memory.oom_control": {"oom_kill": ("oom_kills", 1)},
    "memory.events": {"oom_kill": ("oom_kills", 1)},
}


def _said(name: str, text: str) -> list[tuple[str, int]]:
    """What one file says, in our words."""
    if name in _NUMBERS:
        number = text.strip()
        return [(_NUMBERS[name], int(number))] if number.isdecimal() else []
    if name in _LINES:
        known = _LINES[name]
        pairs = [line.split() for line in text.splitlines()]
        return [
            (known[pair[0]][0], int(pair[1]) * known[pair[0]][1])
            for pair in pairs
            if len(pair) == 2 and pair[0] in known and pair[1].isdecimal()
        ]
    if name == "blkio.throttle.io_service_bytes_recursive":
        return _moved(text, "Read", "Write")
    if name == "io.stat":
        return _moved(text.replace("=", " "), "rbytes", "wbytes")
    return []


def _moved(text: str, read: str, write: str) -> list[tuple[str, int]]:
    """Bytes read and written, over all devices: each word is followed by its number."""
    words = text.split()
    sums = {read: 0, write: 0}
    for word, number in itertools.pairwise(words):
        if word in sums and number.isdecimal():
            sums[word] += int(number)
    return [("read_bytes", sums[read]), ("written_bytes", sums[write])]


def below(path: str) -> tuple[str, ...]:
    """The groups below a group. The file system counts them as links: one without any is not listed."""
    try:
        if os.stat(path).st_nlink <= 2:
            return ()
    except FileNotFoundError:
        return ()
    return tuple(directory for directory, _names, _files in os.walk(path) if directory != path)


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


def _text(path: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = b""
        while more := os.read(fd, PAGE):  # the kernel gives whole lines, and no more than a page at a time
            text += more
        return text.decode()
    except OSError:
        return None
    finally:
        os.close(fd)

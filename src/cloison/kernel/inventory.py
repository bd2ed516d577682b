"""What a host has besides its kernel's features: programs, ranges of ids, ceilings, space. Each question is cheap.

Source: subuid(5), proc(5), statvfs(3), elf(5).
"""

import os
import pwd
import struct

import msgspec

from cloison.kernel.probe import read_text
from cloison.kernel.programs import which

_PT_INTERP = 3


class Space(msgspec.Struct, frozen=True):
    """What is free for this user on a file system. Some (btrfs) count no inodes: `free_inodes` is None."""

    fstype: str
    free_bytes: int
    total_bytes: int
    free_inodes: int | None


def program(name: str) -> str | None:
    """The path of a program; None where it is missing."""
    return which(name)


def is_static(path: str) -> bool:
    """Whether an executable needs no interpreter, so that it runs in any root file system. False where it is none."""
    with open(path, "rb") as file:
        start = file.read(4096)
    if len(start) < 64 or start[:4] != b"\x7fELF":
        return False
    is_64 = start[4] == 2
    endian = "<" if start[5] == 1 else ">"
    offset, size, count = _program_headers(start, endian, is_64=is_64)
    kinds = (struct.unpack_from(f"{endian}I", start, offset + number * size)[0] for number in range(count))
    return offset + size * count <= len(start) and _PT_INTERP not in kinds


def _program_headers(start: bytes, endian: str, *, is_64: bool) -> tuple[int, int, int]:
    offset: int = struct.unpack_from(f"{endian}{'Q' if is_64 else 'I'}", start, 32 if is_64 else 28)[0]
    size, count = struct.unpack_from(f"{endian}HH", start, 54 if is_64 else 42)
    return offset, size, count


def subordinate_ids(path: str, uid: int) -> tuple[tuple[int, int], ...]:
    """The ranges (first, count) that `path`, /etc/subuid or /etc/subgid, gives to a user by name or number."""
    names = {str(uid), user_name(uid)}
    found = []
    for line in (setting(path) or "").splitlines():
        owner, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if owner in names and first.isdecimal() and count.isdecimal():
            found.append((int(first), int(count)))
    return tuple(found)


def user_name(uid: int) -> str:
    """The name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def setting(path: str) -> str | None:
    """What stands in a small file, without its last newline; None where it is missing or not for us to read."""
    try:
        return read_text(path).rstrip("\n")
    except OSError:
        return None


def ipv4_devices() -> tuple[str, ...]:
    """The interfaces with a route of IPv4 in the main table, those of the caller's network namespace.

    Source: proc_pid_net(5)."""
    lines = (setting("/proc/thread-self/net/route") or "").splitlines()[1:]
    return tuple(dict.fromkeys(line.partition("\t")[0] for line in lines))


def ceiling(name: str) -> int | None:
    """The value of a kernel parameter such as "fs.inotify.max_user_instances"; None where the kernel has none."""
    value = setting("/proc/sys/" + name.replace(".", "/"))
    return int(value) if value is not None and value.lstrip("-").isdecimal() else None


def memory_and_swap() -> tuple[int, int]:
    """Bytes of memory and of swap space that there are. Source: proc_meminfo(5)."""
    fields = dict(line.split(":", 1) for line in read_text("/proc/meminfo").splitlines())
    memory, swap = (int(fields[name].split()[0]) << 10 for name in ("MemTotal", "SwapTotal"))
    return memory, swap


def hugepage_sizes(directory: str = "/sys/kernel/mm/hugepages") -> tuple[int, ...]:
    """The sizes of huge pages that this kernel can make, in bytes, smallest first. Source: vm/hugetlbpage.rst."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) << 10 for name in names))


def space(directory: str) -> Space:
    """What is free below `directory`. Raises OSError."""
    found = os.statvfs(directory)
    return Space(
        fstype=_fstype(os.path.realpath(directory)),
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        free_inodes=found.f_favail if found.f_files else None,
    )


def _fstype(path: str) -> str:
    """The type of the file system that `path` is on: that of the last of the longest mount points above it."""
    best, fstype = -1, "?"
    for line in read_text("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        mountpoint = left.split(" ", 5)[4].replace("\\040", " ").rstrip("/")
        if len(mountpoint) >= best and f"{path}/".startswith(mountpoint + "/"):
            best, fstype = len(mountpoint), right.split(" ", 1)[0]
    return fstype

"""lxcfs: files that show the limits of who reads them where /proc shows the whole machine.

It is a FUSE file system that a daemon of the host serves. A file of it, put over the one in the /proc of an instance,
answers by the control groups of the init of the PID namespace of who reads. Source: lxcfs(1); proc(5).
"""

import os
from typing import Final

import msgspec

DIRECTORY: Final = "/var/lib/lxcfs"  # where every distribution has it; CLOISON_LXCFS names another
FSTYPE: Final = "fuse.lxcfs"
# Those that are worth it. Not slabinfo, which root alone may read and lxcfs leaves empty.
FILES: Final = (
    *("proc/cpuinfo", "proc/diskstats", "proc/loadavg", "proc/meminfo", "proc/stat", "proc/swaps", "proc/uptime"),
    "sys/devices/system/cpu/online",
)


class Lxcfs(msgspec.Struct, frozen=True):
    """What there is of it at `directory`: `files` are those of FILES that it offers, none where its daemon has died."""

    directory: str
    is_mounted: bool
    files: tuple[str, ...] = ()


def look() -> Lxcfs:
    """What there is now. Cheap: one read where it is not mounted."""
    directory = os.environ.get("CLOISON_LXCFS") or DIRECTORY
    with open("/proc/self/mountinfo", "rb", buffering=0) as file:
        mountinfo = os.fsdecode(file.readall())
    if not is_mounted(mountinfo, directory):
        return Lxcfs(directory, is_mounted=False)
    offered = tuple(name for name in FILES if os.path.isfile(f"/{name}") and _is_served(f"{directory}/{name}"))
    return Lxcfs(directory, is_mounted=True, files=offered)


def _is_served(path: str) -> bool:
    """Opened, and not just looked at: the kernel remembers for a second what a daemon that has died since has said."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def is_mounted(mountinfo: str, directory: str) -> bool:
    """Whether these lines of proc_pid_mountinfo(5) have an lxcfs at `directory`, on top of what else is there."""
    if FSTYPE not in mountinfo:
        return False
    place = directory.replace(" ", "\\040")
    here = [line for line in mountinfo.splitlines() if line.split(" ", 5)[4] == place]
    return bool(here) and here[-1].partition(" - ")[2].split(" ", 1)[0] == FSTYPE

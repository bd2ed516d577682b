"""What is left of an installation on this machine, as everybody but cloison sees it.

Everything here looks at one root directory and at the ids of its instances, so that whatever else the machine does
meanwhile is no finding. Nothing of cloison is asked.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def left(root: Path, ids: Iterable[str] = (), id_bases: Iterable[int] = ()) -> list[str]:
    """Every mount, control group, process and run-time file below `root` or of the instances `ids`."""
    ids = tuple(ids)
    return [
        *(f"mount: {line}" for line in mounts(root)),
        *(f"cgroup: {path}" for path in cgroups(ids)),
        *(f"process: {pid} {command_line(pid)}" for pid in processes(root, ids, tuple(id_bases))),
        *(f"file: {path}" for path in run_files(root)),
    ]


def mounts(root: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(root) in line]


def cgroup_tops() -> list[Path]:
    """Where a hierarchy is mounted: one directory on v2, one for each hierarchy elsewhere."""
    return [path.parent for path in (*CGROUPS.glob("cgroup.procs"), *CGROUPS.glob("*/cgroup.procs"))]


def cgroups(ids: Iterable[str]) -> list[Path]:
    """The outer control groups of instances: at the top, or in a scope that systemd has made."""
    wanted = tuple(ids)
    return [path for folder in _folders() for name in wanted if (path := folder / name).exists()]


def _folders() -> list[Path]:
    return [path for top in cgroup_tops() for path in (top / "cloison", *top.glob("cloison.slice/*/cloison"))]


def processes(root: Path, ids: tuple[str, ...] = (), id_bases: tuple[int, ...] = ()) -> list[int]:
    """Who is in a control group of the instances, has their ids, or holds a file below `root`; but not this process."""
    marks = [name.encode() for name in ids]
    bases = [f" {base} ".encode() for base in id_bases]
    return [pid for pid in all_pids() if pid != os.getpid() and _belongs(f"/proc/{pid}", root, marks, bases)]


def _belongs(proc: str, root: Path, marks: list[bytes], bases: list[bytes]) -> bool:
    if b"\nState:\tZ" in _read(f"{proc}/status"):
        return False  # it has ended, and waits for process 1 of the machine, which need not be quick
    groups, maps = _read(f"{proc}/cgroup"), _read(f"{proc}/uid_map")
    if any(mark in groups for mark in marks) or any(base in maps for base in bases):
        return True
    return any(target.startswith(f"{root}/") for target in descriptors(proc).values())


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def descriptors(proc: str) -> dict[int, str]:
    """The descriptors of a process, each with what it leads to; none where this process may not look."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(f"{proc}/fd"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[int(name)] = os.readlink(f"{proc}/fd/{name}")
    return found


def run_files(root: Path) -> list[Path]:
    """What the run directories hold besides locks."""
    run = root / "run"
    return [path for path in sorted(run.rglob("*")) if (run / "locks") not in (path, *path.parents)]


def command_line(pid: int) -> str:
    return _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")


def status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def namespace(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def children(pid: int) -> list[int]:
    return [int(word) for word in _read(f"/proc/{pid}/task/{pid}/children").split()]


def mount_table(pid: int) -> dict[str, "Mount"]:
    """What a process has mounted, by mount point; of a stack the topmost."""
    return {mount.point: mount for mount in _mounts(pid)}


class Mount:
    """A line of mountinfo (proc_pid_mountinfo(5))."""

    def __init__(self, line: str) -> None:
        head, _, tail = line.partition(" - ")
        fields = head.split()
        self.root, self.point = fields[3], fields[4]
        self.options = frozenset(fields[5].split(","))
        self.tags = fields[6:]
        self.fstype, self.source = tail.split()[:2]


def _mounts(pid: int) -> Iterator[Mount]:
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        yield Mount(line)


def _read(path: str) -> bytes:
    """A file of /proc; empty for a process that has ended."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""
    finally:
        os.close(fd)

"""What passes between the engine and a driver of instances. Pure.

The protocols that a driver offers stand in `cloison.engine.drivers`, since they speak of plans.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from cloison.spec.network import Interface
from cloison.spec.oci import Process, Resources, Rlimit, Spec


class State(StrEnum):
    """What an instance is doing. The words are a public contract."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    FROZEN = "frozen"
    STOPPING = "stopping"
    STUCK = "stuck"  # it ended, and not everything could be taken back: see `cloison repair`


class RootFiles(msgspec.Struct, frozen=True):
    """The root file system that storage contributes: read-only layers, top first, and the directory that `upper` and
    `work` of overlayfs are in; without layers, `writable` is the whole root; or `image`, a file or a block device with
    an ext4 that is to be mounted with these `options`."""

    lower: tuple[str, ...]
    writable: str
    image: str = ""
    options: tuple[str, ...] = ()


class StartRequest(msgspec.Struct, frozen=True):
    """All that a start needs."""

    name: str
    spec: Spec
    root: RootFiles
    log: str
    log_size_bytes: int
    record: str
    reboot: tuple[str, ...]
    writable: tuple[str, ...] = ()
    alarm: tuple[str, ...] = ()  # what its monitor runs when the kernel kills a process of it for memory
    at_end: tuple[str, ...] = ()  # what its monitor runs last, and does not wait for
    interfaces: tuple[Interface, ...] = ()  # by number, for an instance with a network of its own
    is_loopback_up: bool = True


class ExecRequest(msgspec.Struct, frozen=True):
    """A command to run inside; `winsize` is (rows, columns) where it has a terminal."""

    name: str
    spec: Spec
    process: Process
    winsize: tuple[int, int] = (24, 80)
    argv0: str = ""  # what the program sees as its own name, where that differs from args[0]


class Account(msgspec.Struct, frozen=True):
    """A user of an instance; ids as seen inside."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"
    shell: str = "/bin/sh"


class Observed(msgspec.Struct, frozen=True):
    """What can be seen of an instance now; pids as the host sees them, 0 where there is no such process.

    `began_ns` is when its present start began, in nanoseconds since 1970, 0 for one that is stopped: it tells one run
    from the next."""

    state: State
    pid: int = 0
    monitor_pid: int = 0
    began_ns: int = 0


class Usage(msgspec.Struct, frozen=True):
    """What an instance has used since it started; None where this host does not count it."""

    cpu_ns: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    processes: int | None = None
    swap_bytes: int | None = None
    cpu_throttled_ns: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    received_bytes: int | None = None  # by its own interfaces but the loopback
    sent_bytes: int | None = None
    oom_kills: int | None = None


class Reading(msgspec.Struct, frozen=True):
    """What an instance was doing and had used at one moment; `time_ns` since 1970, `monotonic_ns` to measure by."""

    observed: Observed
    usage: Usage
    time_ns: int
    monotonic_ns: int


class LiveLimits(msgspec.Struct, frozen=True):
    """The limits of an instance, those of its control groups and those of its processes."""

    resources: Resources = Resources()
    rlimits: tuple[Rlimit, ...] = ()
    sysctl: dict[str, str] = {}
    oom_score_adj: int | None = None


class HostSize(msgspec.Struct, frozen=True):
    """What there is to be limited: bytes of memory and swap, the numbers of the CPUs that are online, and the sizes of
    huge pages in bytes."""

    memory_bytes: int
    swap_bytes: int
    cpus: tuple[int, ...]
    hugepage_bytes: tuple[int, ...] = ()


class Exit(msgspec.Struct, frozen=True):
    """How an instance ended."""

    wait_status: int
    started_ns: int = 0
    ended_ns: int = 0
    undo_failed: int = 0


class StepDone(msgspec.Struct, frozen=True):
    """A step that was carried out, for `-v`; `monotonic_ns` is when."""

    index: int
    text: str
    monotonic_ns: int
    warning: str = ""


Watch = Callable[[StepDone], None]


Stdio = tuple[int, int, int] | tuple[()]


class Running(Protocol):
    """A command that runs inside an instance; a context manager that waits for its end."""

    @property
    def pid(self) -> int: ...
    @property
    def terminal(self) -> int: ...
    def __enter__(self) -> "Running": ...
    def __exit__(self, *_: object) -> None: ...
    def fileno(self) -> int: ...
    def wait(self, timeout_s: float | None = None) -> int: ...
    def signal(self, number: int) -> None: ...

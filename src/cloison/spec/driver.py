"""What a driver of instances offers to the engine: small protocols, each declared or absent.

`runtime` is the driver of containers. The values here are what passes between engine and driver. Pure.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from cloison.spec.oci import Process, Resources, Spec


class State(StrEnum):
    """What an instance is doing. The words are a public contract."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    FROZEN = "frozen"
    STOPPING = "stopping"
    STUCK = "stuck"  # it ended, and not everything could be taken back: see `cloison repair`


class RootFiles(msgspec.Struct, frozen=True):
    """The root file system that storage contributes: read-only layers, top first, and the writable directory."""

    lower: tuple[str, ...]
    writable: str


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


class ExecRequest(msgspec.Struct, frozen=True):
    """A command to run inside; `winsize` is (rows, columns) where it has a terminal."""

    name: str
    spec: Spec
    process: Process
    winsize: tuple[int, int] = (24, 80)
    argv0: str = ""  # what the program sees as its own name, where that differs from args[0]


class Observed(msgspec.Struct, frozen=True):
    """What can be seen of an instance now; pids as the host sees them, 0 where there is no such process."""

    state: State
    pid: int = 0
    monitor_pid: int = 0


class Usage(msgspec.Struct, frozen=True):
    """What an instance has used since it started; None where this host does not count it."""

    cpu_ns: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    processes: int | None = None


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


class Lifecycle(Protocol):
    """Start, watch and end an instance."""

    def start(self, instance_id: str, request: StartRequest, watch: Watch | None = None) -> int: ...
    def explain_start(self, instance_id: str, request: StartRequest) -> object: ...
    def observe(self, instance_id: str) -> Observed: ...
    def signal(self, instance_id: str, number: int, *, is_stop: bool = False) -> None: ...
    def wait(self, instance_id: str, timeout_s: float | None = None) -> bool: ...
    def kill(self, instance_id: str) -> None: ...
    def repair(self, instance_id: str) -> bool: ...


class Stats(Protocol):
    """Count what an instance uses, and bound it."""

    def usage(self, instance_id: str) -> Usage: ...
    def set_limits(self, instance_id: str, name: str, wanted: Resources) -> None: ...

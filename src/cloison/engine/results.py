"""What the engine answers: typed values whose JSON keys are a public contract. Pure."""

import msgspec

from cloison.spec.driver import State, Usage


class LimitInfo(msgspec.Struct, frozen=True):
    """null is "no limit"."""

    memory_bytes: int | None
    cpus: float | None
    processes: int | None


class IdMapInfo(msgspec.Struct, frozen=True):
    """`count` ids, from `guest` inside and `host` outside."""

    guest: int
    host: int
    count: int


class ExitInfo(msgspec.Struct, frozen=True):
    """How it ended last. `code` is 128+n for signal n; `reason` is exited, killed, halted or rebooted."""

    code: int
    reason: str
    ended: str
    undo_failed: int


class Info(msgspec.Struct, frozen=True):
    """One instance. Times are RFC 3339 in UTC, null where it never happened; pids are the host's, 0 for none."""

    id: str
    name: str
    kind: str
    state: State
    pid: int
    monitor_pid: int
    image: str
    image_digest: str
    privileged: bool
    idmap: tuple[IdMapInfo, ...]
    addresses: tuple[str, ...]
    network: str
    limits: LimitInfo
    usage: Usage
    created: str
    started: str | None
    config: dict[str, str]
    exit: ExitInfo | None = None
    disk_bytes: int | None = None


class ExecResult(msgspec.Struct, frozen=True):
    """A command that has ended: its exit code (128+n for signal n) and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes


class Change(msgspec.Struct, frozen=True):
    """What `set` did: the keys that are in force at once, and those that wait for the next start."""

    live: tuple[str, ...]
    at_next_start: tuple[str, ...]


class Repaired(msgspec.Struct, frozen=True):
    """One thing that `repair` took back."""

    what: str
    where: str

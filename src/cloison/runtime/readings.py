"""What running instances have used: read from their groups while they live, or from the record that a monitor wrote.

A record, written beside the exit record at the end of a run, holds the texts of the files that its plan named:

    <path> <length>\\n<length bytes>\\n      ... one after the other; the last may be called net/dev

Many instances are read at once: first every monitor is asked, then the files are read while they answer.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

import msgspec

from cloison.kernel import cgroups, procfs
from cloison.plan.cgroups import sampled
from cloison.plan.inputs import CgroupPlace
from cloison.runtime import host, monitor
from cloison.runtime.rundir import Keeper, RunDir
from cloison.spec.driver import Observed, Reading, State, Usage

NETWORK = "net/dev"
AT_ONCE = 100  # descriptors: one for each monitor that has been asked and not answered yet


class Files(msgspec.Struct, frozen=True):
    """What is read of one instance: the files of `plan.cgroups.sampled`; the memory groups of v1 below which others may
    count out-of-memory kills of their own; and the groups that say whether it is frozen."""

    sampled: tuple[str, ...]
    guests: tuple[str, ...]
    outer: tuple[tuple[int, tuple[str, ...], str], ...]

    def of_another(self, present: str, wanted: str) -> "Files":
        """The same of the instance `wanted`, where all lie alike but for their id."""
        return Files(
            tuple([path.replace(present, wanted) for path in self.sampled]),
            tuple([path.replace(present, wanted) for path in self.guests]),
            tuple([(version, names, path.replace(present, wanted)) for version, names, path in self.outer]),
        )


def files(places: tuple[CgroupPlace, ...]) -> Files:
    """What is read of an instance whose groups are `places`."""
    return Files(
        sampled(places),
        tuple(place.inner for place in places if place.version == 1 and "memory" in place.controllers),
        tuple(one for one in host.directories(places) if one[0] == 2 or "freezer" in one[1]),
    )


def usage(where: Files, observed: Observed) -> Usage:
    """What an instance uses."""
    deeper = [f"{group}/memory.oom_control" for guest in where.guests for group in cgroups.below(guest)]
    counted = cgroups.usage((*where.sampled, *deeper))
    text = procfs.network(observed.pid, observed.monitor_pid) if observed.pid and observed.monitor_pid else None
    return _usage(counted, text)


def recorded(record: bytes) -> Usage:
    """What an instance had used when it ended, from its monitor's record."""
    texts, network = [], None
    for path, text in _entries(record):
        if path == NETWORK:
            network = text
        elif text:
            texts.append((path, text))
    return _usage(cgroups.counted(texts), network)


def _entries(record: bytes) -> list[tuple[str, str]]:
    """The paths and texts of a record; a last one that was cut off is left out."""
    found, rest = [], record
    while rest:
        head, newline, rest = rest.partition(b"\n")
        path, _, length = head.rpartition(b" ")
        if not newline or not length.isdigit() or len(rest) < int(length):
            break
        found.append((path.decode(errors="replace"), rest[: int(length)].decode(errors="replace")))
        rest = rest[int(length) + 1 :]
    return found


def _usage(counted: cgroups.CgroupUsage, network: str | None) -> Usage:
    received, sent = procfs.traffic(network) if network is not None else (None, None)
    return Usage(
        cpu_ns=counted.cpu_ns,
        memory_bytes=counted.memory_bytes,
        memory_peak_bytes=counted.memory_peak_bytes,
        processes=counted.processes,
        swap_bytes=counted.swap_bytes,
        cpu_throttled_ns=counted.cpu_throttled_ns,
        read_bytes=counted.read_bytes,
        written_bytes=counted.written_bytes,
        received_bytes=received,
        sent_bytes=sent,
        oom_kills=counted.oom_kills,
    )


def readings(
    rundirs: dict[str, RunDir],
    observe: Callable[[str], Observed],
    where: Callable[[str], Files],
) -> dict[str, Reading]:
    """A reading of each; `observe` is asked about those whose monitor does not say at once that they run."""
    found: dict[str, Reading] = {}
    ids = list(rundirs)
    for start in range(0, len(ids), AT_ONCE):
        found |= _some(ids[start : start + AT_ONCE], rundirs, observe, where)
    return found


def _some(
    ids: Sequence[str],
    rundirs: dict[str, RunDir],
    observe: Callable[[str], Observed],
    where: Callable[[str], Files],
) -> dict[str, Reading]:
    found: dict[str, Reading] = {}
    with contextlib.ExitStack() as stack:
        asked, began = {}, {}
        for name in ids:
            if rundirs[name].keeper() is Keeper.ALIVE:
                began[name] = rundirs[name].began_ns()  # before its monitor is asked: see ContainerDriver.observe
                with contextlib.suppress(monitor.MonitorGone, monitor.NoAnswer):
                    connection = stack.enter_context(monitor.connect(rundirs[name].socket))
                    connection.ask_status()
                    asked[name] = connection
        for name in ids:
            status = _told(asked[name]) if name in asked else None
            mine = where(name)
            if status is None or status.is_stopping:
                observed = observe(name)
            else:
                state = State.FROZEN if cgroups.is_frozen(mine.outer) else State.RUNNING
                observed = Observed(state, status.pid, status.monitor_pid, began[name])
            found[name] = Reading(
                observed, usage(mine, observed) if observed.pid else Usage(), time.time_ns(), time.monotonic_ns()
            )
    return found


def _told(connection: monitor.Connection) -> monitor.Status | None:
    with contextlib.suppress(monitor.MonitorGone):
        return connection.told_status()
    return None

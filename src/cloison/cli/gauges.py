"""What instances use, as it is shown: the columns of `stats` and `top`, and rates between two readings. Pure."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from cloison.base.units import format_size

if TYPE_CHECKING:
    from cloison.engine.results import Stats

Number = float | int | None
NOTHING = "-"


class Rates(msgspec.Struct, frozen=True):
    """How fast something is used: percent of one CPU, bytes in a second. None where that is not known (yet)."""

    cpu_percent: float | None = None
    read_bps: float | None = None
    written_bps: float | None = None
    received_bps: float | None = None
    sent_bps: float | None = None


def rates(before: "Stats | None", now: "Stats") -> Rates:
    """The rates between two readings of one run; without an earlier one, the CPU's mean since the start."""
    if before is None or before.started != now.started or now.monotonic_ns <= before.monotonic_ns:
        return Rates(now.cpu_percent)
    span_ns = now.monotonic_ns - before.monotonic_ns

    def rate(name: str, per: float) -> float | None:
        old, new = getattr(before.usage, name), getattr(now.usage, name)
        return None if old is None or new is None or new < old else (new - old) * per / span_ns

    return Rates(
        rate("cpu_ns", 100),
        rate("read_bytes", 1e9),
        rate("written_bytes", 1e9),
        rate("received_bytes", 1e9),
        rate("sent_bytes", 1e9),
    )


class Reading(msgspec.Struct, frozen=True):
    """One instance in one line."""

    stats: "Stats"
    rates: Rates

    @property
    def memory_percent(self) -> float | None:
        """Of its limit; None without one."""
        return percent(self.stats.usage.memory_bytes, self.stats.limits.memory_bytes)


def percent(used: Number, limit: Number) -> float | None:
    """How much of `limit` is used; None where either is not known."""
    return None if used is None or not limit else 100 * used / limit


class Column(msgspec.Struct, frozen=True):
    """A column: its title, the key that sorts by it, a short word for it beside that key, its text, and what it is
    sorted by (the largest first)."""

    title: str
    key: str
    word: str
    text: Callable[[Reading], str]
    rank: Callable[[Reading], float | str]
    is_right: bool = True


def size(number: Number) -> str:
    """Bytes for people."""
    return NOTHING if number is None else format_size(int(number))


def share(number: float | None) -> str:
    """A percentage: 0.4%, 37%."""
    if number is None:
        return NOTHING
    return f"{number:.1f}%" if number < 10 else f"{number:.0f}%"


def cpu_time(cpu_ns: int | None) -> str:
    """CPU time: 12.3s, 4m05s, 7h02m, 3d04h."""
    if cpu_ns is None:
        return NOTHING
    seconds = cpu_ns // 1_000_000_000
    if seconds < 60:
        return f"{cpu_ns / 1e9:.1f}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if hours < 1:
        return f"{minutes}m{seconds % 60:02}s"
    return f"{hours}h{minutes % 60:02}m" if days < 1 else f"{days}d{hours % 24:02}h"


def of(used: str, limit: str) -> str:
    """`12M/256M`; without a limit, what is used."""
    return used if limit == NOTHING else f"{used}/{limit}"


def both(one: str, other: str) -> str:
    """Two that belong together; nothing where neither is known."""
    return NOTHING if one == other == NOTHING else f"{one}/{other}"


def count(number: int | None) -> str:
    """A number of things."""
    return NOTHING if number is None else str(number)


def _memory(reading: Reading) -> str:
    used = size(reading.stats.usage.memory_bytes)
    if reading.memory_percent is None:
        return used
    return f"{of(used, size(reading.stats.limits.memory_bytes))} {share(reading.memory_percent)}"


def total(*numbers: Number) -> float:
    """A sum in which what is not known counts nothing."""
    return float(sum(number or 0 for number in numbers))


NAME = Column("NAME", "n", "name", lambda r: r.stats.name, lambda r: r.stats.name, is_right=False)
STATE = Column("STATE", "s", "state", lambda r: str(r.stats.state), lambda r: str(r.stats.state), is_right=False)
CPU = Column("CPU", "c", "cpu", lambda r: share(r.rates.cpu_percent), lambda r: total(r.rates.cpu_percent))
TIME = Column("TIME", "t", "time", lambda r: cpu_time(r.stats.usage.cpu_ns), lambda r: total(r.stats.usage.cpu_ns))
MEMORY = Column("MEMORY", "m", "memory", _memory, lambda r: total(r.stats.usage.memory_bytes))
SWAP = Column("SWAP", "w", "swap", lambda r: size(r.stats.usage.swap_bytes), lambda r: total(r.stats.usage.swap_bytes))
PROCESSES = Column(
    "PROCESSES",
    "p",
    "procs",
    lambda r: of(count(r.stats.usage.processes), count(r.stats.limits.processes)),
    lambda r: total(r.stats.usage.processes),
)
IO = Column(
    "READ/WRITTEN",
    "i",
    "io",
    lambda r: both(size(r.stats.usage.read_bytes), size(r.stats.usage.written_bytes)),
    lambda r: total(r.stats.usage.read_bytes, r.stats.usage.written_bytes),
)
NETWORK = Column(
    "RECEIVED/SENT",
    "e",
    "net",
    lambda r: both(size(r.stats.usage.received_bytes), size(r.stats.usage.sent_bytes)),
    lambda r: total(r.stats.usage.received_bytes, r.stats.usage.sent_bytes),
)
KILLS = Column("OOM", "o", "oom", lambda r: count(r.stats.usage.oom_kills), lambda r: total(r.stats.usage.oom_kills))
COLUMNS = (NAME, STATE, CPU, TIME, MEMORY, SWAP, PROCESSES, IO, NETWORK, KILLS)

"""The table, the JSON, and what machine it was."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench import peers
from bench.series import Row, Series

VERSIONS = ("crun", "runc", "bwrap", "lxc-start", "systemd-nspawn", "podman", "dockerd", "skopeo", "umoci", "unshare")


class Line(msgspec.Struct, frozen=True):
    """A row as JSON: medians, quartiles and every single value."""

    what: str
    peer: str
    unit: str
    bar: str
    verdict: str
    note: str
    ours: dict[str, object] | None
    theirs: dict[str, object] | None
    ratio: dict[str, object] | None


def heading() -> str:
    """The columns' names."""
    return _line("what", "beside", "ours", "theirs", "ratio", "bar", "")


def shown(row: Row) -> str:
    """One row as a line: medians with half the distance of the quartiles, the quartiles of the ratio in brackets."""
    if row.verdict == "skipped":
        return _line(row.what, row.peer, "", "", "", row.bar, f"skipped: {row.note}")
    ours, theirs = _number(row.ours, row.unit), _number(row.theirs, row.unit)
    return _line(row.what, row.peer, ours, theirs, _ratio(row.ratio), row.bar, " ".join((row.verdict, row.note)))


def machine() -> str:
    """One sentence: processors, memory, kernel, distribution, Python, cgroups."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    release = _os_name()
    cgroups = "cgroup v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "hybrid or v1 cgroups"
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, {release}, {cgroups}, "
        f"Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """Of every neighbour; "" where it is not installed."""
    return {program: peers.version(program) for program in VERSIONS}


def as_json(rows: Iterable[Row]) -> bytes:
    """Everything, for other programs."""
    lines = [
        Line(
            row.what,
            row.peer,
            row.unit,
            row.bar,
            row.verdict,
            row.note,
            *map(_facts, (row.ours, row.theirs, row.ratio)),
        )
        for row in rows
    ]
    whole = {"machine": machine(), "versions": versions(), "rows": lines}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1)


def _facts(series: Series | None) -> dict[str, object] | None:
    if series is None:
        return None
    return {"median": series.median, "quartiles": series.spread, "values": series.values}


def _number(series: Series | None, unit: str) -> str:
    if series is None:
        return "-"
    low, high = series.spread
    digits = 3 if series.median < 1 else 1
    return f"{series.median:.{digits}f} ±{(high - low) / 2:.{digits}f} {unit}"


def _ratio(series: Series | None) -> str:
    if series is None:
        return "-"
    low, high = series.spread
    return f"{series.median:.2f} [{low:.2f} {high:.2f}]"


def _line(what: str, peer: str, ours: str, theirs: str, ratio: str, bar: str, rest: str) -> str:
    return f"{what:<52} {peer:<16} {ours:>16} {theirs:>16} {ratio:>18}  {bar:<36} {rest}".rstrip()


def _os_name() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"

"""Fifty containers: how long they take to start one after another, and what their monitors keep."""

import re
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter_ns

import cloison
from bench import lxc
from bench.ground import LIMITS, Ground
from bench.processes import Failed, timed
from bench.series import Row, Series, compared, skipped

START = "{} busybox containers, one after another"
MEMORY = "monitor of one of {} running, PSS"
MEMORY_MIB = 0.1
ROUNDS = 4


def rows(ground: Ground) -> Iterator[Row]:
    """The same root filesystem and init for both; the two fifties run in turns, never together."""
    count = 5 if ground.is_quick else 50
    ours = [ground.instance(f"fifty-{number}", *LIMITS) for number in range(count)]
    try:
        theirs = _configured(ground, count)
    except Failed as problem:
        theirs, why = [], str(problem)
    times: tuple[list[float], list[float]] = ([], [])
    sizes: tuple[list[float], list[float]] = ([], [])
    for _turn in range(1 if ground.is_quick else ROUNDS):
        for measured, one in zip((_ours(ours), _lxc(ground, theirs) if theirs else None), (0, 1), strict=True):
            if measured is not None:
                times[one].append(measured[0])
                sizes[one].append(measured[1])
    if not theirs:
        yield skipped(START.format(count), "lxc-start", why)
        yield _memory(count, Series(tuple(sizes[0])), None)
        return
    pair = Series(tuple(times[0])), Series(tuple(times[1]))
    yield compared(START.format(count), "lxc-start", pair, at_most=1.0)
    yield _memory(count, Series(tuple(sizes[0])), Series(tuple(sizes[1])))


def _memory(count: int, ours: Series, theirs: Series | None) -> Row:
    row = compared(MEMORY.format(count), "lxc monitor", (ours, theirs or ours), unit="MiB")
    return Row(
        what=row.what,
        peer=row.peer,
        unit=row.unit,
        ours=ours,
        theirs=theirs,
        ratio=row.ratio if theirs else None,
        bar=f"at most {MEMORY_MIB} MiB",
        verdict="met" if ours.median <= MEMORY_MIB else "missed",
    )


def _ours(instances: list[cloison.Instance]) -> tuple[float, float]:
    began = perf_counter_ns()
    for instance in instances:
        instance.start()
    took = (perf_counter_ns() - began) / 1e6
    kept = _pss_mib([instance.observe().monitor_pid for instance in instances])
    for instance in instances:
        instance.stop(force=True)
    return took, kept


def _lxc(ground: Ground, names: list[str]) -> tuple[float, float]:
    took = sum(timed(lxc.command("lxc-start", ground, name), lxc.ENVIRONMENT) for name in names)
    kept = _pss_mib(lxc.monitors(ground))
    for name in names:
        lxc.stop(ground, name)
    return took, kept


def _configured(ground: Ground, count: int) -> list[str]:
    names = [lxc.configure(ground, f"fifty-{number}", ground.rootfs, limits=True) for number in range(count)]
    timed(lxc.command("lxc-start", ground, names[0]), lxc.ENVIRONMENT)
    lxc.stop(ground, names[0])
    return names


def _pss_mib(pids: list[int]) -> float:
    """The proportional set size per process: what is shared is divided among those that share it."""
    total = 0
    for pid in pids:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        total += int(found[1]) if found else 0
    return total / 1024 / len(pids)

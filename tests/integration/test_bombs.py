"""Three containers at their worst, all at once: what the host notices of it, and that all of them can be stopped."""

import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cloison import Instance
from tests.integration import witness
from tests.integration.conftest import QUICK, Launch, busy, eventually, left_at_last

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.guest]

SAMPLES = 50
SLOWER = 15  # times: half of the machine is theirs by their limits, and others may want the rest
LIMITS = ("limits.cpus=0.4", "limits.cpu_weight=10", "limits.memory=48M", "limits.processes=100")


class Bombs:
    """The three, and what each does."""

    def __init__(self, forks: Instance, allocates: Instance, writes: Instance) -> None:
        self.forks, self.allocates, self.writes = forks, allocates, writes
        self.all = (forks, allocates, writes)

    def are_all_at_it(self) -> bool:
        """As many processes as there may be, somebody killed for want of memory, and something written."""
        return (
            int(witness.group(self.forks, "pids").read("pids.current")) >= 90
            and witness.oom_kills(self.allocates) > 0
            and (self.writes.info().usage.written_bytes or 0) > 0
        )


@pytest.fixture
def idle_s() -> float:
    return latency_s()


@pytest.fixture
def bombs(launch: Launch, root: Path, idle_s: float) -> Iterator[Bombs]:
    """All three, at it."""
    rate = f"limits.io.{root}.write_bps=4M"  # over the same 32 MiB: this disk is not the test's own
    found = Bombs(
        launch(*QUICK, *LIMITS, name="forks"),
        launch(*QUICK, *LIMITS, name="allocates"),
        launch(*QUICK, *LIMITS, rate, name="writes"),
    )
    with ExitStack() as running:
        running.enter_context(busy(found.forks, "fork-loop"))
        running.enter_context(busy(found.allocates, "alloc-loop"))
        running.enter_context(busy(found.writes, "write-loop", "/root/file"))
        assert eventually(found.are_all_at_it)
        yield found


def latency_s() -> float:
    """The median time of a command of the host."""
    took = []
    for _ in range(SAMPLES):
        begin = time.monotonic()
        subprocess.run(["/bin/true"], check=True)
        took.append(time.monotonic() - begin)
    return statistics.median(took)


def test_the_host_stays_responsive_and_all_are_stopped(bombs: Bombs, idle_s: float, root: Path) -> None:
    assert latency_s() < SLOWER * idle_s
    for instance in bombs.all:
        assert str(instance.state) == "running"
        instance.stop()
        ended = instance.info().exit
        assert ended is not None and (ended.code, ended.undo_failed) == (0, 0)
    expect_no_trace(bombs, root)


def test_all_are_ended_by_force_and_repaired_like_any_other(bombs: Bombs, root: Path) -> None:
    for instance in bombs.all:
        instance.stop(force=True)
    expect_no_trace(bombs, root)


def expect_no_trace(bombs: Bombs, root: Path) -> None:
    """An alarm that rang at the end may still be at work: it ends by itself."""
    assert left_at_last(root, [instance.id for instance in bombs.all]) == []


def test_what_they_used_is_counted(bombs: Bombs) -> None:
    used = [instance.info().usage for instance in bombs.all]
    assert all((one.cpu_ns or 0) > 0 for one in used)
    assert (used[0].processes or 0) <= 100
    assert (used[1].oom_kills or 0) > 0

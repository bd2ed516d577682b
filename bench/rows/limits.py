"""What limits add to a start: the library's `start()` of one instance with ten of them, and of one with none."""

from collections.abc import Iterator
from time import perf_counter_ns

import cloison
from bench.ground import Ground
from bench.series import Measure, Row, alternate, more_than

WHAT = "library: start with ten limits"
PEER = "without a limit"
MORE_MS = 0.5
QUIET_S = 0.05
TEN = (
    "limits.memory=256M",
    "limits.memory_soft=128M",
    "limits.swap=64M",
    "limits.cpus=1.5",
    "limits.cpu_set=0",
    "limits.cpu_weight=50",
    "limits.processes=200",
    "limits.oom_score=100",
    "limits.rlimits.nofile=1024",
    "limits.sysctls.net.ipv4.ip_default_ttl=63",
)


def rows(ground: Ground) -> Iterator[Row]:
    """In pairs; the end of each is waited for, and not counted."""
    limited = ground.instance("limited", "init.command=/bin/true", *TEN)
    free = ground.instance("free", "init.command=/bin/true")
    pair = alternate(start(limited), start(free), ground.rounds(200), rest_s=QUIET_S)
    yield more_than(WHAT, PEER, pair, at_most_ms=MORE_MS)


def start(instance: cloison.Instance) -> Measure:
    """Milliseconds from `start()` to its return."""

    def measure() -> float:
        began = perf_counter_ns()
        instance.start()
        took = (perf_counter_ns() - began) / 1e6
        instance.wait()
        return took

    return measure

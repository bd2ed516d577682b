"""Start and wait of /bin/true, from the library in one process: all seven namespaces, overlay, id map, three limits."""

from collections.abc import Iterator

import cloison
from bench import peers
from bench.ground import LIMITS, Ground
from bench.processes import Failed
from bench.series import Measure, Row, alternate, compared, skipped

WHAT = "library: start and wait of /bin/true"
QUIET_S = 0.1  # between two measurements: what the kernel takes down late is not billed to the next, and RCU sleeps
AT_MOST = 1.5
ROUNDS = {"crun run": 60, "podman run": 8, "docker run": 8}


def rows(ground: Ground) -> Iterator[Row]:
    """Each peer in pairs with the library; crun, which has the bar, also without the quiet."""
    instance = ground.instance("true", "init.command=/bin/true", *LIMITS)
    ours = start_and_wait(instance)
    for name in peers.STARTS:
        if ground.is_quick and name not in ("crun run", "unshare"):
            continue
        try:
            theirs = peers.proven(name, ground)
            rounds = ground.rounds(ROUNDS.get(name, 15))
            at_most = AT_MOST if name == "crun run" else None
            yield compared(WHAT, name, alternate(ours, theirs, rounds, rest_s=QUIET_S), at_most=at_most)
            if at_most is not None:
                yield compared(f"{WHAT}, in a row", name, alternate(ours, theirs, rounds), at_most=at_most)
        except Failed as problem:
            yield skipped(WHAT, name, str(problem))


def start_and_wait(instance: cloison.Instance) -> Measure:
    """Milliseconds from `start()` until everything is taken back."""
    from time import perf_counter_ns

    def measure() -> float:
        began = perf_counter_ns()
        instance.start()
        instance.wait()
        return (perf_counter_ns() - began) / 1e6

    return measure

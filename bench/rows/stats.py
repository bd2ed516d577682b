"""What reading costs: the statistics of a hundred running containers, and of one of them through the library."""

from collections.abc import Iterator
from time import perf_counter_ns

from bench.ground import LIMITS, Ground
from bench.rows.command import beyond_python, cloison_command
from bench.series import Row, Series, Verdict

MANY = "cloison stats of {} running, whole process"
ONE = "library: statistics of one running container"
MORE_MS = 100.0
ONE_MS = 1.0


def rows(ground: Ground) -> Iterator[Row]:
    """All of them run; what is measured is booked into the ledger as well."""
    count = 5 if ground.is_quick else 100
    instances = [ground.instance(f"stats-{number}", *LIMITS) for number in range(count)]
    for instance in instances:
        instance.start()
    names = [instance.name for instance in instances]
    yield beyond_python(
        MANY.format(count),
        cloison_command(ground, "stats", *names),
        ground.rounds(30),
        at_most_ms=MORE_MS,
    )
    taken = []
    for _turn in range(ground.rounds(300)):
        began = perf_counter_ns()
        ground.engine.driver.usage(instances[0].id)
        taken.append((perf_counter_ns() - began) / 1e6)
    ours = Series(tuple(taken))
    verdict: Verdict = "met" if ours.median < ONE_MS else "missed"
    yield Row(what=ONE, peer="", ours=ours, bar=f"below {ONE_MS:g} ms", verdict=verdict)

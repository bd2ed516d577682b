"""A driver of one instance on a host of a known size, which writes down what it is asked for."""

import contextlib
from collections.abc import Iterable, Iterator

from cloison.base.errors import CloisonError, Invalid
from cloison.spec.driver import HostSize, LiveLimits, Observed, Reading, State, Usage

GIBIBYTE = 1 << 30
SIZE = HostSize(8 * GIBIBYTE, 2 * GIBIBYTE, (0, 1, 3), (2 << 20, 1 << 30))
DISKS = {"sda": (8, 0), "/dev/sda1": (8, 0), "8:0": (8, 0), "sdb": (8, 16), "/var/lib": (8, 0)}


class HostDriver:
    """What `cloison.engine` asks of a driver about limits."""

    def __init__(self) -> None:
        self.observed = Observed(State.STOPPED)
        self.disks = dict(DISKS)
        self.refuses: dict[str, CloisonError] = {}  # by a word in what is wanted
        self.checked: list[LiveLimits] = []
        self.changes: list[tuple[LiveLimits, LiveLimits]] = []
        self.size_asked = 0

    def observe(self, _instance_id: str) -> Observed:
        return self.observed

    def readings(self, instance_ids: Iterable[str]) -> dict[str, Reading]:
        return {name: Reading(self.observed, Usage(), 0, 0) for name in instance_ids}

    @contextlib.contextmanager
    def command(self, _instance_id: str, _doing: str, *, timeout_s: float | None = 0.0) -> Iterator[None]:
        yield

    def host_size(self) -> HostSize:
        self.size_asked += 1
        return SIZE

    def block_device(self, name: str) -> tuple[int, int]:
        if name not in self.disks:
            raise Invalid(f"{name!r} is no block device", hint="lsblk")
        return self.disks[name]

    def check_limits(self, _instance_id: str, wanted: LiveLimits) -> None:
        self.checked.append(wanted)
        self._refuse(wanted)

    def set_limits(self, _instance_id: str, _name: str, before: LiveLimits, after: LiveLimits) -> None:
        self._refuse(after, when="live ")
        self.changes.append((before, after))

    def _refuse(self, wanted: LiveLimits, when: str = "") -> None:
        for word, problem in self.refuses.items():
            if word.startswith("live ") == bool(when) and word.removeprefix("live ") in str(wanted):
                raise problem

"""A volume as a stream of bytes: its files (`cloison.storage.stream`), with a SHA-256 at the end, and nothing else.

What comes in is a volume when the digest is right; until then no record mentions its tree.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cloison.engine.volume_snapshots import writable
from cloison.engine.volumes import Volume
from cloison.storage.driver import Driver, Size, Tree

if TYPE_CHECKING:
    from cloison.engine.engine import Engine


@contextlib.contextmanager
def exported(engine: "Engine", volume: Volume, snapshot: str = "") -> Iterator[Iterator[bytes]]:
    """What is in a volume now, or was in a snapshot of it. Raises NotFound, and what making a snapshot raises."""
    snapshots = engine.volume_snapshots(volume)
    with engine.pools.making(volume.pool) as driver:
        yield driver.send(snapshots.get(snapshot).tree if snapshot else snapshots.frozen(driver)[0])
    engine.pools.collect(volume.pool)


def imported(
    engine: "Engine",
    chunks: Iterable[bytes],
    name: str,
    pool: str,
    *,
    size_bytes: int | None = None,
    inodes: int | None = None,
) -> Volume:
    """Make a volume of what was exported. Raises Invalid for what is damaged, and what `Volumes.create` raises; then
    nothing is left of it."""
    size = Size(size_bytes or None, inodes or None)

    def filled(driver: Driver) -> Tree:
        return writable(driver, driver.receive(chunks, size=size), size)

    made = engine.volumes.create(name, pool, size_bytes=size_bytes, inodes=inodes, fill=filled)
    engine.pools.collect(pool)
    return made

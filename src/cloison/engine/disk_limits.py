"""`limits.disk` and `limits.inodes`: the limits of an instance's tree, which its storage pool keeps.

They are in force as soon as they are set, whether it runs or not; what was set for the next start alone, then.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloison.base.errors import WrongState
from cloison.engine.records import Record
from cloison.spec.config import Config
from cloison.storage.driver import Size

if TYPE_CHECKING:
    from cloison.engine.changing import Wanted
    from cloison.engine.engine import Engine


def size_of(config: Config) -> Size:
    """The limits of a tree that a configuration asks for."""
    return Size(config.limits.disk, config.limits.inodes)


def room_of(config: Config, present: Size) -> Size:
    """The room that a snapshot needs which comes in as a stream, of an instance that is to have the size `present`."""
    size = size_of(config)
    return present if size.bytes is None else size


@contextlib.contextmanager
def changed(engine: "Engine", record: Record, wanted: "Wanted") -> Iterator[None]:
    """The limits are the wanted ones; those before it, when something goes wrong inside. Raises Unsupported where its
    pool cannot limit that, Invalid for less than is used."""
    before = size_of(wanted.present or record.config)
    after = size_of(wanted.live or wanted.stored)
    if before == after:
        yield
        return
    _resize(engine, record, after)
    try:
        yield
    except BaseException:
        _resize(engine, record, before)
        raise


def settle(engine: "Engine", record: Record) -> None:
    """At a start: what was set for it alone is in force."""
    if record.live is not None and size_of(record.live) != size_of(record.config):
        _resize(engine, record, size_of(record.config))


def _resize(engine: "Engine", record: Record, size: Size) -> None:
    if record.tree is None:
        raise WrongState(f"{record.name!r} is of a time before storage pools", hint="start it again first")
    engine.pools.driver(record.tree.pool).resize(record.tree, size)

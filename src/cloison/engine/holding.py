"""Holding a running instance still for a moment, so that what is copied of it is of one moment.

    <data>/instances/<id>/held    its run that is being held, by when that began: written before it is frozen, and
                                  removed when it has been thawed

Whoever dies in between leaves the file. The next command on the instance, and `cloison repair`, thaws it then
(`Instance.command`): who holds it has its lock, so a file that is seen by another who has the lock is left over. One
that its user has frozen before stays frozen.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloison.base.errors import WrongState
from cloison.engine.records import Record
from cloison.spec.driver import Observed, State

if TYPE_CHECKING:
    from cloison.engine.engine import Engine


@contextlib.contextmanager
def held(engine: "Engine", record: Record, observed: Observed) -> Iterator[None]:
    """No process of it runs meanwhile, and what they have written is on the disk. Only by who has its lock.

    Most is written while it still runs, so that it is held as short as can be. Raises WrongState where somebody has let
    it go on meanwhile: then what was copied is of no one moment; Kernel where it cannot be frozen."""
    if observed.state is State.FROZEN:
        engine.driver.sync(observed.pid)
        yield
        _expect_still(engine, record)
        return
    engine.driver.sync(observed.pid)
    with open(_place(engine, record), "w", encoding="ascii") as file:
        file.write(f"{observed.began_ns}\n")
    try:
        engine.driver.freeze(record.id, record.name)
        engine.driver.sync(observed.pid)
        yield
        _expect_still(engine, record)
    finally:
        release(engine, record)


def release(engine: "Engine", record: Record) -> bool:
    """Let it go on, where it is still the run that was held; whether it was. Only by who has its lock."""
    place = _place(engine, record)
    try:
        with open(place, encoding="ascii") as file:
            began_ns = file.read().strip()
    except FileNotFoundError:
        return False
    observed = engine.driver.observe(record.id)
    is_that_run = observed.pid != 0 and began_ns == str(observed.began_ns)
    if is_that_run:
        engine.driver.thaw(record.id, record.name)
    os.unlink(place)
    return is_that_run


def _expect_still(engine: "Engine", record: Record) -> None:
    if engine.driver.observe(record.id).state is not State.FROZEN:
        raise WrongState(
            f"{record.name!r} did not stand still: another command has let it go on, or ended it",
            hint="try again",
        )


def _place(engine: "Engine", record: Record) -> str:
    return f"{engine.layout.instance(record.id)}/held"

"""Changes of the nics of what runs, and what becomes of one whose command dies halfway.

    <data>/instances/<id>/rewiring    its run, and its record before and after: written before the first nic is touched,
                                      and removed when all of it is in force and stored, or taken back

Whoever dies in between leaves the file. The next command on the instance, and `cloison repair`, takes the change back
then, unless it was stored: who changes nics has the lock, so a file that is seen by another who has it is left over.
"""

import contextlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from cloison.engine.records import Record

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

TakeBack = Callable[["Engine", Record, Record], None]
FILE = "rewiring"
_LAST_STEPS_S = 0.3  # the launcher of a command that has died carries out its plan, which takes milliseconds


class Change(msgspec.Struct, frozen=True):
    """A change of what has run since `began_ns`."""

    began_ns: int
    before: Record
    after: Record


def note(engine: "Engine", before: Record, after: Record) -> None:
    """Write down that the nics are about to be changed."""
    place = _place(engine, before)
    change = Change(engine.driver.observe(before.id).began_ns, before, after)
    with open(f"{place}.new", "wb") as file:
        file.write(msgspec.json.encode(change))
    os.rename(f"{place}.new", place)


def forget(engine: "Engine", record: Record) -> None:
    """It is done, or taken back."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_place(engine, record))


def settle(engine: "Engine", record: Record, take_back: TakeBack) -> bool:
    """Have `take_back` undo what was begun and not stored, in the run that it was begun in; whether there was such.
    Only by who has its lock. Raises what keeps a nic that was there from being given back; then it can be tried
    again."""
    try:
        with open(_place(engine, record), "rb") as file:
            change = msgspec.json.decode(file.read(), type=Change)
    except FileNotFoundError:
        return False
    observed = engine.driver.observe(record.id)
    is_that_run = observed.pid != 0 and observed.began_ns == change.began_ns
    is_half = is_that_run and record.in_force != change.after.in_force
    if is_half:
        time.sleep(_LAST_STEPS_S)
        take_back(engine, change.before, change.after)
    forget(engine, record)
    return is_half


def _place(engine: "Engine", record: Record) -> str:
    return f"{engine.layout.instance(record.id)}/{FILE}"

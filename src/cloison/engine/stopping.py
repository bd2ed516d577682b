"""The end of a run: asked for, enforced where that does not help, and recorded; and what an end is followed by.

A stop holds no lock while it waits for the guest, so that a forced one can overtake it. What was asked for is in the
events: "stopping" wins over a reboot from inside, "restarting" over the end of an ephemeral instance.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloison.base.errors import WrongState
from cloison.base.signals import signal_number
from cloison.engine import accounting, remains
from cloison.engine.records import Record
from cloison.spec.driver import Usage

if TYPE_CHECKING:
    from cloison.engine.engine import Engine

SIGTERM = 15


def stop(engine: "Engine", record: Record, *, timeout_s: float | None, force: bool) -> None:
    """Ask the init of what runs to shut down; when that takes longer than `timeout_s` (None: as configured), or at once
    with `force`, kill it. Returns when everything is taken back. Raises Kernel for what cannot be killed."""
    engine.store.record(record.id, "stopping")  # before anything is asked: a reboot is measured by it
    if not force:
        timeout = record.config.boot.stop_timeout_s if timeout_s is None else timeout_s
        force = not _ended_by(engine, record, _stop_signal(record), timeout)
    began_ns = engine.driver.observe(record.id).began_ns if force else 0
    unrecorded = engine.driver.kill(record.id) if force else None
    _note(engine, record, began_ns, unrecorded)


def _stop_signal(record: Record) -> int:
    return signal_number(record.config.boot.stop_signal or record.stop_signal) or SIGTERM


def _ended_by(engine: "Engine", record: Record, number: int, timeout_s: float) -> bool:
    with _gone_is_ended():
        return engine.driver.request_stop(record.id, number, timeout_s)
    return engine.driver.wait(record.id, timeout_s)


@contextlib.contextmanager
def _gone_is_ended() -> Iterator[None]:
    try:
        yield
    except WrongState as problem:
        if problem.code != "monitor-gone":
            raise


def _note(engine: "Engine", record: Record, began_ns: int, unrecorded: Usage | None) -> None:
    """Record that it was stopped, and in the same transaction what it used."""
    with accounting.left_by(engine, record) as book, engine.store.transaction() as changes:
        book(changes)
        if unrecorded is not None:
            accounting.book_death(changes, record, began_ns, unrecorded)
        changes.record(record.id, "stopped")


def is_told_to_stop(engine: "Engine", record: Record) -> bool:
    """Whether somebody asked for its end since its last start: a stop wins over a reboot."""
    return _last_event(engine, record, "started", "stopping") == "stopping"


def is_about_to_reboot(engine: "Engine", record: Record) -> bool:
    """Whether it has ended to be started again at once, by `Instance.after_reboot`."""
    ended = remains.read_exit(f"{engine.layout.instance(record.id)}/exit")
    if ended is None or not remains.is_reboot(ended.wait_status) or ended.ended_ns < record.started_ns:
        return False
    return not is_told_to_stop(engine, record)


def is_about_to_start(engine: "Engine", record: Record) -> bool:
    """Whether it has ended to be started again: by its monitor, after a reboot, or by a command that is at it."""
    return _last_event(engine, record, "started", "restarting") == "restarting" or is_about_to_reboot(engine, record)


def _last_event(engine: "Engine", record: Record, *words: str) -> str:
    """The last that happened to it of these; empty where none did."""
    return next((event.what for event in reversed(engine.store.events(record.id)) if event.what in words), "")

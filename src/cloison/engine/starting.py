"""The start of an instance: what the driver is asked for, and what the store knows afterwards.

Only by who has its lock, but for `request` with `is_dry`, which touches nothing.
"""

import time
from typing import TYPE_CHECKING

import msgspec

from cloison.engine import records, specification
from cloison.engine.records import Record, tree_of
from cloison.spec import config as configuration
from cloison.spec.driver import StartRequest, Watch
from cloison.spec.limits import Limits
from cloison.spec.network import Interface
from cloison.spec.nics import NONE, are_wired
from cloison.spec.oci import Mount, Spec

if TYPE_CHECKING:
    from cloison.engine.engine import Engine


def start(engine: "Engine", record: Record, watch: Watch | None = None) -> Record:
    """Start an instance that is stopped; gives its record as it is then. Raises whatever keeps it from starting."""
    wanted = request(engine, record)
    if record.live is not None:
        record = _without_live(engine, record)
    if are_wired(record.config.nics) or record.is_renamed:
        from cloison.engine import identity

        record = identity.introduce(engine, record)
    if record.has_templates:
        from cloison.engine import file_templates

        file_templates.apply(engine, record, "start")
    engine.driver.start(record.id, wanted, watch)
    try:
        return noted(engine, record)
    except BaseException:  # nothing runs that is not known to run
        engine.driver.kill(record.id)
        raise


def _without_live(engine: "Engine", record: Record) -> Record:
    """Forget what was in force in the run before: that is gone before anything runs, whatever happens then."""
    from cloison.engine import claims, disk_limits

    disk_limits.settle(engine, record)
    with engine.store.transaction() as changes:
        record = claims.settled(changes, record, msgspec.structs.replace(record, live=None))
        records.save(changes, record)
    return record


def noted(engine: "Engine", record: Record) -> Record:
    """Record that it has been started; gives its record from then on."""
    was_restored = record.is_restored
    started = msgspec.structs.replace(
        record, started_ns=time.time_ns(), is_restored=False, is_last_run=record.config.boot.ephemeral
    )
    with engine.store.transaction(is_durable=was_restored) as changes:
        records.save(changes, started)
        changes.record(record.id, "started")
        if was_restored:
            from cloison.engine import restoring

            restoring.settle(changes, started)
    if was_restored:
        engine.pools.collect(tree_of(record).pool)
    return started


def request(engine: "Engine", record: Record, *, is_dry: bool = False) -> StartRequest:
    """What the driver is asked for. Networks and what is mounted are brought up and looked for, unless `is_dry`.

    Raises Invalid and Unsupported for what this host cannot."""
    tree, config = tree_of(record), record.config
    directory = engine.layout.instance(record.id)
    return StartRequest(
        name=record.name,
        spec=_specification(
            _resolved(engine, record), _proc_views(engine, record), _mounts(engine, record, is_dry=is_dry)
        ),
        root=engine.pools.driver(tree.pool).root(tree),
        log=f"{directory}/console.log",
        log_size_bytes=config.console.log_size_bytes,
        record=f"{directory}/exit",
        reboot=engine.command_line("_reboot", record.id),
        alarm=engine.command_line("_oom", record.id),
        writable=specification.writable_paths(config),
        at_end=engine.command_line("_ended", record.id) if config.boot.ephemeral else (),
        interfaces=_interfaces(engine, record, is_dry=is_dry),
        is_loopback_up=configuration.network_of(config) != NONE,
    )


def _specification(record: Record, proc_views: tuple[tuple[str, str], ...], mounts: tuple[Mount, ...]) -> Spec:
    clocks = (0, 0)
    if record.config.boot.own_clock:
        clocks = (time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    return specification.specification(
        record, boottime_ns=clocks[0], monotonic_ns=clocks[1], proc_views=proc_views, mounts=mounts
    )


def _resolved(engine: "Engine", record: Record) -> Record:
    """Its record with the limits in numbers of this host. Raises Invalid, Unsupported."""
    if record.config.limits == Limits():
        return record
    from cloison.engine import limits

    return msgspec.structs.replace(record, config=limits.resolved(engine.driver, record.config))


def _proc_views(engine: "Engine", record: Record) -> tuple[tuple[str, str], ...]:
    """Raises Unsupported where they are insisted on, and this host has none."""
    wanted = record.config.boot.proc_views
    return () if wanted == "false" else engine.driver.proc_views(is_needed=wanted == "true")


def _mounts(engine: "Engine", record: Record, *, is_dry: bool) -> tuple[Mount, ...]:
    """What its configuration asks for besides its own."""
    if not record.config.mounts:
        return ()
    from cloison.engine import mounts

    return mounts.placed(engine, record, is_dry=is_dry)


def _interfaces(engine: "Engine", record: Record, *, is_dry: bool) -> tuple[Interface, ...]:
    """Its interfaces, whose networks are up then, unless `is_dry`. Most have none of their own to look at."""
    if not are_wired(record.config.nics):
        return ()
    from cloison.engine import interfaces

    # What is lent to one that runs is not on the host.
    held = record.in_force if is_dry and engine.driver.observe(record.id).pid else None
    return interfaces.interfaces(engine, record, is_dry=is_dry, before=held)

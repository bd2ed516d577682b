"""The end of an instance: its record, its claims, its files."""

from typing import TYPE_CHECKING

from cloison.base.errors import NotFound
from cloison.engine import accounting, records, snapshot_records
from cloison.engine.records import Record, tree_of
from cloison.spec.driver import State
from cloison.storage import trees

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.engine.instance import Instance


def delete(engine: "Engine", record: Record) -> None:
    """Delete an instance that is stopped; only by who has its lock. What it has used stays in the ledger."""
    accounting.settle(engine, record)
    disk_bytes = engine.pools.used_bytes(record)
    with engine.store.transaction() as changes:
        accounting.close(changes, record, disk_bytes)
        if record.claims or record.live_claims or record.config.ports:
            from cloison.engine import claims

            claims.release(changes, record)
        snapshot_records.remove(changes, record.id)
        records.release(changes, record)
        changes.record(record.id, "deleted", record.name)
    if record.claims:
        engine.networks.leave(record)
    trees.remove(engine.layout.instance(record.id))
    engine.driver.forget(record.id)


def is_over(instance: "Instance") -> bool:
    """Whether this is an ephemeral instance that has ended, and that nobody is about to start again."""
    record = instance.record
    if not record.is_last_run or not record.config.boot.ephemeral or instance.state is not State.STOPPED:
        return False
    return not instance.is_about_to_start()


def end(engine: "Engine", instance: "Instance", *, timeout_s: float) -> bool:
    """Delete an ephemeral instance that has ended; whether it was one. Who has deleted it before is no error."""
    with engine.freeing():
        try:
            with instance.command("delete", timeout_s=timeout_s):
                if not is_over(instance):
                    return False
                delete(engine, instance.record)
        except NotFound:
            return False
        tell(engine, instance.record)
    return True


def tell(engine: "Engine", record: Record) -> None:
    """What follows from its end, and needs its lock no more: its trees go, and rules forget its addresses."""
    engine.pools.collect(tree_of(record).pool)
    if record.claims:
        engine.names_changed({record.name})
    engine.leave_ground(record)

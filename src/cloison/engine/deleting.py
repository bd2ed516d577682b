"""The end of an instance: its record, its claims, its files."""

from typing import TYPE_CHECKING

from cloison.engine import accounting, records, snapshot_records
from cloison.engine.records import Record, tree_of
from cloison.storage import trees

if TYPE_CHECKING:
    from cloison.engine.engine import Engine


def delete(engine: "Engine", record: Record) -> None:
    """Delete an instance that is stopped; only by who has its lock. What it has used stays in the ledger."""
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


def tell(engine: "Engine", record: Record) -> None:
    """What follows from its end, and needs its lock no more: its trees go, and rules forget its addresses."""
    engine.pools.collect(tree_of(record).pool)
    if record.claims:
        engine.names_changed({record.name})
    engine.leave_ground(record)

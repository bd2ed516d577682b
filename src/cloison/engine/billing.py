"""What the ledger says of a time: who consumed how much, and what that costs."""

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Invalid
from cloison.engine import ledger
from cloison.engine.inspection import timestamp
from cloison.spec.consumption import HOUR_NS, HOUR_S, Consumption

if TYPE_CHECKING:
    from cloison.engine.store import Store
    from cloison.spec.tariff import Tariff


class By(StrEnum):
    """What makes a line of a report."""

    INSTANCE = "instance"
    PROJECT = "project"


class LedgerLine(msgspec.Struct, frozen=True):
    """What an instance, or all of a project, has consumed; `amount` is what that costs, where there is a tariff.

    `id` and `name` are those of the instance, empty for a project."""

    id: str
    name: str
    project: str
    cpu_seconds: Decimal
    memory_byte_hours: int
    disk_byte_hours: int
    io_read_bytes: int
    io_written_bytes: int
    network_received_bytes: int
    network_sent_bytes: int
    amount: Decimal | None = None


class LedgerReport(msgspec.Struct, frozen=True):
    """The lines of all who consumed something between two times, RFC 3339 in UTC, and their sum."""

    begin: str
    end: str
    by: str
    currency: str | None
    lines: tuple[LedgerLine, ...]
    total: LedgerLine


def report(store: "Store", begin_ns: int, end_ns: int, *, by: By, tariff: "Tariff | None" = None) -> LedgerReport:
    """Who consumed what from `begin_ns` to `end_ns`, in the whole hours that this touches. Raises Invalid.

    An instance that moved from one project to another has a line in each; two that had the same name one after the
    other have different ids, and a line each."""
    begin_ns, end_ns = max(0, begin_ns // HOUR_NS * HOUR_NS), -(-end_ns // HOUR_NS) * HOUR_NS
    if begin_ns >= end_ns:
        raise Invalid(f"a report ends after its beginning: {_time(end_ns)} is not after {_time(begin_ns)}")
    used: dict[tuple[str, str], Consumption] = {}
    names: dict[str, str] = {}
    for instance_id, project, bucket in ledger.entries(store, begin_ns, end_ns):
        key = (instance_id if by is By.INSTANCE else "", project)
        used[key] = used.get(key, Consumption()) + bucket.used
        names[key[0]] = bucket.name if by is By.INSTANCE else ""
    lines = [_line(key[0], names[key[0]], key[1], one, tariff) for key, one in used.items()]
    total = _line("", "", "", sum(used.values(), Consumption()), None)
    if tariff is not None:
        total = msgspec.structs.replace(
            total, amount=sum((line.amount or Decimal(0) for line in lines), tariff.nothing)
        )
    lines.sort(key=lambda line: (line.project, line.name, line.id))
    return LedgerReport(_time(begin_ns), _time(end_ns), by, tariff.currency if tariff else None, tuple(lines), total)


def _line(instance_id: str, name: str, project: str, used: Consumption, tariff: "Tariff | None") -> LedgerLine:
    return LedgerLine(
        id=instance_id,
        name=name,
        project=project,
        cpu_seconds=Decimal(used.cpu_ns).scaleb(-9),
        memory_byte_hours=round(Fraction(used.memory_byte_s, HOUR_S)),
        disk_byte_hours=round(Fraction(used.disk_byte_s, HOUR_S)),
        io_read_bytes=used.read_bytes,
        io_written_bytes=used.written_bytes,
        network_received_bytes=used.received_bytes,
        network_sent_bytes=used.sent_bytes,
        amount=tariff.amount(used) if tariff else None,
    )


def _time(time_ns: int) -> str:
    return timestamp(time_ns) or "1970-01-01T00:00:00Z"

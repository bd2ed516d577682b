"""A report of the ledger as a table, as comma-separated values, and as JSON. Pure."""

import csv
import io
import sys
from decimal import Decimal

import msgspec

from cloison.base.units import format_size
from cloison.cli.table import aligned, shows_colours
from cloison.engine.billing import LedgerLine, LedgerReport

HEADER = ("CPU", "MEMORY", "DISK", "READ/WRITTEN", "RECEIVED/SENT")
NUMBERS = tuple(name for name in LedgerLine.__struct_fields__ if name not in ("id", "name", "project", "amount"))


def as_table(report: LedgerReport) -> str:
    """For people: rounded, with a sum."""
    is_by_instance = report.by == "instance"
    header = [*(("INSTANCE", "ID") if is_by_instance else ()), "PROJECT", *HEADER]
    header += [f"AMOUNT ({report.currency})"] if report.currency else []
    rows = []
    for line in (*report.lines, report.total):
        is_total = line is report.total
        who = [*((line.name, line.id) if is_by_instance else ()), line.project]
        who[0] = "total" if is_total else who[0]
        rows.append([*who, *_cells(line), *([f"{line.amount}"] if report.currency else [])])
    table = aligned(header, rows, is_bold=shows_colours(sys.stdout))
    return f"{table}\nfrom {report.begin} to {report.end}; memory and disk in bytes held for one hour\n"


def _cells(line: LedgerLine) -> tuple[str, ...]:
    return (
        _time(line.cpu_seconds),
        f"{format_size(line.memory_byte_hours)}h",
        f"{format_size(line.disk_byte_hours)}h",
        f"{format_size(line.io_read_bytes)}/{format_size(line.io_written_bytes)}",
        f"{format_size(line.network_received_bytes)}/{format_size(line.network_sent_bytes)}",
    )


def _time(cpu_seconds: Decimal) -> str:
    if cpu_seconds < 60:
        return f"{cpu_seconds:.2f}s"
    hours, minutes = divmod(int(cpu_seconds) // 60, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{int(cpu_seconds) % 60:02}s"


def as_csv(report: LedgerReport) -> str:
    """RFC 4180: a line for each, numbers in whole bytes and in seconds, without a sum."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    who = ("id", "name", "project") if report.by == "instance" else ("project",)
    writer.writerow(("from", "to", *who, *NUMBERS, *(("amount", "currency") if report.currency else ())))
    for line in report.lines:
        cells = [report.begin, report.end, *(getattr(line, name) for name in (*who, *NUMBERS))]
        writer.writerow([*cells, *((line.amount, report.currency) if report.currency else ())])
    return text.getvalue()


def as_json(report: LedgerReport) -> str:
    """All of it. CPU seconds and amounts are numbers with every digit that they have: read them as decimals."""
    return msgspec.json.format(msgspec.json.Encoder(decimal_format="number").encode(report)).decode() + "\n"

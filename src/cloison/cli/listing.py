"""The list of instances."""

import sys
from typing import TYPE_CHECKING

from cloison.base.errors import NotFound
from cloison.base.units import format_size
from cloison.cli.invocation import Invocation
from cloison.cli.table import aligned, shows_colours

if TYPE_CHECKING:
    from cloison.engine.results import Info

HEADER = ("NAME", "STATE", "KIND", "IMAGE", "ADDRESSES", "MEMORY", "PROCESSES")
UP = ("running", "frozen", "starting", "stopping")


def show(invocation: Invocation, *, running: bool = False, names_only: bool = False, as_json: bool = False) -> int:
    """Print the instances as a table, as names, or as JSON; `running` leaves out those that are not up."""
    if names_only and not running:
        sys.stdout.write("".join(f"{instance.name}\n" for instance in invocation.engine.instances()))
        return 0
    found = [info for info in _infos(invocation) if not running or info.state in UP]
    if as_json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    elif names_only:
        sys.stdout.write("".join(f"{info.name}\n" for info in found))
    else:
        sys.stdout.write(aligned(HEADER, [_row(info) for info in found], is_bold=shows_colours(sys.stdout)))
    return 0


def _infos(invocation: Invocation) -> "list[Info]":
    found = []
    for instance in invocation.engine.instances():
        try:
            found.append(instance.info())
        except NotFound:
            continue  # deleted since we asked for the list
    return found


def _row(info: "Info") -> tuple[str, ...]:
    usage = info.usage
    return (
        info.name,
        info.state,
        f"{info.kind}, privileged" if info.privileged else info.kind,
        info.image,
        ", ".join(info.addresses) or "-",
        "-" if usage.memory_bytes is None else format_size(usage.memory_bytes),
        "-" if usage.processes is None else str(usage.processes),
    )

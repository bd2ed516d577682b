"""`cloison ls`."""

import sys
from typing import TYPE_CHECKING

import click

from cloison.base.errors import NotFound
from cloison.base.units import format_size
from cloison.cli.invocation import Invocation, pass_invocation
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json

if TYPE_CHECKING:
    from cloison.engine.results import Info

HEADER = ("NAME", "STATE", "KIND", "IMAGE", "ADDRESSES", "MEMORY", "PROCESSES")
UP = ("running", "frozen", "starting", "stopping")


@click.command(cls=Verb, examples=("cloison ls", "cloison ls --running", "cloison ls -q", "cloison ls --json"))
@click.option("-r", "--running", is_flag=True, help="Leave out what is stopped.")
@click.option("-q", "--quiet", "names_only", is_flag=True, help="Names only, one on each line.")
@as_json
@pass_invocation
def command(invocation: Invocation, *, running: bool, names_only: bool, as_json: bool) -> None:
    """List the instances. Also called `list`."""
    if names_only and not running:
        click.echo("".join(f"{instance.name}\n" for instance in invocation.engine.instances()), nl=False)
        return
    found = [info for info in _infos(invocation) if not running or info.state in UP]
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    elif names_only:
        click.echo("".join(f"{info.name}\n" for info in found), nl=False)
    else:
        click.echo(aligned(HEADER, [_row(info) for info in found], is_bold=shows_colours(sys.stdout)), nl=False)


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

"""`cloison port`: ports of the host that lead to instances."""

import sys
from typing import TYPE_CHECKING

import click

from cloison.cli import completing
from cloison.cli.changes import say_what_waits, scoped, when
from cloison.cli.invocation import Invocation
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json, name_argument, pass_invocation

if TYPE_CHECKING:
    from cloison.engine.nics import PortInfo


@click.group("port")
def command() -> None:
    """Forward ports of the host to instances."""


@command.command(
    "add",
    cls=Verb,
    examples=(
        "cloison port add web 8080:80/tcp",
        "cloison port add dns 192.0.2.1:53:53/udp '[2001:db8::1]:53:53/udp'",
        "cloison port add game 27000-27015:27000-27015/udp --nic eth1",
    ),
)
@click.option("--nic", default="", metavar="NIC", help="The interface that it leads to (default: the first).")
@scoped
@name_argument
@click.argument("ports", nargs=-1, required=True, metavar="[ADDRESS:]PORT:PORT[/tcp|udp]...")
@pass_invocation
def _add(invocation: Invocation, name: str, ports: tuple[str, ...], *, nic: str, scope: str) -> None:
    """Forward ports of the host to an instance: the host's first, then the one inside.

    Both may be ranges, such as 8000-8010, of the same length. Without ADDRESS it is every address of the host.
    """
    say_what_waits(invocation, name, invocation.get(name).ports.add(*ports, nic=nic, scope=scope))


@command.command("remove", cls=Verb, examples=("cloison port remove web 8080/tcp",))
@scoped
@name_argument
@click.argument(
    "ports", nargs=-1, required=True, metavar="[ADDRESS:]PORT[/tcp|udp]...", shell_complete=completing.ports
)
@pass_invocation
def _remove(invocation: Invocation, name: str, ports: tuple[str, ...], *, scope: str) -> None:
    """Forward ports of the host to an instance no longer."""
    say_what_waits(invocation, name, invocation.get(name).ports.remove(*ports, scope=scope))


@command.command("ls", cls=Verb, examples=("cloison port ls", "cloison port ls web --json"))
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.instances)
@as_json
@pass_invocation
def _ls(invocation: Invocation, names: tuple[str, ...], *, as_json: bool) -> int:
    """List the ports that lead to instances: those NAMEd, or all."""
    wanted = names or tuple(instance.name for instance in invocation.engine.instances())
    found: list[PortInfo] = []
    code = invocation.each(wanted, lambda instance: found.extend(instance.ports.list()))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return code
    header = ("HOST", "INSTANCE", "INSIDE", "NIC", "WHEN")
    rows = [
        (port.host, port.instance, port.inside, port.nic or "-", when(stored=port.stored, in_force=port.in_force))
        for port in found
    ]
    click.echo(aligned(header, rows, is_bold=shows_colours(sys.stdout)), nl=False)
    return code

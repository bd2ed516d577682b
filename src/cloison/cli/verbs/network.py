"""`cloison network`: the networks that instances are on."""

import sys
from typing import TYPE_CHECKING, Any

import click

from cloison.cli import completing
from cloison.cli.invocation import Invocation, for_each
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json, pass_invocation

if TYPE_CHECKING:
    from cloison import NetworkInfo


class NetworkVerb(Verb):
    """Its help lists the options of a network."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(context, formatter)
        from cloison.spec.networks import NETWORK_KEYS

        with formatter.section("Options of a network"):
            formatter.write_dl([(key.name, f"{key.meaning}, such as {key.example}") for key in NETWORK_KEYS])


_network_argument = click.argument("network", shell_complete=completing.own_networks)


@click.group("network")
def command() -> None:
    """Make, change, list and delete networks."""


@command.command(
    "create",
    cls=NetworkVerb,
    examples=(
        "cloison network create lan",
        "cloison network create lab ipv4=10.9.0.1/24 ipv6=none nat=false",
        "cloison network create dmz isolated=true 'rules=allow in tcp 80,443; deny in'",
        "cloison network create office parent=br0 vlan=100",
    ),
)
@click.argument("network")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...", shell_complete=completing.network_assignments)
@pass_invocation
def _create(invocation: Invocation, network: str, options: tuple[str, ...]) -> None:
    """Make a network.

    It is brought up when the first instance on it starts. Subnets that are not given are chosen: free ones.
    """
    invocation.engine.networks.create(network, options)


@command.command("ls", cls=Verb, examples=("cloison network ls", "cloison network ls --json"))
@as_json
@pass_invocation
def _ls(invocation: Invocation, *, as_json: bool) -> None:
    """List the networks."""
    found = invocation.engine.networks.list()
    if as_json:
        _show_json(found)
        return
    header = ("NAME", "STATE", "KIND", "INTERFACE", "IPV4", "IPV6", "INSTANCES")
    click.echo(aligned(header, [_row(info) for info in found], is_bold=shows_colours(sys.stdout)), nl=False)


def _row(info: "NetworkInfo") -> tuple[str, ...]:
    from cloison.cli.network_portrait import kind

    return (
        info.name,
        "up" if info.is_up else "down",
        kind(info),
        info.bridge,
        info.ipv4 or "-",
        info.ipv6 or "-",
        str(len({member.instance for member in info.members})),
    )


@command.command("info", cls=Verb, examples=("cloison network info cloison0", "cloison network info lan --json"))
@_network_argument
@as_json
@pass_invocation
def _info(invocation: Invocation, network: str, *, as_json: bool) -> None:
    """Show who is on a network, its leases, its packet rules and what they have counted."""
    found = invocation.engine.networks.info(network)
    if as_json:
        _show_json(found)
        return
    from cloison.cli.network_portrait import portrait

    click.echo(portrait(found), nl=False)


@command.command(
    "set",
    cls=NetworkVerb,
    examples=(
        "cloison network set lan nat=false",
        "cloison network set lan 'rules=deny in tcp 22'",
        "cloison network set lan rules=          (back to the default)",
    ),
)
@_network_argument
@click.argument(
    "options", nargs=-1, required=True, metavar="OPTION=VALUE...", shell_complete=completing.network_assignments
)
@pass_invocation
def _set(invocation: Invocation, network: str, options: tuple[str, ...]) -> None:
    """Change options of a network, of one that is up at once.

    Subnets and parents of one that instances are on stay as they are.
    """
    invocation.engine.networks.set(network, *options)


@command.command("delete", cls=Verb, examples=("cloison network delete lan",))
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...", shell_complete=completing.own_networks)
@pass_invocation
def _delete(invocation: Invocation, networks: tuple[str, ...]) -> int:
    """Delete networks that no instance is on, and take back all that they had on the host."""
    return for_each(networks, invocation.engine.networks.delete)


def _show_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value)))

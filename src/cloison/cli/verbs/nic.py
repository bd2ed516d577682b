"""`cloison nic`: the network interfaces of an instance."""

import sys
from typing import TYPE_CHECKING

import click

from cloison.base.units import format_size
from cloison.cli import completing
from cloison.cli.changes import say_what_waits, scoped, when
from cloison.cli.invocation import Invocation
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json, name_argument, pass_invocation

if TYPE_CHECKING:
    from cloison.engine.results import NicInfo

_HEAD = "nics.*."


class NicVerb(Verb):
    """Its help lists the keys of a nic."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(context, formatter)
        from cloison.spec.nic_keys import NIC_KEYS

        with formatter.section("Keys"):
            formatter.write_dl(
                [(key.name.removeprefix(_HEAD), f"{key.meaning}, such as {key.example}") for key in NIC_KEYS]
            )


_nic_argument = click.argument("nic", shell_complete=completing.nics)


@click.group("nic")
def command() -> None:
    """Add, change, remove and list network interfaces."""


@command.command(
    "add",
    cls=NicVerb,
    examples=(
        "cloison nic add web eth1",
        "cloison nic add web eth1 network=lan addresses=10.9.0.5",
        "cloison nic add web lan0 type=macvlan parent=enp1s0 addresses=dhcp",
        "cloison nic add web card type=phys parent=enp2s0",
    ),
)
@click.option("-f", "--force", is_flag=True, help="Lend even the interface that the host itself depends on (phys).")
@scoped
@name_argument
@click.argument("nic")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=completing.nic_assignments)
@pass_invocation
def _add(invocation: Invocation, name: str, nic: str, settings: tuple[str, ...], *, scope: str, force: bool) -> None:
    """Give an instance one more interface, called NIC inside.

    To one that runs at once, and to what is stored. Without any KEY it is a port of the bridge of the network cloison0.
    """
    wanted = (*settings, *(("force=true",) if force else ()))
    say_what_waits(invocation, name, invocation.get(name).nics.add(nic, *wanted, scope=scope))


@command.command(
    "set",
    cls=NicVerb,
    examples=(
        "cloison nic set web eth0 limits.ingress=100Mbit limits.egress=20Mbit",
        "cloison nic set web eth0 security.mac_filter=true security.ip_filter=true",
        "cloison nic set web eth0 'rules=allow in tcp 80,443; deny in'",
        "cloison nic set web eth0 addresses=          (back to the default)",
    ),
)
@scoped
@name_argument
@_nic_argument
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...", shell_complete=completing.nic_assignments)
@pass_invocation
def _set(invocation: Invocation, name: str, nic: str, settings: tuple[str, ...], *, scope: str) -> None:
    """Change an interface.

    `cloison set NAME nics.NIC.KEY=VALUE` is the same.
    """
    say_what_waits(invocation, name, invocation.get(name).nics.set(nic, *settings, scope=scope))


@command.command("remove", cls=Verb, examples=("cloison nic remove web eth1", "cloison nic remove --live web eth1"))
@scoped
@name_argument
@_nic_argument
@pass_invocation
def _remove(invocation: Invocation, name: str, nic: str, *, scope: str) -> None:
    """Take an interface away.

    What the host had lent (phys) it has back, under its own name.
    """
    say_what_waits(invocation, name, invocation.get(name).nics.remove(nic, scope=scope))


@command.command("ls", cls=Verb, examples=("cloison nic ls", "cloison nic ls web --json"))
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.instances)
@as_json
@pass_invocation
def _ls(invocation: Invocation, names: tuple[str, ...], *, as_json: bool) -> int:
    """List the interfaces of instances, with what they have counted: of those NAMEd, or of all."""
    wanted = names or tuple(instance.name for instance in invocation.engine.instances())
    found: list[NicInfo] = []
    code = invocation.each(wanted, lambda instance: found.extend(instance.nics.list()))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return code
    header = ("INSTANCE", "NIC", "TYPE", "ON", "MAC", "ADDRESSES", "RECEIVED", "SENT", "WHEN")
    click.echo(aligned(header, [_row(nic) for nic in found], is_bold=shows_colours(sys.stdout)), nl=False)
    return code


def _row(nic: "NicInfo") -> tuple[str, ...]:
    return (
        nic.instance,
        nic.name,
        nic.type,
        nic.network or nic.parent or "-",
        nic.mac or "-",
        ", ".join(nic.addresses) or "-",
        "-" if nic.received_bytes is None else format_size(nic.received_bytes),
        "-" if nic.sent_bytes is None else format_size(nic.sent_bytes),
        when(stored=nic.stored, in_force=nic.in_force),
    )

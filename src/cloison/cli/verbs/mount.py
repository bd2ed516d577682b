"""`cloison mount`: what is mounted in an instance besides its own."""

import sys
from typing import TYPE_CHECKING

import click

from cloison.cli import completing
from cloison.cli.changes import say_what_waits, scoped, when
from cloison.cli.invocation import Invocation
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json, name_argument, pass_invocation

if TYPE_CHECKING:
    from cloison.engine.mounts import MountInfo

_HEAD = "mounts.*."


class MountVerb(Verb):
    """Its help lists the keys of a mount."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(context, formatter)
        from cloison.spec.mount_keys import MOUNT_KEYS

        with formatter.section("Keys"):
            formatter.write_dl(
                [(key.name.removeprefix(_HEAD), f"{key.meaning}, such as {key.example}") for key in MOUNT_KEYS]
            )


_mount_argument = click.argument("mount", shell_complete=completing.mounts)
_settings = click.argument(
    "settings", nargs=-1, required=True, metavar="KEY=VALUE...", shell_complete=completing.mount_assignments
)


@click.group("mount")
def command() -> None:
    """Mount volumes and directories of the host in instances."""


@command.command(
    "add",
    cls=MountVerb,
    examples=(
        "cloison mount add web data source=data target=/srv/data",
        "cloison mount add web site source=/home/ana/site target=/srv/www ro=true",
        "cloison mount add web src source=/home/ana/src target=/src idmap=1000:1000",
        "cloison mount add web scratch type=tmpfs target=/scratch size=256M",
    ),
)
@scoped
@name_argument
@click.argument("mount")
@_settings
@pass_invocation
def _add(invocation: Invocation, name: str, mount: str, settings: tuple[str, ...], *, scope: str) -> None:
    """Mount something in an instance, under a name of your choice.

    In one that runs at once, and in what is stored.
    """
    say_what_waits(invocation, name, invocation.get(name).mounts.add(mount, *settings, scope=scope))


@command.command("set", cls=MountVerb, examples=("cloison mount set web site ro=false",))
@scoped
@name_argument
@_mount_argument
@_settings
@pass_invocation
def _set(invocation: Invocation, name: str, mount: str, settings: tuple[str, ...], *, scope: str) -> None:
    """Change a mount.

    Where it runs it is gone for a moment, so nobody may be using it. `cloison set NAME mounts.MOUNT.KEY=VALUE` is the
    same.
    """
    say_what_waits(invocation, name, invocation.get(name).mounts.set(mount, *settings, scope=scope))


@command.command(
    "remove", cls=Verb, examples=("cloison mount remove web data", "cloison mount remove --force web data")
)
@click.option("-f", "--force", is_flag=True, help="Even while somebody inside uses it, who keeps what he has open.")
@scoped
@name_argument
@_mount_argument
@pass_invocation
def _remove(invocation: Invocation, name: str, mount: str, *, scope: str, force: bool) -> None:
    """Mount something no longer; what is in it stays."""
    say_what_waits(invocation, name, invocation.get(name).mounts.remove(mount, scope=scope, force=force))


@command.command("ls", cls=Verb, examples=("cloison mount ls", "cloison mount ls web --json"))
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.instances)
@as_json
@pass_invocation
def _ls(invocation: Invocation, names: tuple[str, ...], *, as_json: bool) -> int:
    """List what is mounted in instances: in those NAMEd, or in all."""
    wanted = names or tuple(instance.name for instance in invocation.engine.instances())
    found: list[MountInfo] = []
    code = invocation.each(wanted, lambda instance: found.extend(instance.mounts.list()))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return code
    header = ("INSTANCE", "MOUNT", "SOURCE", "TARGET", "MODE", "IDMAP", "WHEN")
    click.echo(aligned(header, [_row(each) for each in found], is_bold=shows_colours(sys.stdout)), nl=False)
    return code


def _row(each: "MountInfo") -> tuple[str, ...]:
    return (
        each.instance,
        each.name,
        each.source or each.type,
        each.target,
        "ro" if each.ro else "rw",
        each.idmap,
        when(stored=each.stored, in_force=each.in_force),
    )

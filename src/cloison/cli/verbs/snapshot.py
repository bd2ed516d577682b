"""`cloison snapshot`: what an instance was at other times."""

import sys
from typing import TYPE_CHECKING, Any

import click

from cloison.base.units import format_size, parse_duration
from cloison.cli import calls, completing
from cloison.cli.invocation import Invocation, for_each
from cloison.cli.table import aligned, listed, printable, shows_colours
from cloison.cli.verb import Verb, as_json, name_argument, pass_invocation

if TYPE_CHECKING:
    from cloison.engine.results import DueSnapshot, SnapshotInfo

_snapshot_argument = click.argument("snapshot", shell_complete=completing.snapshots)


@click.group("snapshot")
def command() -> None:
    """Keep what an instance is, and go back to it."""


def _lasting(_context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """`7d`: seconds; 0 for never, None where nothing is said."""
    if text is None:
        return None
    return 0 if text in ("never", "none") else parse_duration(text, key=parameter.opts[-1])


@command.command(
    "create",
    cls=Verb,
    examples=(
        "cloison snapshot create web",
        "cloison snapshot create web before-upgrade --description Debian-12 --expires 7d",
    ),
)
@name_argument
@click.argument("snapshot", default="", required=False)
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option(
    "--expires",
    "expires_s",
    callback=_lasting,
    metavar="TIME",
    help="Delete it after that time, or never (default: snapshots.expiry).",
)
@pass_invocation
def _create(invocation: Invocation, name: str, snapshot: str, description: str, expires_s: float | None) -> None:
    """Keep what an instance is now, under a name; print the name.

    One that runs is held still for the moment. Without a name it is called snap0, snap1 and so on.
    """
    calls.keep(invocation, name, snapshot, description=description, expires_s=expires_s)


@command.command("ls", cls=Verb, examples=("cloison snapshot ls web", "cloison snapshot ls --json"))
@click.argument("names", nargs=-1, metavar="[INSTANCE]...", shell_complete=completing.instances)
@as_json
@pass_invocation
def _ls(invocation: Invocation, names: tuple[str, ...], *, as_json: bool) -> None:
    """List the snapshots of instances, or of all."""
    instances = [invocation.get(name) for name in names] or list(invocation.engine.instances())
    found = [each for instance in instances for each in instance.snapshots.list()]
    if as_json:
        _show_json(found)
        return
    header = ("INSTANCE", "NAME", "CREATED", "EXPIRES", "OF A RUNNING ONE", "DESCRIPTION")
    click.echo(aligned(header, [_row(each) for each in found], is_bold=shows_colours(sys.stdout)), nl=False)


def _row(each: "SnapshotInfo") -> tuple[str, ...]:
    expires = "at the next start" if each.until_start else each.expires or "never"
    return (
        each.instance,
        each.name,
        each.created,
        expires,
        "yes" if each.was_running else "no",
        each.description or "-",
    )


@command.command("info", cls=Verb, examples=("cloison snapshot info web snap0",))
@name_argument
@_snapshot_argument
@as_json
@pass_invocation
def _info(invocation: Invocation, name: str, snapshot: str, *, as_json: bool) -> None:
    """Show a snapshot: when it was made, what the instance was configured to, what it takes."""
    found = invocation.get(name).snapshots.get(snapshot)
    if as_json:
        _show_json(found)
        return
    taken = "" if found.disk_bytes is None else format_size(found.disk_bytes)
    pairs = [
        ("created", found.created + (", by its schedule" if found.scheduled else "")),
        ("expires", "when the instance has been started" if found.until_start else found.expires or "never"),
        ("description", found.description or "-"),
        ("it was", "running" if found.was_running else "stopped"),
        ("image", found.image),
        ("files", f"{taken} besides those that it shares"),
    ]
    text = f"{found.instance}/{found.name}\n{listed(pairs)}"
    if found.config:
        text += f"Configuration\n{listed(list(found.config.items()))}"
    click.echo(text, nl=False)


@command.command(
    "restore",
    cls=Verb,
    examples=("cloison snapshot restore web before-upgrade", "cloison snapshot restore --force web snap0"),
)
@name_argument
@_snapshot_argument
@click.option("-f", "--force", is_flag=True, help="Stop it first where it runs, and start it again.")
@click.option("--keep-config", is_flag=True, help="Restore its files alone.")
@pass_invocation
def _restore(invocation: Invocation, name: str, snapshot: str, *, force: bool, keep_config: bool) -> None:
    """Have an instance be what it was, files and configuration.

    What it is now is kept as the snapshot `pre-restore` until it has been started; give that another name to keep it
    for longer.
    """
    with invocation.progress(f"restoring {name}") as progress:
        invocation.get(name).snapshots.restore(snapshot, force=force, keep_config=keep_config, progress=progress)


@command.command("delete", cls=Verb, examples=("cloison snapshot delete web snap0 snap1",))
@name_argument
@click.argument("snapshots", nargs=-1, required=True, metavar="SNAPSHOT...", shell_complete=completing.snapshots)
@pass_invocation
def _delete(invocation: Invocation, name: str, snapshots: tuple[str, ...]) -> int:
    """Delete snapshots, with what of their files nobody else shares."""
    instance = invocation.get(name)
    return for_each(snapshots, instance.snapshots.delete)


@command.command("rename", cls=Verb, examples=("cloison snapshot rename web pre-restore before-restore",))
@name_argument
@_snapshot_argument
@click.argument("new")
@pass_invocation
def _rename(invocation: Invocation, name: str, snapshot: str, new: str) -> None:
    """Give a snapshot another name."""
    invocation.get(name).snapshots.rename(snapshot, new)


@command.command(
    "diff",
    cls=Verb,
    examples=("cloison snapshot diff web snap0", "cloison snapshot diff web snap0 snap1 --json"),
)
@name_argument
@_snapshot_argument
@click.argument("other", default="", required=False, shell_complete=completing.snapshots)
@as_json
@pass_invocation
def _diff(invocation: Invocation, name: str, snapshot: str, other: str, *, as_json: bool) -> None:
    """List the files that were added, changed or removed since a snapshot; up to now, or to another one."""
    found = invocation.get(name).snapshots.diff(snapshot, other)
    if as_json:
        _show_json(found)
        return
    click.echo("".join(f"{each.what:8} {printable(each.path)}\n" for each in found), nl=False)


@command.command("run-due", cls=Verb, examples=("cloison snapshot run-due",))
@as_json
@pass_invocation
def _run_due(invocation: Invocation, *, as_json: bool) -> None:
    """Make the snapshots that are due, and delete those that have expired.

    For a timer, as often as one likes: contrib/systemd has one. What is due is said by snapshots.schedule.
    """
    if not as_json:
        invocation.engine.run_due(lambda each: click.echo(f"{each.what:8} {each.instance}/{each.name}"))
        return
    done: list[DueSnapshot] = []
    try:
        invocation.engine.run_due(done.append)
    finally:
        _show_json(done)  # also where one of them failed


def _show_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value)))

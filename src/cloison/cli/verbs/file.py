"""`cloison file`: the files of an instance, from outside."""

import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from cloison.base.errors import Usage
from cloison.base.units import format_size
from cloison.cli import completing
from cloison.cli.invocation import Invocation, for_each
from cloison.cli.table import aligned, shows_colours
from cloison.cli.verb import Verb, as_json, pass_invocation

if TYPE_CHECKING:
    from cloison.engine.file_copies import Copied
    from cloison.spec.files import Entry

Place = tuple[str, str]
STREAM = "-"
_LETTERS = {
    "file": "-",
    "directory": "d",
    "link": "l",
    "fifo": "p",
    "socket": "s",
    "character device": "c",
    "block device": "b",
}


def _place(text: str) -> Place:
    """`web/etc/hosts`: the instance, and the path inside."""
    name, slash, path = text.partition("/")
    if not name or not slash:
        raise click.BadParameter(f"{text}: write INSTANCE/PATH, such as web/etc/hosts")
    return name, f"/{path}"


def _places(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[Place, ...]:
    return tuple(map(_place, texts))


def _one_place(_context: click.Context, _parameter: click.Parameter, text: str) -> Place:
    return _place(text)


def _mode(_context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise click.BadParameter(f"{parameter.opts[0]} {text}: write a mode in octal digits, such as 0644")
    return mode


_recursive = click.option("-r", "--recursive", is_flag=True, help="Directories, too, with all that is in them.")
_parents = click.option("-p", "--parents", is_flag=True, help="Make missing directories on the way.")
_path = click.argument("place", metavar="INSTANCE/PATH", callback=_one_place, shell_complete=completing.instances)
_paths = click.argument(
    "places",
    metavar="INSTANCE/PATH...",
    nargs=-1,
    required=True,
    callback=_places,
    shell_complete=completing.instances,
)


@click.group("file")
def command() -> None:
    """Copy, list, edit and remove files of instances.

    It is the same whether an instance runs or not. Links are followed inside it alone; owners are those inside.
    """


@command.command(
    "push",
    cls=Verb,
    examples=(
        "cloison file push nginx.conf web/etc/nginx/",
        "cloison file push -r -p site web/srv/www/ --uid 33 --gid 33",
        "tar c . | cloison file push - web/root/all.tar --mode 0600",
    ),
)
@_recursive
@_parents
@click.option("--uid", type=click.IntRange(0), metavar="ID", help="Its owner inside (default: as before, else root).")
@click.option("--gid", type=click.IntRange(0), metavar="ID", help="Its group inside (default: as before, else root).")
@click.option("--mode", callback=_mode, metavar="MODE", help="Permissions of files, in octal (default: as before).")
@click.argument("sources", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@_path
@pass_invocation
def _push(
    invocation: Invocation,
    sources: tuple[str, ...],
    place: Place,
    *,
    recursive: bool,
    parents: bool,
    uid: int | None,
    gid: int | None,
    mode: int | None,
) -> None:
    """Copy FILEs of the host into an instance; `-` is standard input.

    Into PATH, where that is a directory or ends in a slash. A file that is there is replaced as a whole, and keeps its
    owner and mode; a new one is root's, with the mode that it has here, but for setuid. Times are kept.
    """
    name, path = place
    if len(sources) > 1 and not path.endswith("/"):
        path += "/"
    with invocation.progress(f"{name}{path}") as progress, invocation.get(name).files as files:
        for source in sources:
            if source == STREAM:
                done = files.push_from(
                    sys.stdin.fileno(), path, parents=parents, uid=uid, gid=gid, mode=mode, progress=progress
                )
            else:
                done = files.push(
                    source, path, recursive=recursive, parents=parents, uid=uid, gid=gid, mode=mode, progress=progress
                )
            _say_skipped(invocation, name, done)


@command.command(
    "pull",
    cls=Verb,
    examples=(
        "cloison file pull web/etc/hosts .",
        "cloison file pull web/var/log/syslog - | grep error",
        "cloison file pull -r web/etc ./etc-of-web",
    ),
)
@_recursive
@_parents
@_paths
@click.argument("target", type=click.Path())
@pass_invocation
def _pull(invocation: Invocation, places: tuple[Place, ...], target: str, *, recursive: bool, parents: bool) -> None:
    """Copy files of an instance onto the host; a TARGET of `-` is standard output.

    Into TARGET, where that is a directory or ends in a slash. They are yours there, with the modes and times that they
    have inside, but for setuid.
    """
    if len(places) > 1 and target != STREAM and not target.endswith("/"):
        target += "/"
    for name, path in places:
        with invocation.progress(f"{name}{path}") as progress:
            files = invocation.get(name).files
            if target == STREAM:
                sys.stdout.flush()
                files.pull_to(path, sys.stdout.fileno(), progress=progress)
            else:
                done = files.pull(path, target, recursive=recursive, parents=parents, progress=progress)
                _say_skipped(invocation, name, done)


def _say_skipped(invocation: Invocation, name: str, done: "Copied") -> None:
    for path in done.skipped:
        invocation.note(f"{name}{path}: neither a file, a directory nor a link: not copied")


@command.command("ls", cls=Verb, examples=("cloison file ls web/etc", "cloison file ls web/srv/www --json"))
@as_json
@_path
@pass_invocation
def _ls(invocation: Invocation, place: Place, *, as_json: bool) -> None:
    """List a directory of an instance."""
    name, path = place
    found = invocation.get(name).files.list(path)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    header = ("MODE", "UID", "GID", "SIZE", "CHANGED", "NAME")
    click.echo(aligned(header, [_row(entry) for entry in found], is_bold=shows_colours(sys.stdout)), nl=False)


def _row(entry: "Entry") -> tuple[str, ...]:
    changed = datetime.fromtimestamp(entry.mtime_ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M")
    name = f"{entry.name} -> {entry.target}" if entry.target else entry.name
    shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter) & 0xFF:02x}" for letter in name)
    mode = f"{_LETTERS[entry.kind]}{entry.mode:04o}"
    return mode, str(entry.uid), str(entry.gid), format_size(entry.size_bytes), changed, shown


@command.command("rm", cls=Verb, examples=("cloison file rm web/etc/motd", "cloison file rm -r web/srv/old"))
@_recursive
@_paths
@pass_invocation
def _rm(invocation: Invocation, places: tuple[Place, ...], *, recursive: bool) -> int:
    """Remove files of an instance.

    A link is removed itself. What else is mounted in a directory stays, and with it the directory.
    """
    return for_each(places, lambda place: invocation.get(place[0]).files.remove(place[1], recursive=recursive))


@command.command("edit", cls=Verb, examples=("cloison file edit web/etc/fstab", "EDITOR=nano cloison file edit web/x"))
@_path
@pass_invocation
def _edit(invocation: Invocation, place: Place) -> None:
    """Change a file of an instance with $VISUAL, $EDITOR or vi.

    Nothing happens where nothing was changed, or the editor fails. Owner and mode stay.
    """
    import shlex

    name, path = place
    words = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    editor = shlex.split(words)
    if not editor:
        raise Usage(f"{words!r} is no editor", hint="set $EDITOR")
    if not invocation.get(name).files.edit(path, editor):
        invocation.note(f"{name}{path}: nothing was changed")

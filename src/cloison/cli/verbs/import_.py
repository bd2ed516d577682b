"""`cloison import`."""

import contextlib
import os
import stat
from collections.abc import Iterator

import click

from cloison.base.errors import Invalid, NotFound
from cloison.cli import completing
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, pass_invocation

_CHUNK = 1 << 18


@click.command(
    "import",
    cls=Verb,
    examples=(
        "cloison import web.cloison",
        "cloison import web.cloison web2 --storage fast",
        "ssh other cloison export web - | cloison import -",
    ),
)
@click.argument("file", type=click.Path(allow_dash=True))
@click.argument("name", default="", required=False)
@click.option("-s", "--storage", default="", metavar="POOL", help="Where its files are to be.")
@click.option(
    "-c",
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=completing.assignments,
    help="Configure it; `cloison set --help` lists the keys.",
)
@click.option("-f", "--force", is_flag=True, help="With changes since a snapshot: lose what was changed here.")
@pass_invocation
def command(
    invocation: Invocation, file: str, name: str, storage: str, settings: tuple[str, ...], *, force: bool
) -> None:
    """Make an instance of what `export` wrote; print its name.

    It has its own name again, or NAME. An export with --since brings the instance up to date that came before. Who
    wrote the file decides about its configuration and its files: import only what you trust.
    """
    with opened(file) as fd:
        made = invocation.engine.import_instance(read(fd), name, config=settings, storage=storage, force=force)
    if made.config.security.privileged:
        invocation.note(f"{made.name} is privileged, as the export says: root inside is root of the host")
    click.echo(made.name)


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of the file, or of the standard input for -. Raises NotFound, Invalid."""
    if path == "-":
        yield 0
        return
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path!r}", path=path) from None
    except OSError as problem:
        raise Invalid(f"the file {path!r} cannot be read: {problem.strerror}", path=path) from problem
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise Invalid(f"{path!r} is a directory, and nothing that was exported", path=path)
        yield fd
    finally:
        os.close(fd)


def read(fd: int) -> Iterator[bytes]:
    """What can be read from a descriptor, up to its end."""
    while chunk := os.read(fd, _CHUNK):
        yield chunk

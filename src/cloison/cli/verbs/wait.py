"""`cloison wait`."""

from typing import TYPE_CHECKING

import click

from cloison.base.errors import TimedOut
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, names_argument, pass_invocation, seconds

if TYPE_CHECKING:
    from cloison.engine.instance import Instance


@click.command(cls=Verb, examples=("cloison wait web", "cloison wait -t 5m job && cloison logs job"))
@names_argument
@click.option("-t", "--timeout", "timeout_s", callback=seconds, metavar="TIME", help="Give up after so long.")
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], timeout_s: float | None) -> int:
    """Wait until instances have ended; print their exit codes.

    The exit code of an instance is that of its init, 128+n where signal n ended it. One that is
    not running has ended already.
    """
    return invocation.each(names, lambda instance: _wait(instance, timeout_s))


def _wait(instance: "Instance", timeout_s: float | None) -> None:
    if not instance.wait(timeout_s):
        raise TimedOut(f"{instance.name!r} did not end within {timeout_s:g} s")
    ended = instance.info().exit
    if ended is not None:
        click.echo(ended.code)

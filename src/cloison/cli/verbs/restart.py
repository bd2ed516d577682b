"""`cloison restart`."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, force_stop, names_argument, pass_invocation, stop_timeout, verbose


@click.command(cls=Verb, examples=("cloison restart web", "cloison restart -t 5s web"))
@names_argument
@stop_timeout
@force_stop
@verbose
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], timeout_s: float | None, *, force: bool) -> int:
    """Stop instances and start them again.

    One that is stopped already is just started."""
    return invocation.each(
        names, lambda instance: instance.restart(timeout_s=timeout_s, force=force, watch=invocation.watch())
    )

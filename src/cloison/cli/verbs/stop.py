"""`cloison stop`."""

import click

from cloison.cli import calls
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, force_stop, names_argument, pass_invocation, stop_timeout


@click.command(cls=Verb, examples=("cloison stop web", "cloison stop -t 2m db", "cloison stop -f web db"))
@names_argument
@stop_timeout
@force_stop
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], timeout_s: float | None, *, force: bool) -> int:
    """Stop instances.

    Each one's init is asked to shut down and waited for; what does not stop in time is killed. Several are stopped at
    the same time.
    """
    return calls.stop(invocation, names, timeout_s=timeout_s, force=force)

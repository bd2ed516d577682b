"""`cloison repair`."""

import click
import msgspec

from cloison.cli import completing
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, pass_invocation


@click.command(cls=Verb, examples=("cloison repair", "cloison repair web"))
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=completing.instances)
@as_json
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], *, as_json: bool) -> int:
    """Take back what died halfway.

    Of the instances that are named, or of everything there is: instances, deletions, image builds."""
    code, done = 0, []
    if names:
        code = invocation.each(names, lambda instance: done.append(instance.name) if instance.repair() else None)
        found = [{"what": "instance", "where": name} for name in done]
    else:
        found = [msgspec.structs.asdict(repaired) for repaired in invocation.engine.repair()]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    elif found:
        click.echo("".join(f"taken back: {one['what']} {one['where']}\n" for one in found), nl=False)
    elif not code and not invocation.is_quiet:
        click.echo("there was nothing to take back")
    return code

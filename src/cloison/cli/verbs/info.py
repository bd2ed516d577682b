"""`cloison info`."""

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, names_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison info web", "cloison info --json web db"))
@names_argument
@as_json
@pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], *, as_json: bool) -> int:
    """Show all there is to know about instances."""
    from cloison.cli.portrait import portrait

    found = []
    code = invocation.each(names, lambda instance: found.append(instance.info(with_disk=True)))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        click.echo("\n".join(portrait(info) for info in found), nl=False)
    return code

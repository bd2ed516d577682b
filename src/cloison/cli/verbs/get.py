"""`cloison get`."""

import click
import msgspec

from cloison.cli.completing import keys
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, name_argument, pass_invocation


@click.command(cls=Verb, examples=("cloison get web limits.memory", "cloison get web", "cloison get web --json"))
@name_argument
@click.argument("key", default="", required=False, shell_complete=keys)
@as_json
@pass_invocation
def command(invocation: Invocation, name: str, key: str, *, as_json: bool) -> None:
    """Show one key of a configuration, or all that are set.

    A key that is not set shows as its default, or as nothing. `cloison set --help` lists the keys.
    """
    from cloison.spec.config import items

    instance = invocation.get(name)
    values = {key: instance.get(key)} if key else dict(items(instance.config))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(values)))
    elif key:
        click.echo(values[key])
    else:
        click.echo("".join(f"{key}={value}\n" for key, value in values.items()), nl=False)

"""`cloison completion`."""

import click
from click.shell_completion import get_completion_class

from cloison.cli.main import COMPLETE_VARIABLE
from cloison.cli.verb import Verb


@click.command(
    cls=Verb,
    examples=(
        "cloison completion bash > /etc/bash_completion.d/cloison",
        "source <(cloison completion zsh)",
        "cloison completion fish > ~/.config/fish/completions/cloison.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete names and keys."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(context.find_root().command, {}, "cloison", COMPLETE_VARIABLE).source())

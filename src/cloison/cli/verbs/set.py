"""`cloison set`."""

import click

from cloison.cli.changes import say_what_waits, scoped
from cloison.cli.completing import assignments
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, name_argument, pass_invocation


class SetVerb(Verb):
    """Its help lists all keys."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(context, formatter)
        from cloison.spec.config import KEYS

        with formatter.section("Keys (those with a + are in force at once, the others from the next start on)"):
            formatter.write_dl(
                [(f"{key.name}{'+' * key.is_live}", f"{key.meaning}, such as {key.example}") for key in KEYS]
            )


@click.command(
    cls=SetVerb,
    examples=(
        "cloison set web limits.memory=256M limits.cpus=1.5",
        "cloison set web env.TZ=Europe/Paris",
        "cloison set web limits.memory=          (back to the default)",
        "cloison set web limits.memory=50% limits.io./var/lib.write_bps=20M",
        "cloison set --live web limits.cpus=4    (until it stops)",
        "cloison set web 'limits.devices=allow /dev/fuse rw, deny c 1:9 rw'",
    ),
)
@scoped
@name_argument
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...", shell_complete=assignments)
@pass_invocation
def command(invocation: Invocation, name: str, settings: tuple[str, ...], *, scope: str) -> None:
    """Change the configuration of an instance.

    Both what is stored and what runs, as far as that can be; all of it or, with an error, nothing. An empty value takes
    a key back to its default.
    """
    say_what_waits(invocation, name, invocation.get(name).set(*settings, scope=scope))

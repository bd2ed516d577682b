"""`cloison set`."""

import click

from cloison.base.errors import Usage
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
@click.option("--live", is_flag=True, help="Only what runs, until it stops; what is stored stays as it is.")
@click.option("--next-start", is_flag=True, help="Only what is stored; what runs stays as it is.")
@name_argument
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...", shell_complete=assignments)
@pass_invocation
def command(invocation: Invocation, name: str, settings: tuple[str, ...], *, live: bool, next_start: bool) -> None:
    """Change the configuration of an instance.

    Both what is stored and what runs, as far as that can be; all of it or, with an error, nothing. An empty value takes
    a key back to its default.
    """
    if live and next_start:
        raise Usage("--live and --next-start exclude each other", hint="without either, both are changed")
    scope = "live" if live else "next-start" if next_start else "both"
    change = invocation.get(name).set(*settings, scope=scope)
    if change.at_next_start and not invocation.is_quiet:
        click.echo(f"at the next start of {name}: {', '.join(change.at_next_start)}")

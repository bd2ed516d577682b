"""The commands of `cloison image` that talk to servers: pull."""

import contextlib
from typing import TYPE_CHECKING

import click

from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, pass_invocation
from cloison.cli.verbs.login import tls_verify

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cloison.engine.engine import Progress

_quiet = click.option("-q", "--quiet", is_flag=True, help="Say nothing but the result.")


def _progress(invocation: Invocation, doing: str, *, quiet: bool) -> "AbstractContextManager[Progress | None]":
    return contextlib.nullcontext() if quiet else invocation.progress(doing)


@click.command(
    "pull",
    cls=Verb,
    examples=(
        "cloison image pull docker://debian:12",
        "cloison image pull images:alpine/3.20 --name alpine",
        "cloison image pull docker://registry.example.org/tools/web@sha256:"
        "45b23dee08af5e43a7fea6c4cf9c25ccf269ee113168c19722f87876677c5cb2",
        "cloison image pull docker://debian:12 --platform linux/arm64",
    ),
)
@click.argument("reference")
@click.option("--name", metavar="NAME", default="", help="Give it this name as well.")
@click.option("--platform", metavar="OS/ARCH", default="", help="Not that of this host; such as linux/arm64.")
@tls_verify
@_quiet
@as_json
@pass_invocation
def _pull(
    invocation: Invocation, reference: str, name: str, platform: str, *, tls_verify: bool, quiet: bool, as_json: bool
) -> None:
    """Bring an image from a registry or an image server; print its name.

    What is there already is not downloaded again, also of another image. Nothing counts before all has come and was
    held against its digests.
    """
    with _progress(invocation, f"pulling {reference}", quiet=quiet) as progress:
        image = invocation.engine.servers.pull(
            reference, name=name, platform=platform, is_insecure=not tls_verify, progress=progress
        )
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(image)))
    else:
        click.echo(name or image.names[0])


VERBS = (_pull,)

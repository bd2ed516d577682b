"""The commands of `cloison image` that talk to servers: pull, push, search."""

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from cloison.base.units import format_size
from cloison.cli.completing import images
from cloison.cli.invocation import Invocation
from cloison.cli.table import aligned, shows_colours
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


@click.command(
    "push",
    cls=Verb,
    examples=(
        "cloison image push golden docker://registry.example.org/tools/golden:1",
        "cloison image push golden docker://registry.example.org/tools/golden:1 --compression zstd",
    ),
)
@click.argument("image", shell_complete=images)
@click.argument("reference", default="", required=False)
@click.option("--format", "form", type=click.Choice(["oci", "docker"]), default="oci", help="Whose manifest it gets.")
@click.option(
    "--compression",
    type=click.Choice(["gzip", "zstd", "none"]),
    help="Of its layers; by default whatever the registry has already, else gzip.",
)
@tls_verify
@_quiet
@as_json
@pass_invocation
def _push(
    invocation: Invocation,
    image: str,
    reference: str,
    form: str,
    compression: str | None,
    *,
    tls_verify: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Bring an image into a registry; print what it can be pulled by for ever.

    Without REFERENCE it goes to where its name says that it belongs. What the registry has already is not sent.
    """
    with _progress(invocation, f"pushing {reference or image}", quiet=quiet) as progress:
        pushed = invocation.engine.servers.push(
            image,
            reference,
            is_docker=form == "docker",
            compression=compression or "",
            is_insecure=not tls_verify,
            progress=progress,
        )
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(pushed)))
    else:
        click.echo(f"docker://{pushed.name.rpartition(':')[0]}@{pushed.digest}")


@click.command(
    "search",
    cls=Verb,
    examples=(
        "cloison image search images:debian",
        "cloison image search images:alpine --architecture arm64",
        "cloison image search docker://registry.example.org/tools/web",
    ),
)
@click.argument("words", metavar="REMOTE:WORDS")
@click.option("--architecture", metavar="NAME", help="Not this host's; `all` for all of them.")
@as_json
@pass_invocation
def _search(invocation: Invocation, words: str, architecture: str | None, *, as_json: bool) -> None:
    """List what a server offers.

    Of an image server, what has WORDS in its name; of docker://HOST/NAME, the tags; of docker://HOST, the names, where
    it tells them.
    """
    found = invocation.engine.servers.search(words, architecture="" if architecture == "all" else architecture)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    header = ("REFERENCE", "ARCHITECTURE", "SYSTEM", "VARIANT", "VERSION", "SIZE")
    rows = [
        (
            offer.reference,
            offer.architecture or "-",
            f"{offer.os} {offer.release}".strip() or "-",
            offer.variant or "-",
            offer.version or "-",
            "-" if offer.size_bytes is None else format_size(offer.size_bytes),
        )
        for offer in found
    ]
    click.echo(aligned(header, rows, is_bold=shows_colours(sys.stdout)), nl=False)


VERBS = (_pull, _push, _search)

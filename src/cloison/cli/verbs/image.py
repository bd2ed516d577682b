"""`cloison image`: the images that instances are made from."""

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from cloison.base.units import format_size
from cloison.cli.completing import images
from cloison.cli.invocation import Invocation, for_each
from cloison.cli.table import aligned, listed, shows_colours
from cloison.cli.verb import Verb, as_json, pass_invocation
from cloison.cli.verbs import image_archives, image_servers
from cloison.cli.verbs.create import pairs

if TYPE_CHECKING:
    from cloison import Image

_image_argument = click.argument("image", shell_complete=images)


@click.group("image")
def command() -> None:
    """Build, list, tag and remove images."""


for _verb in (*image_archives.VERBS, *image_servers.VERBS):
    command.add_command(_verb)


@command.command("ls", cls=Verb, examples=("cloison image ls", "cloison image ls --json"))
@as_json
@pass_invocation
def _ls(invocation: Invocation, *, as_json: bool) -> None:
    """List the images."""
    found = invocation.engine.images.images()
    if as_json:
        _show_json(found)
        return
    header = ("NAME", "DIGEST", "SYSTEM", "ARCHITECTURE", "SIZE", "CREATED")
    click.echo(aligned(header, [_row(image) for image in found], is_bold=shows_colours(sys.stdout)), nl=False)


def _row(image: "Image") -> tuple[str, ...]:
    return (
        ", ".join(image.names) or "-",
        image.digest.removeprefix("sha256:")[:12],
        f"{image.os} {image.release}".strip(),
        image.architecture,
        format_size(image.size_bytes),
        image.created,
    )


@command.command("info", cls=Verb, examples=("cloison image info debian/12",))
@_image_argument
@as_json
@pass_invocation
def _info(invocation: Invocation, image: str, *, as_json: bool) -> None:
    """Show all there is to know about an image."""
    found = invocation.engine.images.find(image)
    if as_json:
        _show_json(found)
        return
    rows = [
        ("names", ", ".join(found.names) or "none"),
        ("digest", found.digest),
        *([("id", found.id)] if found.id else []),
        ("system", f"{found.os} {found.release}".strip()),
        ("architecture", found.architecture),
        ("size", format_size(found.size_bytes)),
        ("created", found.created),
        *([("source", found.source)] if found.source else []),
        ("template", found.template or "none"),
        ("runs", " ".join(found.command)),
        ("stops on", found.stop_signal),
        *([("user", found.user)] if found.user else []),
        *([("directory", found.workdir)] if found.workdir else []),
        *(("variable", variable) for variable in found.env),
        *(("port", port) for port in found.ports),
        *(("volume", volume) for volume in found.volumes),
        *(("property", f"{key}={value}") for key, value in sorted(found.properties.items())),
        *(("written", f"{each.path} at {', '.join(each.when)}") for each in found.templates),
        *(("layer", layer) for layer in found.layers),
    ]
    click.echo(listed(rows, indent=""), nl=False)


@command.command(
    "build",
    cls=Verb,
    examples=(
        "cloison image build debian/12",
        "cloison image build debian/13 --option packages=nginx,less",
        "cloison image build ./web.toml",
        "cloison image build golden --template /usr/share/lxc/templates/lxc-debian -- --release=bookworm",
    ),
)
@_image_argument
@click.argument("arguments", nargs=-1, metavar="[-- ARGUMENTS...]")
@click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="Choose an option of the template."
)
@click.option(
    "--template", metavar="PROGRAM", default="", help="Build it by a program, such as one of LXC's templates."
)
@click.option(
    "--rebuild/--keep",
    default=None,
    help="Build it again where it is there already, or not (default: again, but a recipe only where anything changed).",
)
@as_json
@pass_invocation
def _build(
    invocation: Invocation,
    image: str,
    arguments: tuple[str, ...],
    options: tuple[str, ...],
    *,
    template: str,
    rebuild: bool | None,
    as_json: bool,
) -> None:
    """Build an image by its template, by a program or by a recipe; print its name.

    Instances that were made from an older build keep that. ARGUMENTS are those of a program, as LXC hands them to its
    templates. docs/templates.md says what a recipe is.
    """
    given = dict(pairs(options)) | ({"arguments": shlex.join(arguments)} if arguments else {})
    with invocation.progress(f"building {image}") as progress:
        built = invocation.engine.build(image, options=given, template=template, rebuild=rebuild, progress=progress)
    if warning := built.properties.get("warning"):
        invocation.note(f"cloison: {built.names[0] if built.names else built.digest}: {warning}")
    if as_json:
        _show_json(built)
    else:
        click.echo(built.names[0] if built.names else built.digest)


@command.command("tag", cls=Verb, examples=("cloison image tag debian/12 golden",))
@_image_argument
@click.argument("name")
@pass_invocation
def _tag(invocation: Invocation, image: str, name: str) -> None:
    """Give an image one more name."""
    invocation.engine.images.tag(image, name)


@command.command("rm", cls=Verb, examples=("cloison image rm debian/11",))
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=images)
@pass_invocation
def _rm(invocation: Invocation, names: tuple[str, ...]) -> int:
    """Remove images that no instance is made from.

    Of an image with several names only the one that is given goes; its digest stands for the whole image.
    """
    return for_each(names, invocation.engine.remove_image)


@command.command("templates", cls=Verb, examples=("cloison image templates",))
@as_json
@pass_invocation
def _templates(invocation: Invocation, *, as_json: bool) -> None:
    """List what images can be built from, with their options."""
    found = invocation.engine.templates()
    if as_json:
        _show_json(
            [
                {
                    "name": one.NAME,
                    "summary": one.SUMMARY,
                    "releases": one.RELEASES,
                    "options": {option.name: option.help for option in one.OPTIONS},
                }
                for one in found
            ]
        )
        return
    for one in found:
        click.echo(f"{one.NAME}: {one.SUMMARY}")
        if one.RELEASES:
            click.echo(f"  releases: {', '.join(one.RELEASES)}")
        click.echo(listed([(f"--option {option.name}=", option.help) for option in one.OPTIONS]), nl=False)


def _show_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value)))

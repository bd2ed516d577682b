"""The commands of `cloison image` that have to do with archives and what is kept: import, export, verify, prune."""

import os
import sys
from collections.abc import Iterator

import click

from cloison.base.errors import Host, Usage
from cloison.base.units import format_size
from cloison.cli.completing import images
from cloison.cli.invocation import Invocation
from cloison.cli.verb import Verb, as_json, pass_invocation, seconds
from cloison.cli.verbs.create import pairs

_CHUNK_BYTES = 1 << 20
_FORMATS = ("oci", "docker", "tar", "lxd", "squashfs")


@click.command(
    "import",
    cls=Verb,
    examples=(
        "cloison image import debian-12-x86_64.tar.zst debian/mine",
        "docker save web:1 | cloison image import -",
        "cloison image import lxd.tar.xz --rootfs rootfs.squashfs alpine/3.20",
        "cloison image import ./layout --only registry.example.org/web:2",
    ),
)
@click.argument("archive", metavar="FILE|DIR|-")
@click.argument("name", required=False, default="")
@click.option(
    "--rootfs", metavar="FILE", default="", help="The root file system of a split image, FILE|DIR its metadata."
)
@click.option("--only", metavar="NAME", default="", help="Take this one of several images in the archive.")
@click.option("--platform", metavar="OS/ARCH", default="", help="Not that of this host; such as linux/arm64.")
@click.option("--os", "os_name", metavar="ID", default="", help="The distribution, where the archive does not say it.")
@click.option("--release", metavar="VERSION", default="", help="Its release.")
@click.option("--architecture", metavar="ARCH", default="", help="Its architecture, as Debian writes it: amd64.")
@click.option("--variant", metavar="WORD", default="", help="What sets it apart from others of its release.")
@click.option("--description", metavar="TEXT", default="", help="A line for people.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE", help="Let an archive hold more, or less.")
@as_json
@pass_invocation
def _import(
    invocation: Invocation,
    /,
    archive: str,
    name: str,
    *,
    rootfs: str,
    only: str,
    platform: str,
    limits: tuple[str, ...],
    as_json: bool,
    **properties: str,
) -> None:
    """Take images from an archive or a directory; print their names, or digests where they have none.

    What it is, is found out by its content: a root file system (tar or squashfs, compressed by gzip, xz, zstd or bzip2;
    OpenVZ's templates), an image of LXD, Incus or LXC, what `docker save` and `podman save` write, the OCI's layout.
    Without a NAME images keep those that they have in the archive, or get that of the file.

    Archives may be anybody's: nothing is written outside of the store, and no more than the limits bytes, file_bytes,
    ratio, entries, name_bytes and depth allow.
    """
    from cloison.engine import image_archives

    properties["os"] = properties.pop("os_name")
    given = {key: value for key, value in properties.items() if value}
    with invocation.progress(f"importing {'the archive' if archive == '-' else archive}") as progress:
        found = image_archives.import_images(
            invocation.engine,
            _stdin() if archive == "-" else archive,
            name=name,
            rootfs=rootfs,
            only=only,
            platform=platform,
            properties=given,
            limits=dict(pairs(limits, "--limit")),
            progress=progress,
        )
    for image in found:
        if warning := image.properties.get("warning"):
            invocation.note(f"cloison: {image.names[0] if image.names else image.digest}: {warning}")
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        for image in found:
            click.echo(name or (image.names[0] if image.names else image.digest))


@click.command(
    "export",
    cls=Verb,
    examples=(
        "cloison image export debian/12 debian.tar --format docker",
        "cloison image export debian/12 --format oci | ssh other cloison image import -",
        "cloison image export web/1 web.squashfs",
    ),
)
@click.argument("image", shell_complete=images)
@click.argument("target", metavar="[FILE|-]", required=False, default="-")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default=None,
    help="What to write (default: oci, and what the name of the file says).",
)
@click.option(
    "--compression",
    type=click.Choice(("none", "gzip", "zstd", "xz")),
    default=None,
    help="Compress the archive (default: none, and what the name of the file says).",
)
@pass_invocation
def _export(invocation: Invocation, image: str, target: str, *, form: str | None, compression: str | None) -> None:
    """Write an image as an archive that other programs read.

    oci and docker keep the image's id and layers as they came; tar and squashfs hold its files in one tree; lxd is what
    `lxc image import` takes. A file is there when it is whole, or not at all.
    """
    from cloison.engine import image_archives

    chosen, packed = _by_name(target)
    stream = image_archives.export_image(invocation.engine, image, form or chosen, compression or packed)
    if target == "-":
        if sys.stdout.isatty():
            raise Usage("an archive is nothing for a terminal", hint="name a FILE, or send it on with |")
        for chunk in stream:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    from cloison.cli.host_files import write_whole

    written = write_whole(target, stream, 0o666)
    invocation.note(f"cloison: wrote {format_size(written)} to {target}")


def _by_name(target: str) -> tuple[str, str]:
    """The format and compression that a file's name stands for."""
    name = os.path.basename(target).lower()
    if name.endswith((".squashfs", ".sqfs")):
        return "squashfs", "none"
    ends = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd", ".xz": "xz", ".txz": "xz"}
    return "oci", next((packed for end, packed in ends.items() if name.endswith(end)), "none")


@click.command("verify", cls=Verb, examples=("cloison image verify", "cloison image verify debian/12 --json"))
@click.argument("names", nargs=-1, metavar="[IMAGE...]", shell_complete=images)
@as_json
@pass_invocation
def _verify(invocation: Invocation, names: tuple[str, ...], *, as_json: bool) -> None:
    """Hold images, or all of them, against their digests: every document, and every file of every layer.

    Fails where something is damaged, and says what.
    """
    from cloison.engine import image_archives

    with invocation.progress("verifying") as progress:
        verdicts = image_archives.verify_images(invocation.engine, names, progress)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(verdicts)))
    else:
        for verdict in verdicts:
            for damage in verdict.damage or ("as it was",):
                click.echo(f"{verdict.name}: {damage}")
    bad = [verdict.name for verdict in verdicts if verdict.damage]
    if bad:
        raise Host(
            f"damaged: {', '.join(bad)}",
            hint="remove it with `cloison image rm`, and get it again; what runs on it may see wrong files",
            images=tuple(bad),
        )


@click.command("prune", cls=Verb, examples=("cloison image prune", "cloison image prune --older-than 30d --dry-run"))
@click.option("--older-than", "older_than_s", callback=seconds, metavar="TIME", help="Keep those that came since then.")
@click.option("--unnamed", is_flag=True, help="Keep those that have a name.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@as_json
@pass_invocation
def _prune(invocation: Invocation, older_than_s: float | None, *, unnamed: bool, dry_run: bool, as_json: bool) -> None:
    """Remove the images that no instance, snapshot or volume is made from, and what broken pulls have left.

    The images that are gone are printed.
    """
    from cloison.engine import image_archives

    gone = image_archives.prune_images(
        invocation.engine, older_than_s=older_than_s or 0.0, is_nameless_only=unnamed, is_rehearsal=dry_run
    )
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(gone)))
        return
    for image in gone:
        click.echo(image.names[0] if image.names else image.digest)
    if not gone:
        invocation.note("cloison: there is no image to remove")
        return
    size = format_size(sum(image.size_bytes for image in gone))
    count = "1 image" if len(gone) == 1 else f"{len(gone)} images"
    invocation.note(f"cloison: {count} {'would go' if dry_run else 'removed'}, with {size} of layers")


def _stdin() -> Iterator[bytes]:
    if sys.stdin.isatty():
        raise Usage("an archive is expected at the standard input, and a terminal is there", hint="name a FILE")
    while chunk := sys.stdin.buffer.read(_CHUNK_BYTES):
        yield chunk


VERBS = (_import, _export, _verify, _prune)

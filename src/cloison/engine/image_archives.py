"""Images in and out of archives, held against their digests, and thrown away where nobody uses them."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Invalid
from cloison.base.units import parse_size
from cloison.engine import records
from cloison.images.architecture import host_architecture
from cloison.images.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.images import Image
    from cloison.images.verifying import Verdict

Progress = Callable[[str, int, int | None], None]
PROPERTIES = ("os", "release", "architecture", "variant", "description")
_SIZES = ("bytes", "file_bytes")
_DEEPEST = 400  # directories that are made one by one, each by a call within another


def _in_silence(_stage: str, _done: int, _total: int | None) -> None:
    """Nobody listens."""


def import_images(
    engine: "Engine",
    archive: str | Iterable[bytes],
    *,
    name: str = "",
    rootfs: str = "",
    only: str = "",
    platform: str = "",
    properties: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> "tuple[Image, ...]":
    """The images in a file, a directory or a stream, in the store; see `cloison.images.archives.importing`.

    `rootfs` is the second half of a split image; `only` chooses one image of several; `platform` as in linux/arm64.
    `properties` (PROPERTIES) replace what the archive says; `limits` are numbers by their names in `Limits`.
    Raises NotFound, Invalid, Unsupported, NoSpace; then the store is as it was."""
    from cloison.images.archives import importing
    from cloison.images.archives.wish import Wish
    from cloison.images.changes import check_name
    from cloison.images.servers import platforms

    if name:
        check_name(name)
    given = dict(properties or {})
    for key in given:
        if key not in PROPERTIES:
            raise Invalid(f"an image has no property {key!r} that can be set", hint=f"there is {', '.join(PROPERTIES)}")
    wish = Wish(
        platform=platforms.parse(platform) if platform else platforms.platform_of(host_architecture()),
        names=(name,) if name else (),
        is_platform_chosen=bool(platform),
        only=only,
        limits=limits_of(limits or {}),
        **given,
    )
    heard = progress or _in_silence
    if not isinstance(archive, str):
        if rootfs:
            raise Invalid(
                "a split image is imported from two files", hint="cloison image import METADATA --rootfs FILE"
            )
        return importing.take_stream(engine.images, archive, wish, heard)
    return importing.take_in(engine.images, archive, wish, heard, rootfs=rootfs)


def limits_of(given: Mapping[str, str]) -> Limits:
    """The usual limits, with some of them replaced. Raises Invalid."""
    known = {}
    for key, text in given.items():
        if key not in Limits.__struct_fields__:
            raise Invalid(
                f"there is no limit {key!r} of archives",
                hint=f"there is {', '.join(Limits.__struct_fields__)}",
                key=key,
            )
        if key in _SIZES:
            known[key] = parse_size(text, key=f"--limit {key}")
        elif not text.isdecimal() or not int(text):
            raise Invalid(f"--limit {key}={text}: a whole number above 0 is expected", key=key)
        else:
            known[key] = int(text)
    if known.get("depth", 0) > _DEEPEST:
        raise Invalid(f"--limit depth={known['depth']}: at most {_DEEPEST} directories can be above one another")
    return msgspec.structs.replace(DEFAULT, **known)


def export_image(engine: "Engine", reference: str, form: str, compression: str) -> Iterator[bytes]:
    """The archive of an image; see `cloison.images.archives.exporting`. Raises NotFound, Invalid."""
    from cloison.images.archives.exporting import export

    return export(engine.images, engine.images.find(reference), form, compression)


def verify_images(
    engine: "Engine", references: tuple[str, ...], progress: Progress | None = None
) -> "tuple[Verdict, ...]":
    """What is wrong with these images, or with all. Raises NotFound."""
    from cloison.images.verifying import verify

    images = tuple(engine.images.find(name) for name in references) or engine.images.images()
    return verify(engine.images, images, progress or _in_silence)


def prune_images(
    engine: "Engine", *, older_than_s: float = 0.0, is_nameless_only: bool = False, is_rehearsal: bool = False
) -> "tuple[Image, ...]":
    """Remove the images that nothing is made from, and what interrupted work has left; the images that are gone.

    `older_than_s`: only those that came into the store longer ago than that; `is_nameless_only`: only those without a
    name; `is_rehearsal`: none, only tell."""
    gone = []
    with engine.freeing(), engine.pools.still() as mentioned:
        digests = {record.image for record in records.load_all(engine.store)}
        latest = time.time() - older_than_s
        for image in (known := engine.images.images()):
            is_used = image.digest in digests or engine.pools.uses(image, known, mentioned)
            if is_used or (image.names and is_nameless_only) or created_s(image) > latest:
                continue
            gone.append(image if is_rehearsal else engine.images.remove(image.digest))
    if not is_rehearsal:
        engine.images.clean()
    return tuple(gone)


def created_s(image: "Image") -> float:
    """When an image came into the store, in seconds since 1970."""
    return datetime.fromisoformat(image.created.replace("Z", "+00:00")).timestamp()

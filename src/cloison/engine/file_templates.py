"""Files that an image wants written anew for each instance: see `cloison.images.file_templates`.

Those of /etc/hostname and /etc/hosts are the texts that `identity` writes and keeps true from then on; all others are
written here, when an instance is made, copied or started. A path on which the instance has a link is left alone: what a
guest has put there leads nowhere.
"""

import contextlib
import errno
from typing import TYPE_CHECKING

from cloison.base.errors import CloisonError
from cloison.engine.records import Record
from cloison.images.file_templates import Variables, render
from cloison.storage import offline
from cloison.storage.offline import Kind

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.images import Image

IDENTITY = ("/etc/hostname", "/etc/hosts")
_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO)


def apply_again(engine: "Engine", before: Record, after: Record) -> None:
    """What its templates may ask for has been changed, and it has never been started: nobody has seen the files that
    were written when it was made, so they are written with what is set now. As LXD does, which writes them only at the
    first start. Only by who has the instance's lock."""
    changed = (before.config.user, before.config.cloud_init) != (after.config.user, after.config.cloud_init)
    if changed and after.has_templates and not after.started_ns:
        apply(engine, after, "copy" if after.is_copy else "create")


def apply(engine: "Engine", record: Record, trigger: str) -> tuple[str, ...]:
    """Write the files that are due at this trigger, one of `cloison.images.file_templates.TRIGGERS`; their paths.

    Only by who has the instance's lock, or is making it. Raises OSError for what is wrong with the disk."""
    image = engine.images.known(record.image)
    written = []
    if image is None:
        return ()
    with engine.pools.directories(record) as layers:
        for template in image.templates:
            if trigger not in template.when or template.path in IDENTITY:
                continue
            kind = offline.look(layers, template.path).kind
            if kind in (Kind.LINK, Kind.OTHER) or (template.create_only and kind is not Kind.ABSENT):
                continue
            text = render(template.text, _variables(image, record, trigger, template.path, template.properties))
            try:
                offline.write(layers, template.path, text.encode(), (template.uid, template.gid), template.mode)
            except OSError as problem:
                if problem.errno not in _IN_THE_WAY:
                    raise
                continue
            written.append(template.path)
    return tuple(written)


def identity_texts(engine: "Engine", record: Record) -> dict[str, str]:
    """What the image wants in /etc/hostname and /etc/hosts, by paths without the first slash."""
    image = engine.images.known(record.image)
    found: dict[str, str] = {}
    for template in image.templates if image else ():
        if template.path in IDENTITY and not template.create_only:
            with contextlib.suppress(CloisonError):  # it was understood when it was imported
                assert image is not None
                variables = _variables(image, record, "create", template.path, template.properties)
                found[template.path.strip("/")] = render(template.text, variables)
    return found


def _variables(image: "Image", record: Record, trigger: str, path: str, properties: dict[str, str]) -> Variables:
    return Variables(
        name=record.name,
        trigger=trigger,
        path=path,
        architecture=image.architecture,
        is_privileged=record.config.security.privileged,
        is_ephemeral=record.config.boot.ephemeral,
        properties=properties,
        config=_answers(image, record),
    )


def _answers(image: "Image", record: Record) -> dict[str, str]:
    """What LXD would have in the configuration of such an instance: the properties of its image among it."""
    said = {"os": image.os, "release": image.release, "architecture": image.architecture, **image.properties}
    return {
        **{f"image.{name}": text for name, text in said.items() if text},
        **{f"user.{name}": text for name, text in record.config.user.items()},
        **{f"cloud-init.{name}": text for name, text in record.config.cloud_init.items()},
    }

"""As whom, and where, an image wants its command to run: `User` and `WorkingDir` of the OCI's configuration.

Names are those of the image's own /etc/passwd and /etc/group, looked up once, when an instance is made of it: what is
changed inside later does not decide as whom its init runs. A user without a group has his own of /etc/passwd, and those
of /etc/group that list him; a number that nobody there has is in the group 0. The directory is made where it is
missing, as Docker does. `init.uid`, `init.gid` and `init.cwd` overrule all this.
Source: image-spec v1.1, config.md, "User" and "WorkingDir"; passwd(5), group(5).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloison.base.errors import NotFound
from cloison.base.ids import RANGE
from cloison.engine.records import Record, Runner
from cloison.storage import offline
from cloison.storage.driver import RootLayers
from cloison.storage.offline import Kind

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.images import Image

_Row = list[str]


def of_image(image: "Image") -> Runner:
    """What the image says, in numbers. Raises NotFound for a user or a group that it does not have."""
    cwd = f"/{image.workdir.strip('/')}"
    if not image.user:
        return Runner(cwd=cwd)
    layers = RootLayers(image.layers, image.layers[0])
    users, groups = (tuple(_rows(layers, path)) for path in ("etc/passwd", "etc/group"))
    name, colon, group = image.user.partition(":")
    found = next((row for row in users if len(row) > 5 and name in (row[0], row[2]) and row[3].isdigit()), None)
    if found is None and not _is_id(name):
        raise _unknown(image, f"user {name!r}")
    uid = int(found[2] if found else name)
    home = found[5] if found else "/"
    if colon:
        return Runner(uid, _group(image, groups, group), home=home, cwd=cwd)
    others = sorted({int(row[2]) for row in groups if found and len(row) > 3 and found[0] in row[3].split(",")})
    return Runner(uid, int(found[3]) if found else 0, tuple(others), home, cwd)


def _group(image: "Image", groups: tuple[_Row, ...], name: str) -> int:
    found = next((row for row in groups if row[0] == name), None)
    if found is None and not _is_id(name):
        raise _unknown(image, f"group {name!r}")
    return int(found[2] if found else name)


def _rows(layers: RootLayers, path: str) -> Iterator[_Row]:
    for line in offline.look(layers, path).data.decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and _is_id(fields[2]):
            yield fields


def _is_id(text: str) -> bool:
    """Whether a text is the number of somebody whom an instance can have."""
    return text.isascii() and text.isdecimal() and int(text) < RANGE


def _unknown(image: "Image", who: str) -> NotFound:
    return NotFound(
        f"the image wants its command run by {image.user!r}, and there is no {who} in it",
        hint="make another image of it, whose user it knows, or is a number below 65536",
        user=image.user,
    )


def make_directory(engine: "Engine", record: Record, image: "Image") -> None:
    """Have the directory in which its command begins be there. Only by who is making the instance."""
    cwd = record.runner.cwd
    if cwd == "/" or offline.look(RootLayers(image.layers, image.layers[0]), cwd).kind is not Kind.ABSENT:
        return
    with engine.pools.directories(record) as layers:
        offline.make_directory(layers, cwd)

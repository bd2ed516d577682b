"""As whom, and where, an image wants its command to run: `User` and `WorkingDir` of the OCI's configuration.

Names are those of the image's own /etc/passwd and /etc/group, looked up once, when an instance is made of it: what is
changed inside later does not decide as whom its init runs. A user without a group has his own of /etc/passwd, and those
of /etc/group that list him; a number that nobody there has is in the group 0. The directory is made where it is
missing, as Docker does. `init.uid`, `init.gid` and `init.cwd` overrule all this.
Source: image-spec v1.1, config.md, "User" and "WorkingDir"; passwd(5), group(5).
"""

from typing import TYPE_CHECKING

from cloison.base.accounts import is_id, read
from cloison.base.errors import NotFound
from cloison.base.ids import RANGE
from cloison.engine.records import Record, Runner
from cloison.storage import offline
from cloison.storage.driver import RootLayers
from cloison.storage.offline import Kind

if TYPE_CHECKING:
    from cloison.engine.engine import Engine
    from cloison.images import Image


def of_image(image: "Image") -> Runner:
    """What the image says, in numbers. Raises NotFound for a user or a group that it does not have."""
    cwd = f"/{image.workdir.strip('/')}"
    if not image.user:
        return Runner(cwd=cwd)
    layers = RootLayers(image.layers, image.layers[0])
    accounts = read(*(_text(layers, f"etc/{name}") for name in ("passwd", "group")))
    name, colon, group = image.user.partition(":")
    found = accounts.user(name)
    uid = found.uid if found else int(name) if is_id(name) else None
    if uid is None or uid >= RANGE:
        raise _unknown(image, f"user {name!r}")
    gid = accounts.gid(group) if colon else found.gid if found else 0
    if gid is None or gid >= RANGE:
        raise _unknown(image, f"group {group!r}")
    others = () if colon or found is None else accounts.others_of(found.name)
    known = tuple(sorted({other for other in others if other < RANGE}))
    return Runner(uid, gid, known, found.home if found else "/", cwd)


def _text(layers: RootLayers, path: str) -> str:
    return offline.look(layers, path).data.decode(errors="replace")


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

"""The keys of the group `mounts`: how each is read and written, and which go together. Pure."""

import re
from posixpath import normpath

from cloison.base import units
from cloison.base.errors import Invalid
from cloison.base.ids import check_name
from cloison.spec import key as keys
from cloison.spec.key import Key, refuse
from cloison.spec.mounts import BIND, PRIVATE, PROPAGATIONS, SHARED, TMPFS, HostUser, MountPoint

_USER = re.compile(r"([0-9]{1,10}):([0-9]{1,10})(?:@([0-9]{1,5}):([0-9]{1,5}))?", re.ASCII)
_HIGHEST_INSIDE = 65535
_TAKEN = ("/proc", "/sys", "/dev")  # themselves; below /proc and /sys nothing can be made either
_CLOSED = ("/proc/", "/sys/")


def mount_name(text: str) -> str:
    """The name of a mount. Raises Invalid."""
    return check_name(text, what="a mount")


def source(key: str, text: str) -> str:
    """A path of the host, or the name of a volume, with its pool or without."""
    if text.startswith("/"):
        if normpath(text) != text.rstrip("/") and text != "/":
            refuse(key, text, "write a path without `.`, `..` and double slashes, such as /srv/www")
        return text.rstrip("/") or "/"
    pool, slash, name = text.rpartition("/")
    try:
        if slash:
            check_name(pool, what="a storage pool")
        return f"{pool}{slash}{check_name(name, what='a volume')}"
    except Invalid as problem:
        refuse(key, text, f"{problem}; a directory of the host begins with a slash")


def target(key: str, text: str) -> str:
    """An absolute path inside, which may be missing."""
    keys.guest_path(key, text)
    path = normpath(f"/{text.lstrip('/')}")
    if ".." in text.split("/"):
        refuse(key, text, "write a path without `..`, such as /srv")
    if path == "/" or path in _TAKEN or path.startswith(_CLOSED):
        refuse(key, text, "this is mounted already, as every instance needs it; choose another place, such as /srv")
    return path


def idmap(key: str, text: str) -> bool | HostUser:
    """true, false, or one user of the host and who that is inside."""
    found = _USER.fullmatch(text)
    if found is None:
        try:
            return keys.flag(key, text)
        except Invalid:
            refuse(key, text, "write true, false, or UID:GID[@UID:GID] of the host and inside, such as 1000:1000@33:33")
    uid, gid, inside_uid, inside_gid = (int(each or 0) for each in found.groups())
    if max(uid, gid) >= 0xFFFFFFFF or max(inside_uid, inside_gid) > _HIGHEST_INSIDE:
        refuse(key, text, f"inside ids go from 0 to {_HIGHEST_INSIDE}")
    return HostUser(uid, gid, inside_uid, inside_gid)


def idmap_text(value: bool | HostUser) -> str:  # noqa: FBT001
    """What `idmap` reads back."""
    if isinstance(value, bool):
        return keys.flag_text(value)
    inside = f"@{value.inside_uid}:{value.inside_gid}" if (value.inside_uid, value.inside_gid) != (0, 0) else ""
    return f"{value.uid}:{value.gid}{inside}"


def _key(name: str, parse: object, form: object, meaning: str, example: str, field: str = "") -> Key:
    return Key(
        f"mounts.*.{name}",
        parse,  # type: ignore[arg-type]
        form,  # type: ignore[arg-type]
        meaning,
        example,
        is_live=True,
        item=mount_name,
        samples=("data",),
        field=f"mounts.*.{field}" if field else "",
    )


MOUNT_KEYS: tuple[Key, ...] = (
    _key("source", source, str, "a volume, or a path of the host", "/srv/www"),
    _key("target", target, str, "where it is inside; made where it is missing", "/srv"),
    _key("type", keys.one_of(BIND, TMPFS), str, "bind, or tmpfs: memory, empty at every start", "tmpfs"),
    _key("ro", keys.flag, keys.flag_text, "nobody inside can write to it", "true"),
    _key("idmap", idmap, idmap_text, "ids on disk are those inside, or UID:GID is [@UID:GID] (volumes: true)", "true"),
    _key("propagation", keys.one_of(*PROPAGATIONS), str, "slave: later mounts of the host in it come along", "slave"),
    _key("create", keys.flag, keys.flag_text, "make the host's directory where it is missing", "true"),
    _key("recursive", keys.flag, keys.flag_text, "what is mounted in it comes along", "true"),
    _key("size", keys.size, units.exact_size, "the most that a tmpfs holds", "64M", "size_bytes"),
)


def check(mounts: dict[str, MountPoint], *, is_privileged: bool) -> None:
    """Raise Invalid for what does not go together."""
    seen: dict[str, str] = {}
    for name, each in sorted(mounts.items()):
        key = f"mounts.{name}"
        if not each.target:
            raise Invalid(f"{key}: it has no target", hint=f"say where it is inside: {key}.target=/srv")
        if each.target in seen:
            raise Invalid(f"{key}.target={each.target}: mounts.{seen[each.target]} is there already")
        seen[each.target] = name
        _check_kind(key, each)
        if each.propagation == SHARED and not is_privileged:
            raise Invalid(
                f"{key}.propagation=shared: what an unprivileged instance mounts cannot come to the host",
                hint="write slave for the way from the host into the instance",
            )


def _check_kind(key: str, each: MountPoint) -> None:
    if each.type == BIND:
        if not each.source:
            raise Invalid(f"{key}: it has no source", hint=f"write {key}.source=VOLUME, =/path or {key}.type=tmpfs")
        if each.size_bytes is not None:
            raise Invalid(f"{key}.size: only a tmpfs has one here; a volume's is set by `cloison volume set`")
        if each.create and each.is_volume:
            raise Invalid(f"{key}.create: a volume is made by `cloison volume create`")
        return
    wrong = [
        name
        for name, is_said in (
            ("source", bool(each.source)),
            ("idmap", each.idmap is not None),
            ("create", each.create),
            ("recursive", each.recursive),
            ("propagation", each.propagation != PRIVATE),
        )
        if is_said
    ]
    if wrong:
        raise Invalid(f"{key}.{wrong[0]}: a tmpfs has none")

"""PAX records: what did not fit into a header. Pure.

    "<length> <key>=<value>\\n", the length counts itself

Source: POSIX.1-2001, pax, "pax Header Block"; keys SCHILY.xattr.* and SCHILY.acl.* as star and GNU tar write them;
keys GNU.sparse.*: GNU tar manual, "Storing Sparse Files".
"""

import msgspec

from cloison.images.tar.member import Segment
from cloison.images.tar.numbers import damaged, decimal
from cloison.images.xattrs import NAMED_ACL

_XATTR = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."
_ACLS = {b"SCHILY.acl.access": "system.posix_acl_access", b"SCHILY.acl.default": "system.posix_acl_default"}


class Extra(msgspec.Struct):
    """What the records of one member, or of all, say. An empty value takes back what was said for all."""

    values: dict[bytes, bytes] = {}
    xattrs: dict[str, bytes] = {}
    segments: list[int] = []  # GNU.sparse.offset and .numbytes, in turn

    def copied(self) -> "Extra":
        """One that can be added to."""
        return Extra(dict(self.values), dict(self.xattrs), list(self.segments))


def add(records: bytes, extra: Extra) -> None:
    """Put `records` into `extra`. Raises Invalid."""
    at = 0
    while at < len(records):
        blank = records.find(b" ", at, at + 21)
        if blank < 0:
            if not records[at:].strip(b"\0"):
                return
            raise damaged("a PAX record has no length")
        end = at + decimal(records[at:blank])
        key, equals, value = records[blank + 1 : end - 1].partition(b"=")
        if not equals or end > len(records) or records[end - 1 : end] != b"\n":
            raise damaged("a PAX record has another length than it says")
        _keep(key, value, extra)
        at = end


def _keep(key: bytes, value: bytes, extra: Extra) -> None:
    if key.startswith(_XATTR):
        name = key[len(_XATTR) :].decode(errors="surrogateescape")
        extra.xattrs[name] = value
        extra.xattrs.pop(f"{NAMED_ACL}{name}", None)
    elif key.startswith(_LIBARCHIVE):
        # bsdtar writes every attribute twice, here in base64; only archives without the other form would need it.
        return
    elif key in _ACLS:
        from cloison.images.tar.acl import packed

        numbers = packed(value)
        if numbers is not None:
            extra.xattrs.setdefault(_ACLS[key], numbers)
        elif _ACLS[key] not in extra.xattrs:
            extra.xattrs[f"{NAMED_ACL}{_ACLS[key]}"] = value
    elif key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
        extra.segments.append(decimal(value))
    else:
        extra.values[key] = value


def paired(numbers: list[int]) -> tuple[Segment, ...]:
    """Offsets and lengths in turn, as segments. Raises Invalid."""
    if len(numbers) % 2:
        raise damaged("the map of a sparse file is incomplete")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))

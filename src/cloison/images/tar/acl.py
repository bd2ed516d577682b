"""POSIX ACLs: from the text of an archive to the bytes of an extended attribute. Pure.

Source: acl(5), "ACL TEXT FORMS"; include/uapi/linux/posix_acl_xattr.h: version 2, then (tag, permissions, id) each.
"""

import struct

from cloison.images.tar.numbers import damaged

_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_NO_ID = 0xFFFFFFFF
_TAGS = {b"user": (0x01, 0x02), b"group": (0x04, 0x08), b"mask": (0x10, None), b"other": (0x20, None)}
_BITS = {b"r": 4, b"w": 2, b"x": 1}
_MOST_ENTRIES = 500


def packed(text: bytes) -> bytes | None:
    """The attribute's value; None where somebody is named by a name alone, as GNU tar does: what it means is known only
    where the archive was made. Raises Invalid for a text that is no ACL."""
    entries = [_entry(one.strip()) for one in text.replace(b"\n", b",").split(b",") if one.strip()]
    if any(entry is None for entry in entries):
        return None
    if len(entries) > _MOST_ENTRIES:
        raise damaged("an ACL has too many entries")
    return _VERSION + b"".join(
        _ENTRY.pack(*entry) for entry in sorted(filter(None, entries), key=lambda e: (e[0], e[2]))
    )


def _entry(text: bytes) -> tuple[int, int, int] | None:
    """ "user:1000:rw-", or star's "user:name:rw-:1000"; None for "user:name:rw-"."""
    words = text.partition(b"\t")[0].strip().split(b":")
    if len(words) not in (3, 4) or words[0] not in _TAGS:
        raise damaged(f"{text[:60]!r} is no entry of an ACL")
    own, named = _TAGS[words[0]]
    permissions = sum(bit for letter, bit in _BITS.items() if letter in words[2])
    if not words[1]:
        return own, permissions, _NO_ID
    number = words[3] if len(words) == 4 else words[1]
    if named is not None and len(words) == 3 and not number.isdigit():
        return None
    if named is None or not number.isdigit() or int(number) >= _NO_ID:
        raise damaged(f"{text[:60]!r} is no entry of an ACL with an id")
    return named, permissions, int(number)

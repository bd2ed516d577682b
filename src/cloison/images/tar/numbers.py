"""Numbers, as headers and PAX records write them. Pure."""

import functools

from cloison.base.errors import Invalid

_INSTANCE = b"cloison-instance "  # how `cloison export` begins
_MOST_SECONDS = 1 << 34  # the year 2514: what ext4 can keep; anything beyond is cut off


def damaged(what: str) -> Invalid:
    """The error for bytes that are no tar archive."""
    return Invalid(f"the archive is damaged: {what}", hint="copy or download it again")


def no_archive(start: bytes, what: str = "") -> Invalid:
    """The error for a stream that begins like this, and so not like a tar archive; `what` is known of it."""
    if start.startswith(_INSTANCE):
        return Invalid("this is an exported instance, and no image", hint="`cloison import` takes it")
    return Invalid(
        f"this is no archive that can be read: {what or f'its first bytes are {start[:6]!r}'}",
        hint="tar, alone or compressed by gzip, xz, zstd or bzip2, is understood",
    )


@functools.lru_cache(maxsize=4096)
def number(field: bytes) -> int:
    """A number of a header: octal digits, or binary with the first bit set. Raises Invalid."""
    if field[0] & 0x80:
        return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:]) - (1 << (8 * len(field) - 1)) * (field[0] >> 6 & 1)
    text = field.strip(b" \0")
    if not text:
        return 0
    if not text.isdigit() or b"8" in text or b"9" in text:
        raise damaged(f"{field!r} is no number")
    return int(text, 8)


def decimal(text: bytes) -> int:
    """A number of a PAX record. Raises Invalid."""
    if not text.isdigit() or len(text) > 20:
        raise damaged(f"{text[:40]!r} is no number")
    return int(text)


def nanoseconds(text: bytes) -> int:
    """A time of a PAX record, "1700000000.25", in nanoseconds. Raises Invalid."""
    sign, digits = (-1, text[1:]) if text.startswith(b"-") else (1, text)
    seconds, _, fraction = digits.partition(b".")
    if not seconds.isdigit() or len(seconds) > 20 or (fraction and not fraction.isdigit()):
        raise damaged(f"{text[:40]!r} is no time")
    return time_of(sign * int(seconds)) + sign * int((fraction[:9] + b"000000000")[:9])


def time_of(seconds: int) -> int:
    """Seconds in nanoseconds, within what file systems can keep."""
    return max(-_MOST_SECONDS, min(seconds, _MOST_SECONDS)) * 1_000_000_000

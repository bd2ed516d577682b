"""How much an archive may hold. Pure.

An archive of a few kilobytes can unpack to what fills any disk; who takes archives from others wants an end to it.
"""

import msgspec

from cloison.base.errors import Invalid
from cloison.base.units import format_size

RATIO_COUNTS_FROM = 1 << 30  # below, nothing is hurt by a file of zeros that compresses well


class Limits(msgspec.Struct, frozen=True):
    """The most that one archive may hold; the defaults are far above what images are."""

    bytes: int = 256 << 30  # of the uncompressed stream
    ratio: int = 200  # of the uncompressed stream to the compressed one, beyond the first GiB
    entries: int = 4_000_000
    file_bytes: int = 2 << 40  # of one file, holes included
    name_bytes: int = 4000  # of a name with its directories, or of a link's target
    depth: int = 200  # directories above one another


DEFAULT = Limits()


def too_much(what: str, most: int) -> Invalid:
    """The error for an archive that exceeds a limit."""
    shown = format_size(most) if "bytes" in what else str(most)
    return Invalid(
        f"the archive exceeds the limit of {what}, {shown}",
        hint="where it can be trusted, a higher one is allowed with --limit, as in --limit bytes=1T",
        limit=what,
        most=most,
    )

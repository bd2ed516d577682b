"""What an archive says of one file."""

from enum import IntEnum

import msgspec

Segment = tuple[int, int]  # where a run of data is in the file, and its length


class Kind(IntEnum):
    """What a member is."""

    FILE = 0
    HARD_LINK = 1
    SYMLINK = 2
    CHARACTER = 3
    BLOCK = 4
    DIRECTORY = 5
    FIFO = 6


class Member(msgspec.Struct, gc=False):
    """One member. `size` is the length of the data that follow in the stream; a sparse file has its data in `segments`,
    and is `file_size` long."""

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    file_size: int
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = {}
    segments: tuple[Segment, ...] | None = None

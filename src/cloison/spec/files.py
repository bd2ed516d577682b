"""Files of an instance as they are seen from inside. Pure."""

import stat
from enum import StrEnum
from typing import Protocol

import msgspec


class FileKind(StrEnum):
    """What there is under a name. The words are a public contract."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    FIFO = "fifo"
    SOCKET = "socket"
    CHARACTER = "character device"
    BLOCK = "block device"


_KINDS = {
    stat.S_IFREG: FileKind.FILE,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFLNK: FileKind.LINK,
    stat.S_IFIFO: FileKind.FIFO,
    stat.S_IFSOCK: FileKind.SOCKET,
    stat.S_IFCHR: FileKind.CHARACTER,
    stat.S_IFBLK: FileKind.BLOCK,
}


def kind_of(mode: int) -> FileKind:
    """The kind that is in a st_mode."""
    return _KINDS[stat.S_IFMT(mode)]


class Entry(msgspec.Struct, frozen=True):
    """One name of a directory. `mode` are permissions (07777); ids are those inside; `mtime_ns` is since 1970; `target`
    is a link's own text. `inode` tells a file from one that has taken its place."""

    name: str
    kind: FileKind
    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime_ns: int
    target: str = ""
    inode: int = 0


class Found(Protocol):
    """What a `Door` says of a name: `mode` is a st_mode."""

    @property
    def name(self) -> str: ...
    @property
    def mode(self) -> int: ...
    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def inode(self) -> int: ...
    @property
    def target(self) -> str: ...


class Door(Protocol):
    """The files of an instance, whether it runs or not; what `kernel.file_door` has to offer. Paths are those inside,
    links are followed inside. Every method raises OSError."""

    def stat(self, path: str, *, follow: bool = True) -> Found: ...
    def list(self, path: str) -> "tuple[Found, ...]": ...
    def open(self, path: str) -> "tuple[int, Found]": ...
    def begin(self, path: str) -> "tuple[int, Found | None]": ...
    def commit(self, path: str, *, uid: int, gid: int, mode: int, mtime_ns: int | None) -> None: ...
    def abort(self) -> None: ...
    def mkdir(self, path: str, *, uid: int, gid: int, mode: int, parents: bool = False) -> bool: ...
    def symlink(self, path: str, target: str, *, uid: int, gid: int) -> None: ...
    def remove(self, path: str, *, recursive: bool = False) -> None: ...


def entry_of(found: Found) -> Entry:
    """The same, as it is given out."""
    return Entry(
        found.name,
        kind_of(found.mode),
        stat.S_IMODE(found.mode),
        found.uid,
        found.gid,
        found.size,
        found.mtime_ns,
        found.target,
        found.inode,
    )

"""Copies of trees: several layers become one directory."""

import os
from collections.abc import Sequence
from typing import Protocol

from cloison.storage.driver import Progress
from cloison.storage.scanning import Item, Kind, scan
from cloison.storage.writing import About, Writer

_STEP_BYTES = 1 << 24


class Dressed(Protocol):
    """Something with an owner, a mode, times and attributes."""

    @property
    def stat(self) -> os.stat_result: ...
    def attributes(self) -> dict[str, bytes]: ...


def about(item: Dressed) -> About:
    """What is kept of an entry besides its content."""
    found = item.stat
    return About(found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, item.attributes())


def copy(layers: Sequence[str], target: str, *, is_part: bool = False, progress: Progress | None = None) -> None:
    """Copy what a stack of directories shows, the uppermost first, into the directory `target`: contents are shared
    where the file system can. `is_part`: it will be put over others, and hides of them what the stack hides."""
    first: dict[tuple[int, int], str] = {}
    copied = told = 0
    with Writer(target, is_stacked=is_part) as writer:
        for item in scan(layers, is_part=is_part):
            _write(writer, item, first)
            copied += item.stat.st_blocks * 512
            if progress is not None and copied - told >= _STEP_BYTES:
                progress("copying files", copied, None)
                told = copied
        writer.finish()


def _write(writer: Writer, item: Item, first: dict[tuple[int, int], str]) -> None:
    if item.kind is Kind.WHITEOUT:
        writer.nothing(item.path)
        return
    if item.kind is Kind.DIRECTORY:
        writer.directory(item.path, about(item), is_opaque=item.is_opaque)
        return
    if item.stat.st_nlink > 1:
        known = first.setdefault((item.stat.st_dev, item.stat.st_ino), item.path)
        if known != item.path:
            writer.same(item.path, known)
            return
    match item.kind:
        case Kind.FILE:
            fd = item.opened()
            try:
                writer.copy(item.path, about(item), fd, item.stat.st_size)
            finally:
                os.close(fd)
        case Kind.LINK:
            writer.link(item.path, about(item), item.target())
        case _:
            writer.node(item.path, about(item), item.stat.st_rdev)

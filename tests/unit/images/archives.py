"""Archives as nobody should make them, and as everybody does."""

import io
import tarfile
from collections.abc import Iterator
from typing import Any

CHUNK = 7001  # of a size at which nothing in an archive ends


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **more: Any) -> tarfile.TarInfo:
    """A member, 0644, or 0755 for a directory."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.mtime = 1_600_000_000
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tar(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of these members, those with data as (member, data)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for one in members:
            info, data = one if isinstance(one, tuple) else (one, b"")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def file(name: str, data: bytes = b"content", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A file with data."""
    return entry(name, **more), data


def chunks(archive: bytes, size: int = CHUNK) -> Iterator[bytes]:
    """The archive, a piece at a time."""
    for at in range(0, len(archive), size):
        yield archive[at : at + size]

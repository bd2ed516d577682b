"""squashfs, read and written by squashfs-tools-ng, which speaks tar on the other side.

The programs get no privilege that they do not need: no capability, no new one by an exec. A hostile image attacks them
and not cloison, and what they say goes through the same unpacker as any other archive.
Source: sqfs2tar(1), tar2sqfs(1).
"""

import os
from collections.abc import Iterable, Iterator

from cloison.base.errors import Invalid
from cloison.images.pipeline import fed
from cloison.kernel import process, programs

_PACKAGE = "squashfs-tools-ng"
_POWERLESS = ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--pdeathsig=KILL")


def as_tar(fd: int) -> Iterator[bytes]:
    """The tar stream of a squashfs in a file. Raises Unsupported without the program, Invalid for a damaged one."""
    program = programs.needed("sqfs2tar", package=_PACKAGE)
    argv = [*_powerless(), program, "--root-becomes", ".", f"/proc/self/fd/{fd}"]
    with (
        open(os.memfd_create("complaints"), "w+b") as complaints,
        process.started(argv, stderr=complaints.fileno(), keep_fds=(fd,)) as running,
    ):
        yield from running.chunks()
        if running.wait() != 0:
            raise Invalid(f"the squashfs cannot be read: {_said(complaints.fileno())}", hint="get the image again")


def from_tar(stream: Iterable[bytes], path: str) -> None:
    """Write the squashfs of a tar stream to a new file. Raises Unsupported, Invalid, and what `stream` raises."""
    program = programs.needed("tar2sqfs", package=_PACKAGE)
    argv = [*process.dying_with_caller([program]), "--quiet", "--compressor", "zstd", "--force", path]
    with (
        open(os.memfd_create("complaints"), "w+b") as complaints,
        process.started(argv, stdin=process.PIPE, stderr=complaints.fileno()) as running,
    ):
        fed(running, stream)
        if running.wait() != 0:
            raise Invalid(f"the squashfs cannot be written: {_said(complaints.fileno())}")


def _powerless() -> list[str]:
    return [programs.needed("setpriv", package="util-linux"), *_POWERLESS]


def _said(fd: int) -> str:
    return os.pread(fd, 400, 0).decode(errors="replace").strip() or "it ended without a word"

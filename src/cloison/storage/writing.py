"""Making a tree of files, entry by entry, below a directory that nobody else writes to.

Nothing of an entry is trusted but that its path has neither `..` nor a link on its way: each directory is opened by
descriptor without following any. In a directory of overlayfs (`is_stacked`) what hides something below is kept as
overlayfs keeps it; elsewhere it takes away what there is.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Mapping

import msgspec

from cloison.base.errors import Invalid
from cloison.kernel import files
from cloison.storage import trees
from cloison.storage.scanning import open_below

_OPAQUE = "user.overlay.opaque"
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class About(msgspec.Struct, frozen=True, array_like=True):
    """Who owns an entry, what may be done with it, when it was changed (ns since 1970)."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    attributes: dict[str, bytes]


class Writer:
    """Writes below the directory `root`, which is there."""

    def __init__(self, root: str, *, is_stacked: bool) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._is_stacked = is_stacked
        self._parent: tuple[str, int] | None = None
        self._times: list[tuple[str, int]] = []
        self._can_share = True

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        os.close(self._root)

    def directory(self, path: str, about: About, *, is_opaque: bool = False) -> None:
        """A directory; one that is there stays, with what is in it unless the new one is opaque."""
        self._leave()
        if path:
            parent, name = self._place(path)
            if not self._is_directory(parent, name):
                self._clear(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        self._leave()
        fd = open_below(self._root, path)
        try:
            if is_opaque and not self._is_stacked:
                for name in os.listdir(fd):
                    self._clear(fd, name)
            self._dress(fd, about)
            if is_opaque and self._is_stacked:
                os.setxattr(fd, _OPAQUE, b"y")
        finally:
            os.close(fd)
        self._times.append((path, about.mtime_ns))

    def copy(self, path: str, about: About, source: int, size: int) -> None:
        """A file with the content of an open one, shared with it where the file system can."""
        fd = self._new(path)
        try:
            if self._can_share and size > 0:
                self._can_share = files.share(source, fd)
            if size > 0 and not self._can_share:
                files.copy(source, fd, size)
            self._finish(fd, about)
        finally:
            os.close(fd)

    def file(self, path: str, about: About, size: int, parts: Iterable[tuple[int, bytes]]) -> None:
        """A file of `size` bytes with these parts, as (offset, bytes); what is between them is a hole."""
        fd = self._new(path)
        try:
            os.ftruncate(fd, size)
            for offset, data in parts:
                _write_all(fd, data, offset)
            self._finish(fd, about)
        finally:
            os.close(fd)

    def link(self, path: str, about: About, target: str) -> None:
        """A symbolic link."""
        parent, name = self._cleared(path)
        os.symlink(target, name, dir_fd=parent)
        self._dress_by_name(parent, name, about)

    def node(self, path: str, about: About, device: int) -> None:
        """A device, a fifo or a socket, as the mode says."""
        if stat.S_IFMT(about.mode) not in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
            raise Invalid(f"{path!r} is said to be a device, and has the mode {about.mode:o}")
        parent, name = self._cleared(path)
        os.mknod(name, about.mode, device, dir_fd=parent)
        self._dress_by_name(parent, name, about)
        os.chmod(f"/proc/self/fd/{parent}/{name}", stat.S_IMODE(about.mode))

    def same(self, path: str, first: str) -> None:
        """Another name of the file that was written as `first`."""
        above, _, last = first.rpartition("/")
        source = open_below(self._root, above)
        try:
            parent, name = self._cleared(path)
            os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def nothing(self, path: str) -> None:
        """Nothing is at `path` any more."""
        parent, name = self._cleared(path)
        if self._is_stacked:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)

    def finish(self) -> None:
        """Set the times of the directories, which change with all that is written into them."""
        self._leave()
        for path, mtime_ns in reversed(self._times):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # removed later in the same stream
                fd = open_below(self._root, path)
                try:
                    os.utime(fd, ns=(mtime_ns, mtime_ns))
                finally:
                    os.close(fd)

    # --- within --------------------------------------------------------------------------------------------

    def _place(self, path: str) -> tuple[int, str]:
        """The directory of an entry, open until the next one of another directory, and the name in it."""
        above, _, name = path.rpartition("/")
        if self._parent is None or self._parent[0] != above:
            self._leave()
            self._parent = (above, open_below(self._root, above))
        return self._parent[1], name

    def _leave(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _cleared(self, path: str) -> tuple[int, str]:
        parent, name = self._place(path)
        self._clear(parent, name)
        return parent, name

    def _clear(self, parent: int, name: str) -> None:
        """Make room for something else."""
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            trees.delete_below(parent, name)

    def _is_directory(self, parent: int, name: str) -> bool:
        try:
            return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def _new(self, path: str) -> int:
        parent, name = self._cleared(path)
        return os.open(name, _NEW_FILE, 0o600, dir_fd=parent)

    def _finish(self, fd: int, about: About) -> None:
        self._dress(fd, about)
        os.utime(fd, ns=(about.mtime_ns, about.mtime_ns))

    def _dress(self, fd: int, about: About) -> None:
        os.fchown(fd, about.uid, about.gid)
        os.fchmod(fd, stat.S_IMODE(about.mode))  # after the owner, whose change takes set-user-ID away
        _set_attributes(fd, about.attributes)  # after the owner, whose change takes capabilities away

    def _dress_by_name(self, parent: int, name: str, about: About) -> None:
        os.chown(name, about.uid, about.gid, dir_fd=parent, follow_symlinks=False)
        _set_attributes(f"/proc/self/fd/{parent}/{name}", about.attributes)
        os.utime(name, ns=(about.mtime_ns, about.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _set_attributes(at: int | str, attributes: Mapping[str, bytes]) -> None:
    for name, value in attributes.items():
        os.setxattr(at, name, value, follow_symlinks=isinstance(at, int))


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count

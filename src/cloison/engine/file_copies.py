"""Files and directories between the host and an instance: what is read here and written there, and the other way.

On the host nothing is followed but what the caller has named himself: whoever controls the other side may have changed
a directory to a link since the last time. Each file is written beside and renamed, here and inside.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator

import msgspec

from cloison.base.errors import Conflict
from cloison.spec.files import Door, Found

Progress = Callable[[str, int, int | None], None]
_CHUNK_BYTES = 1 << 20
_WORTH_TELLING = 8 << 20  # what is less is over before anybody can read of it
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = 0o777  # what a copy has of a mode: a program that becomes its owner is made by who says so (--mode)


class Copied(msgspec.Struct, frozen=True):
    """What has been copied, and what has not: neither file, directory nor link."""

    files: int = 0
    bytes: int = 0
    skipped: tuple[str, ...] = ()


class Owner(msgspec.Struct, frozen=True):
    """What was asked for; None: as it is there, else root's, with the mode of what is copied."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


class Copy:
    """One call of push or pull: counts what it does."""

    def __init__(self, door: Door, progress: Progress | None, total: int | None = None) -> None:
        self._door = door
        self._progress = progress
        self._total = total
        self._files = 0
        self._bytes = 0
        self._skipped: list[str] = []

    @property
    def copied(self) -> Copied:
        """What has been done so far."""
        return Copied(self._files, self._bytes, tuple(self._skipped))

    # --- into the instance -----------------------------------------------------------------------------------

    def push_file(self, fd: int, path: str, owner: Owner) -> None:
        """What can be read from a descriptor becomes the file `path`."""
        source = os.fstat(fd)
        is_file = stat.S_ISREG(source.st_mode)
        target, before = self._door.begin(path)
        try:
            with os.fdopen(target, "wb", buffering=0):
                self._carry(fd, target, is_sparse=is_file and source.st_blocks * 512 < source.st_size)
            uid, gid, mode = _owner(owner, before, source.st_mode & _PLAIN if is_file else 0o644)
            mtime_ns = source.st_mtime_ns if is_file else None
            self._door.commit(path, uid=uid, gid=gid, mode=mode, mtime_ns=mtime_ns)
        except BaseException:
            with contextlib.suppress(Exception):
                self._door.abort()
            raise
        self._files += 1

    def push_tree(self, directory: int, path: str, owner: Owner) -> None:
        """What is in a directory of the host comes into the directory `path`, which is made where it is missing."""
        uid, gid, _mode = _owner(owner, None, 0)
        self._door.mkdir(path, uid=uid, gid=gid, mode=os.fstat(directory).st_mode & _PLAIN)
        for name in sorted(os.listdir(directory)):
            inside = f"{path.rstrip('/')}/{name}"
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                self._door.symlink(inside, os.readlink(name, dir_fd=directory), uid=uid, gid=gid)
            elif stat.S_ISDIR(mode):
                with _opened(name, _DIRECTORY, directory) as below:
                    self.push_tree(below, inside, owner)
            elif stat.S_ISREG(mode):
                with _opened(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, directory) as fd:
                    self.push_file(fd, inside, owner)
            else:
                self._skipped.append(inside)

    # --- onto the host ---------------------------------------------------------------------------------------

    def pull_to(self, path: str, target: int) -> None:
        """A file of the instance is written to a descriptor."""
        fd, _found = self._door.open(path)
        with os.fdopen(fd, "rb", buffering=0):
            self._carry(fd, target)
        self._files += 1

    def pull_file(self, path: str, directory: int, name: str) -> None:
        """A file of the instance becomes `name` in a directory of the host."""
        fd, found = self._door.open(path)
        beside = f".cloison-{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(fd, "rb", buffering=0), _opened(beside, flags, directory) as target:
            try:
                self._carry(fd, target, is_sparse=True)
                os.fchmod(target, found.mode & _PLAIN)
                os.utime(target, ns=(found.mtime_ns, found.mtime_ns))
                os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(beside, dir_fd=directory)
                raise
        self._files += 1

    def pull_tree(self, path: str, directory: int, name: str) -> None:
        """A directory of the instance becomes `name` in one of the host, with what is there already."""
        found = self._door.stat(path)
        with _directory(directory, name) as (fd, is_new):
            for each in self._door.list(path):
                self._pull_entry(each, f"{path.rstrip('/')}/{each.name}", fd)
            if is_new:
                os.fchmod(fd, found.mode & _PLAIN)

    def _pull_entry(self, found: Found, path: str, directory: int) -> None:
        name = found.name
        if "/" in name or name in (".", ".."):
            raise OSError(errno.EINVAL, "no name of a file", path)  # a broken file system, inside
        if stat.S_ISDIR(found.mode):
            self.pull_tree(path, directory, name)
        elif stat.S_ISREG(found.mode):
            self.pull_file(path, directory, name)
        elif stat.S_ISLNK(found.mode):
            beside = f".cloison-{os.urandom(6).hex()}"
            os.symlink(found.target, beside, dir_fd=directory)
            try:
                os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(beside, dir_fd=directory)
                raise
        else:
            self._skipped.append(path)

    # --- bytes -----------------------------------------------------------------------------------------------

    def _carry(self, source: int, target: int, *, is_sparse: bool = False) -> None:
        if is_sparse and stat.S_ISREG(os.fstat(source).st_mode):
            size = os.fstat(source).st_size
            for begin, end in _extents(source, size):
                os.lseek(target, begin, os.SEEK_SET)
                os.lseek(source, begin, os.SEEK_SET)
                self._carry_bytes(source, target, end - begin)
            os.ftruncate(target, max(size, os.fstat(target).st_size))
            if size:
                return
        self._carry_bytes(source, target, None)  # a file of /proc says that it has nothing

    def _carry_bytes(self, source: int, target: int, left: int | None) -> None:
        while left is None or left > 0:
            chunk = os.read(source, _CHUNK_BYTES if left is None else min(_CHUNK_BYTES, left))
            if not chunk:
                return
            view = memoryview(chunk)
            while view:
                view = view[os.write(target, view) :]
            left = None if left is None else left - len(chunk)
            self._bytes += len(chunk)
            if self._progress is not None and max(self._bytes, self._total or 0) >= _WORTH_TELLING:
                self._progress("copy", self._bytes, self._total)


def _extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, as (first, one behind the last); all of it where its file system does not tell."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError as problem:
            if problem.errno == errno.ENXIO:
                return
            begin, end = at, size
        yield begin, min(end, size)
        at = end


def _owner(wanted: Owner, before: Found | None, mode: int) -> tuple[int, int, int]:
    uid, gid = (before.uid, before.gid) if before else (0, 0)
    mode = stat.S_IMODE(before.mode) if before else mode
    return (
        uid if wanted.uid is None else wanted.uid,
        gid if wanted.gid is None else wanted.gid,
        mode if wanted.mode is None else wanted.mode,
    )


@contextlib.contextmanager
def _opened(name: str, flags: int, directory: int) -> Iterator[int]:
    fd = os.open(name, flags | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _directory(above: int, name: str) -> Iterator[tuple[int, bool]]:
    """A directory of the host, made where it is missing, and whether it is new. Raises Conflict for a link, too."""
    is_new = True
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        is_new = False
    with contextlib.ExitStack() as stack:
        try:
            fd = stack.enter_context(_opened(name, _DIRECTORY, above))
        except OSError as problem:
            if problem.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise Conflict(f"on the host there is a {name} already, which is no directory", hint="remove it") from None
        yield fd, is_new

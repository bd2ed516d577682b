"""Files put into a tree while nobody else writes to it, by the path that they have inside.

Links on the way are followed as inside, and never lead out: openat2(2), RESOLVE_IN_ROOT. What is in the way of a file,
a link included, is replaced; a directory is not. Owners are looked up in the tree's own /etc/passwd and /etc/group.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from typing import BinaryIO

from cloison.base.accounts import is_id, read
from cloison.base.errors import Invalid, NotFound
from cloison.kernel import paths

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
_COPY_BYTES = 1 << 20


def owner_of(root: int, text: str) -> tuple[int, int]:
    """The user id and group id of "user", "user:group", by names or numbers. Raises NotFound for one that the tree does
    not know."""
    user, colon, group = text.partition(":")
    accounts = read(*(_text(root, f"etc/{name}") for name in ("passwd", "group")))
    known = next((each for each in accounts.users if each.name == user), None)
    if known is None and not is_id(user):
        raise NotFound(f"there is no user {user!r} in the image", hint="a number is taken as it is", user=user)
    uid = known.uid if known else int(user)
    if not colon:
        return uid, known.gid if known else uid
    gid = accounts.gid(group)
    if gid is None:
        raise NotFound(f"there is no group {group!r} in the image", hint="a number is taken as it is", group=group)
    return uid, gid


def _text(root: int, path: str) -> str:
    with contextlib.suppress(OSError):
        return paths.read_in_root(root, path).decode(errors="replace")
    return ""


def write(root: int, path: str, content: bytes, owner: tuple[int, int], mode: int) -> None:
    """A file with this content. Raises Invalid where a directory is in the way, or something else on the way to it."""
    with _parent(root, path) as (directory, name):
        _replace(directory, name, path, owner, mode, content)


def link(root: int, path: str, target: str, owner: tuple[int, int]) -> None:
    """A symbolic link to `target`."""
    with _parent(root, path) as (directory, name):
        _away(directory, name, path)
        os.symlink(target, name, dir_fd=directory)
        os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)


def copy(root: int, path: str, source: str, owner: tuple[int, int], mode: int | None) -> None:
    """The file `source` of this host, or all that is in the directory `source`; `mode` None for that of the source, and
    of a directory it is the mode of the files in it."""
    found = os.stat(source)
    with _parent(root, path) as (directory, name):
        if stat.S_ISDIR(found.st_mode):
            _copy_directory(directory, name, path, source, owner, mode)
        elif stat.S_ISREG(found.st_mode):
            _copy_file(directory, name, path, source, owner, mode)
        else:
            raise Invalid(f"{source} is neither a file nor a directory", path=source)


def _copy_directory(parent: int, name: str, path: str, source: str, owner: tuple[int, int], mode: int | None) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
        os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(os.stat(source).st_mode), dir_fd=parent)
    with _named(path):
        directory = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        for entry in sorted(os.scandir(source), key=lambda one: one.name):
            below = f"{path}/{entry.name}"
            if entry.is_symlink():
                _away(directory, entry.name, below)
                os.symlink(os.readlink(entry.path), entry.name, dir_fd=directory)
                os.chown(entry.name, *owner, dir_fd=directory, follow_symlinks=False)
            elif entry.is_dir():
                _copy_directory(directory, entry.name, below, entry.path, owner, mode)
            elif entry.is_file():
                _copy_file(directory, entry.name, below, entry.path, owner, mode)
            else:
                raise Invalid(f"{entry.path} is neither a file nor a directory nor a link", path=entry.path)
    finally:
        os.close(directory)


def _copy_file(directory: int, name: str, path: str, source: str, owner: tuple[int, int], mode: int | None) -> None:
    with open(source, "rb") as file:
        found = os.fstat(file.fileno())
        _replace(directory, name, path, owner, stat.S_IMODE(found.st_mode) if mode is None else mode, file)


def _replace(
    directory: int, name: str, path: str, owner: tuple[int, int], mode: int, content: bytes | BinaryIO
) -> None:
    """Written beside and renamed: a device or a fifo that is in the way is never opened."""
    beside = f".cloison-{os.urandom(6).hex()}"
    fd = os.open(beside, _NEW, 0o600, dir_fd=directory)
    try:
        with open(fd, "wb") as target:
            if isinstance(content, bytes):
                target.write(content)
            else:
                shutil.copyfileobj(content, target, _COPY_BYTES)
            target.flush()
            os.fchown(fd, *owner)
            os.fchmod(fd, mode)
        with _named(path):
            os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=directory)
        raise


def _away(directory: int, name: str, path: str) -> None:
    with contextlib.suppress(FileNotFoundError), _named(path):
        os.unlink(name, dir_fd=directory)


@contextlib.contextmanager
def _parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory that `path` is in, made where it is missing, and its name there."""
    *above, name = [part for part in path.split("/") if part]
    directory = paths.open_in_root(root, ".", _DIRECTORY)
    way = ""
    try:
        for part in above:
            way = f"{way}/{part}"
            with _named(way):
                try:
                    below = paths.open_in_root(root, way, _DIRECTORY)
                except FileNotFoundError:
                    os.mkdir(part, 0o755, dir_fd=directory)
                    os.chmod(part, 0o755, dir_fd=directory)
                    below = paths.open_in_root(root, way, _DIRECTORY)
            os.close(directory)
            directory = below
        yield directory, name
    finally:
        os.close(directory)


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno not in _IN_THE_WAY:
            raise
        raise Invalid(f"{path} cannot be written in the image: {problem.strerror}", path=path) from problem

"""An archive's members made files, beneath one directory and nowhere else.

The archive may be anybody's. These hold against it:

- A name is split at its slashes; "..", and what is no name, are refused, a leading "/" means the top of the tree.
- Directories are opened by openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS. Where an archive's own symbolic
  link is on the way, as the `lib` of an unmerged package, it is followed with RESOLVE_IN_ROOT: as inside a chroot.
- The last name of a path is never followed: files are made with O_EXCL and O_NOFOLLOW, all else by calls that make
  something new, with the directory's descriptor. What is there already is taken away first.
- Nobody else writes here: the directory is root's, 0700, in a workspace. So there is no race to lose, and no
  namespace of its own is needed; a process for each layer would cost more than the whole of a small layer.
- Names that overlayfs reads as orders (user.overlay.*, trusted.overlay.*, device 0:0) are left out, and so is what
  gives power over this host: labels of its security modules. What was left out is counted in `left_out`.

Whiteouts of the OCI become those of overlayfs with `userxattr`: `.wh.x` a device 0:0 named x, `.wh..wh..opq` the
attribute user.overlay.opaque. Set-user-ID bits and file capabilities are kept, for files alone: the store is 0700, and
instances run them in their own ids. Devices are kept where they can be made: unprivileged instances mount their
overlay in their own user namespace, where the kernel opens none; of others the cgroup says which may be opened.

Directories get owner, mode, default ACL and time at the end, as making files in them needs and changes these.
Source: image-spec v1.1, layer.md; Documentation/filesystems/overlayfs.rst; openat2(2).
"""

import contextlib
import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from cloison.base.errors import Invalid
from cloison.images.limits import Limits, too_much
from cloison.images.tar.member import Kind, Member
from cloison.images.tar.source import Source
from cloison.images.xattrs import DEFAULT_ACL, OPAQUE, reason_to_leave_out
from cloison.kernel import paths

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_WHITEOUT = b".wh."
_OPAQUE_MARK = b".wh..wh..opq"
_DIRECTORIES_OPEN = 100
_NO_ID = 0xFFFFFFFF
_HOLE_BYTES = 4096  # a file system's block, mostly: fewer zeros make no hole
_UNSUPPORTED = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.ENODATA)


class Contents(Protocol):
    """Who hears where the data of files went, for `cloison.images.skeleton`."""

    def content(self, path: bytes, offset: int, length: int) -> None:
        """The next `length` bytes of the stream are in the file `path`, from `offset` on."""

    def replaced(self, path: bytes) -> bytes | None:
        """A file of which content was heard is about to be replaced: where its name is to be moved instead of being
        removed; an absolute path. None where nobody needs it."""


class _Attributes:
    """What a directory gets at the end."""

    __slots__ = ("acl", "gid", "mode", "mtime_ns", "uid")

    def __init__(self, member: Member) -> None:
        self.uid, self.gid, self.mode, self.mtime_ns = member.uid, member.gid, member.mode, member.mtime_ns
        self.acl = member.xattrs.get(DEFAULT_ACL, b"")


class Unpacker:
    """Makes files beneath the directory `target`, which is empty; closed by `close`."""

    def __init__(self, target: str, limits: Limits, contents: Contents) -> None:
        self.left_out: Counter[str] = Counter()
        self._root = os.open(target, _DIRECTORY | os.O_CLOEXEC)
        self._limits = limits
        self._contents = contents
        self._open: dict[bytes, int] = {b"": self._root}
        self._directories: dict[bytes, _Attributes] = {}
        self._uid, self._gid = os.geteuid(), os.getegid()

    def close(self) -> None:
        """Close all descriptors."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def unpack(self, member: Member, source: Source) -> None:
        """Make one member, its data from `source`. Raises Invalid, OSError."""
        parts = [part for part in member.name.split(b"/") if part and part != b"."]
        if b".." in parts:
            raise _refused(member.name, "has a name that leads out of the archive")
        if len(parts) > self._limits.depth:
            raise too_much("depth", self._limits.depth)
        if not 0 <= member.uid < _NO_ID or not 0 <= member.gid < _NO_ID:
            raise _refused(member.name, f"belongs to an id that cannot be, {member.uid}:{member.gid}")
        if not parts:
            if member.kind is not Kind.DIRECTORY:
                raise _refused(member.name, "takes the place of the top directory")
            self._describe(b"", member)
            return
        name = parts.pop()
        self._close_old()
        with _problems_named(member.name):
            directory, parent = self._parent(b"/".join(parts), member.name)
            if name.startswith(_WHITEOUT):
                if member.size:
                    raise _refused(member.name, "is a whiteout with data")
                self._whiteout(directory, name, member.name)
                return
            self._make(member, directory, name, parent + b"/" + name if parent else name, source)

    def finish(self) -> None:
        """Give all directories what the archive says of them."""
        for path, wanted in self._directories.items():
            with _problems_named(path), self._opened(path) as fd:
                if self._uid == 0:
                    os.fchown(fd, wanted.uid, wanted.gid)
                os.fchmod(fd, wanted.mode)
                if wanted.acl:
                    self._set_xattr(fd, DEFAULT_ACL, wanted.acl)
                os.utime(fd, ns=(wanted.mtime_ns, wanted.mtime_ns))

    def _make(self, member: Member, directory: int, name: bytes, path: bytes, source: Source) -> None:
        match member.kind:
            case Kind.FILE:
                self._file(member, directory, name, path, source)
            case Kind.DIRECTORY:
                self._directory(member, directory, name, path)
            case Kind.SYMLINK:
                self._symlink(member, directory, name, path)
            case Kind.HARD_LINK:
                self._hard_link(member, directory, name, path)
            case _:
                self._special(member, directory, name, path)

    # --- directories -------------------------------------------------------------------------------------

    def _parent(self, path: bytes, name: bytes) -> tuple[int, bytes]:
        """A descriptor of the directory `path`, made where it is missing, and where it really is."""
        fd = self._open.get(path)
        if fd is not None:
            return fd, path
        try:
            return self._keep(path, paths.open_beneath(self._root, path, _DIRECTORY)), path
        except OSError as problem:
            if problem.errno == errno.ENOENT:
                return self._missing(path, name)
            if problem.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
        return self._through_links(path, name)

    def _missing(self, path: bytes, name: bytes) -> tuple[int, bytes]:
        """Make a directory of which the archive has said nothing so far."""
        above, _, last = path.rpartition(b"/")
        parent, real = self._parent(above, name)
        try:
            os.mkdir(last, 0o755, dir_fd=parent)
        except FileExistsError as link:
            raise _unreachable(name, path) from link  # a symbolic link to nothing
        os.chmod(last, 0o755, dir_fd=parent)  # whatever the umask
        return self._parent(real + b"/" + last if real else last, name)

    def _through_links(self, path: bytes, name: bytes) -> tuple[int, bytes]:
        try:
            fd = paths.open_in_root(self._root, path, _DIRECTORY)
        except FileNotFoundError:
            return self._missing(path, name)
        except OSError as problem:
            raise _unreachable(name, path) from problem
        try:
            real = paths.name_beneath(self._root, fd)
        except ValueError as problem:
            os.close(fd)
            raise _refused(name, "leads out of the archive") from problem
        if real in self._open:
            os.close(fd)
            return self._open[real], real
        return self._keep(real, fd), real

    def _keep(self, path: bytes, fd: int) -> int:
        self._open[path] = fd
        return fd

    def _close_old(self) -> None:
        """Close the directories of earlier members, before there are too many; never in the middle of a member."""
        if len(self._open) > _DIRECTORIES_OPEN:
            for path in [path for path in self._open if path]:
                os.close(self._open.pop(path))

    @contextlib.contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        fd = paths.open_beneath(self._root, path or b".", _DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def _directory(self, member: Member, directory: int, name: bytes, path: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                self._take_away(directory, name, path)
                os.mkdir(name, 0o700, dir_fd=directory)
                if _is_whiteout(found):
                    self._opaque(path)
        self._describe(path, member)

    def _describe(self, path: bytes, member: Member) -> None:
        self._directories[path] = _Attributes(member)
        others = {key: value for key, value in member.xattrs.items() if key != DEFAULT_ACL}
        if others:
            with self._opened(path) as fd:
                self._set_xattrs(fd, others)

    def _opaque(self, path: bytes) -> None:
        """Hide what lower layers have in this directory."""
        with self._opened(path) as fd:
            os.setxattr(fd, OPAQUE, b"y")

    # --- files -------------------------------------------------------------------------------------------

    def _file(self, member: Member, directory: int, name: bytes, path: bytes, source: Source) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
        except FileExistsError:
            self._take_away(directory, name, path)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
        try:
            if member.segments is not None:
                self._spread(fd, member, path, source)
            elif member.size:
                ends_in_hole = False
                for piece in source.pieces(member.size):
                    if ends_in_hole := _is_hole(piece):
                        os.lseek(fd, len(piece), os.SEEK_CUR)
                    else:
                        _write(fd, piece)
                if ends_in_hole:
                    os.ftruncate(fd, member.size)
                self._contents.content(path, 0, member.size)
            if self._uid == 0 and (member.uid or member.gid or self._gid):
                os.fchown(fd, member.uid, member.gid)
            if member.xattrs:
                self._set_xattrs(fd, member.xattrs)
            os.fchmod(fd, member.mode)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(fd)

    def _spread(self, fd: int, member: Member, path: bytes, source: Source) -> None:
        """The data of a sparse file, each piece at its place."""
        for offset, length in member.segments or ():
            os.lseek(fd, offset, os.SEEK_SET)
            for piece in source.pieces(length):
                _write(fd, piece)
            if length:
                self._contents.content(path, offset, length)
        os.ftruncate(fd, member.file_size)

    def _symlink(self, member: Member, directory: int, name: bytes, path: bytes) -> None:
        if not member.link:
            raise _refused(member.name, "is a symbolic link to nothing")
        try:
            os.symlink(member.link, name, dir_fd=directory)
        except FileExistsError:
            self._take_away(directory, name, path)
            os.symlink(member.link, name, dir_fd=directory)
        self._own(member, directory, name)

    def _hard_link(self, member: Member, directory: int, name: bytes, path: bytes) -> None:
        parts = [part for part in member.link.split(b"/") if part and part != b"."]
        if not parts or b".." in parts:
            raise _refused(member.name, "is a hard link to what is outside of the archive")
        last = parts.pop()
        try:
            source, real = self._parent(b"/".join(parts), member.name)
            target = os.stat(last, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError as missing:
            shown = os.fsdecode(member.link)
            raise _refused(member.name, f"is a hard link to {shown!r}, which is not there") from missing
        if stat.S_ISDIR(target.st_mode):
            raise _refused(member.name, "is a hard link to a directory")
        if path == (real + b"/" + last if real else last):
            return
        try:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            self._take_away(directory, name, path)
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)

    def _special(self, member: Member, directory: int, name: bytes, path: bytes) -> None:
        """A fifo or a device. Their set-user-ID bits mean nothing, and are not kept."""
        if member.kind is Kind.CHARACTER and member.device == (0, 0):
            self.left_out["device 0:0"] += 1
            return
        kind = {Kind.FIFO: stat.S_IFIFO, Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK}[member.kind]
        try:
            device = os.makedev(*member.device)
            try:
                os.mknod(name, kind | 0o600, device, dir_fd=directory)
            except FileExistsError:
                self._take_away(directory, name, path)
                os.mknod(name, kind | 0o600, device, dir_fd=directory)
        except OverflowError:
            raise _refused(member.name, f"is a device with the number {member.device}, which cannot be") from None
        except PermissionError:
            self.left_out["device"] += 1
            return
        self._own(member, directory, name)

    def _own(self, member: Member, directory: int, name: bytes) -> None:
        """Owner, mode, attributes and time of what cannot be opened: links, fifos, devices."""
        if self._uid == 0 and (member.uid or member.gid or self._gid):
            os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)
        if member.kind is not Kind.SYMLINK:
            os.chmod(name, member.mode & 0o1777, dir_fd=directory)
        if member.xattrs:
            self._set_xattrs(paths.name_through(directory, name), member.xattrs)
        os.utime(name, ns=(member.mtime_ns, member.mtime_ns), dir_fd=directory, follow_symlinks=False)

    def _whiteout(self, directory: int, name: bytes, shown: bytes) -> None:
        if name == _OPAQUE_MARK:
            os.setxattr(directory, OPAQUE, b"y")
            return
        if name.startswith(b".wh..wh."):
            self.left_out["mark of aufs"] += 1
            return
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise _refused(shown, "hides something without a name")
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=directory)
        except FileExistsError:
            # A whiteout is about lower layers: what this layer brings stays, but not mixed with what they have.
            if stat.S_ISDIR(os.stat(hidden, dir_fd=directory, follow_symlinks=False).st_mode):
                fd = os.open(hidden, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                try:
                    os.setxattr(fd, OPAQUE, b"y")
                finally:
                    os.close(fd)

    def _take_away(self, directory: int, name: bytes, path: bytes) -> None:
        """Make way for a later member of the same name. A directory goes only when it is empty, as with tar."""
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError as problem:
                raise _refused(path, "takes the place of a directory that is not empty") from problem
            self._directories.pop(path, None)
            if path in self._open:
                os.close(self._open.pop(path))
            return
        moved = self._contents.replaced(path)
        if moved is None:
            os.unlink(name, dir_fd=directory)
        else:
            os.rename(name, moved, src_dir_fd=directory)

    # --- extended attributes -----------------------------------------------------------------------------

    def _set_xattrs(self, where: int | bytes, wanted: dict[str, bytes]) -> None:
        for key, value in wanted.items():
            if reason := reason_to_leave_out(key):
                self.left_out[reason] += 1
            else:
                self._set_xattr(where, key, value)

    def _set_xattr(self, where: int | bytes, key: str, value: bytes) -> None:
        try:
            os.setxattr(where, key, value, follow_symlinks=isinstance(where, int))
        except OSError as problem:
            if problem.errno not in _UNSUPPORTED:
                raise
            self.left_out[f"attribute {key} that the file system refuses"] += 1


def _write(fd: int, piece: memoryview) -> None:
    written = os.write(fd, piece)
    while written < len(piece):
        written += os.write(fd, piece[written:])


def _is_hole(piece: memoryview) -> bool:
    """Whether a piece is all zeros: squashfs and the archives of Docker have holes, too, but cannot say so."""
    return len(piece) >= _HOLE_BYTES and not (piece[0] or piece[-1] or bytes(piece).strip(b"\0"))


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _refused(name: bytes, why: str) -> Invalid:
    shown = name.decode(errors="replace")
    return Invalid(f"the archive cannot be unpacked: {shown!r} {why}", member=shown)


def _unreachable(name: bytes, path: bytes) -> Invalid:
    return _refused(name, f"cannot be reached: {path.decode(errors='replace')!r} is no directory")


@contextlib.contextmanager
def _problems_named(name: bytes) -> Iterator[None]:
    """Name the member for what the kernel refuses because of its name."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENAMETOOLONG, errno.EMLINK, errno.EILSEQ, errno.EINVAL):
            raise _refused(name, f"is refused by the file system: {os.strerror(problem.errno)}") from problem
        raise

"""The program behind `kernel.file_door`: looks at files of an instance and changes them, on behalf of cloison.

    python -I -S file_child.py SOCKET ROOT          the tree below the directory descriptor ROOT, of nobody who runs
    python -I -S file_child.py SOCKET ROOT below MOUNTS    the same, ROOT being a mount that is attached nowhere, with
                                                    others in it: MOUNTS is JSON, (source, target, is read-only) each
    python -I -S file_child.py SOCKET PIDFD WHAT    inside the namespaces of a process: WHAT is `user` or `mount`

It is a process of its own, so that no caller's namespaces or ids change. In the namespaces of an unprivileged instance
it has the power of its root and no more: whatever a guest has put where, nothing else can be reached, and owners are
those inside. It is in none of its PID namespaces, so that nobody inside can look into it. It imports nothing of cloison
so that it starts in some ten milliseconds, and nothing at all once it is inside, where other files have our names.

Requests and answers are JSON, one each in a packet of SOCKET; a descriptor may come with an answer. Errors are answers
with an errno. Paths are resolved with RESOLVE_IN_ROOT; nothing but regular files and directories is ever opened.
Source: openat2(2), setns(2), O_TMPFILE in open(2).
"""

import contextlib
import ctypes
import errno
import json
import os
import select
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Answer = dict[str, Any]
Answered = tuple[Answer, int]  # the descriptor that goes with it, or -1

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
MOVE_MOUNT_F_EMPTY_PATH, AT_FDCWD = 0x4, -100
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, SIGKILL = 1, 4, 9
SYS_MOVE_MOUNT, SYS_OPENAT2 = 429, 437  # the same on every architecture
NO_XDEV, NO_MAGICLINKS, IN_ROOT = 0x01, 0x02, 0x10
HOW = struct.Struct("=QQQ")
DIRECTORY = os.O_PATH | os.O_DIRECTORY
MOST_LINKS = 40  # as the kernel follows (path_resolution(7))
MOST_BYTES = 1 << 15  # of a packet with entries of a directory
SIGN_OF_LIFE_S = 1.0

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """The result of a call of libc. Raises OSError where it is negative."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def refused(code: int, **facts: object) -> OSError:
    """An error of our own, with what the caller should know."""
    problem = OSError(code, os.strerror(code))
    problem.facts = facts  # type: ignore[attr-defined]
    return problem


class Held:
    """A descriptor for the time of a block."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class Draft:
    """A file in the making: `directory` and `fd` are its own; `beside` is its name so far, if it has any."""

    def __init__(self, directory: int, name: str, fd: int, beside: str, *, replaces: bool) -> None:
        self.directory = directory
        self.name = name
        self.fd = fd
        self.beside = beside
        self.replaces = replaces

    def close(self) -> None:
        """Leave nothing of it but what has got its name."""
        if self.beside:
            with contextlib.suppress(OSError):
                os.unlink(self.beside, dir_fd=self.directory)
        os.close(self.fd)
        os.close(self.directory)


class Tree:
    """The files below the directory descriptor `root`."""

    def __init__(self, root: int, proc: int, send: Callable[[Answer], None], pidfd: int = -1) -> None:
        self.root = root
        self.proc = proc  # /proc/self/fd, from before there were other files here
        self.send = send
        self.pidfd = pidfd
        self.draft: Draft | None = None

    # --- requests ------------------------------------------------------------------------------------------

    def stat(self, path: str, *, follow: bool) -> Answered:
        """What there is."""
        with Held(self.opened(path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))) as fd:
            found = os.fstat(fd)
            target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(found.st_mode) else ""
            return {"entry": entry(base(path), found, target)}, -1

    def list(self, path: str) -> Answered:
        """The entries of a directory, in several packets."""
        with Held(self.opened(path, DIRECTORY)) as there, Held(self.again(there, os.O_RDONLY | os.O_DIRECTORY)) as fd:
            packet: list[Answer] = []
            size = 0
            for name in sorted(os.listdir(fd)):
                try:
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(found.st_mode) else ""
                except FileNotFoundError:
                    continue  # gone meanwhile
                packet.append(entry(name, found, target))
                size += 200 + 6 * (len(name) + len(target))
                if size > MOST_BYTES:
                    self.send({"more": True, "entries": packet})
                    packet, size = [], 0
            return {"entries": packet}, -1

    def open(self, path: str) -> Answered:
        """A regular file to be read; its descriptor goes with the answer."""
        with Held(self.opened(path, os.O_PATH)) as there:
            found = os.fstat(there)
            expect_regular(found)
            return {"entry": entry(base(path), found)}, self.again(there, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)

    def begin(self, path: str) -> Answered:
        """A new file to be written, without a name yet; its descriptor goes with the answer."""
        self.abort()
        directory, name, found = self.place(path, follow=True)
        try:
            if found is not None:
                expect_regular(found)
            fd, beside = self.nameless(directory)
        except BaseException:
            os.close(directory)
            raise
        self.draft = Draft(directory, name, fd, beside, replaces=found is not None)
        return {"entry": None if found is None else entry(name, found)}, os.dup(fd)

    def commit(self, *, uid: int, gid: int, mode: int, mtime_ns: int | None) -> Answered:
        """Give it its owner, its mode and its name, in the place of what had that before."""
        draft = self.draft
        if draft is None:
            raise refused(errno.EINVAL)
        try:
            os.fchown(draft.fd, uid, gid)
            os.fchmod(draft.fd, mode)
            if mtime_ns is not None:
                os.utime(draft.fd, ns=(mtime_ns, mtime_ns))
            if draft.replaces:
                os.fsync(draft.fd)  # or the old one were gone before the new one is on the disk
            if not draft.beside:
                name = beside()
                os.link(str(draft.fd), name, src_dir_fd=self.proc, dst_dir_fd=draft.directory, follow_symlinks=True)
                draft.beside = name
            self.expect_running()
            os.rename(draft.beside, draft.name, src_dir_fd=draft.directory, dst_dir_fd=draft.directory)
            draft.beside = ""
        finally:
            self.abort()
        return {}, -1

    def abort(self) -> Answered:
        """Forget the file in the making."""
        if self.draft is not None:
            self.draft.close()
            self.draft = None
        return {}, -1

    def mkdir(self, path: str, *, uid: int, gid: int, mode: int, parents: bool) -> Answered:
        """Make a directory; one that is there stays as it is. `parents` are root's, 0755."""
        words = [word for word in path.split("/") if word]
        is_new = False
        for count in range(1 if parents else len(words), len(words) + 1):
            owner = (uid, gid, mode) if count == len(words) else (0, 0, 0o755)
            is_new = self.ensure("/".join(words[:count]), *owner)
        return {"new": is_new}, -1

    def symlink(self, path: str, target: str, *, uid: int, gid: int) -> Answered:
        """Make a link, in the place of what is no directory."""
        directory, name, found = self.place(path, follow=False)
        with Held(directory):
            if found is not None and stat.S_ISDIR(found.st_mode):
                raise refused(errno.EISDIR)
            fresh = beside()
            os.symlink(target, fresh, dir_fd=directory)
            try:
                os.chown(fresh, uid, gid, dir_fd=directory, follow_symlinks=False)
                os.rename(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(fresh, dir_fd=directory)
                raise
        return {}, -1

    def remove(self, path: str, *, recursive: bool) -> Answered:
        """Remove what is under a name: a link and not what it leads to, nothing of another mount."""
        directory, name, found = self.place(path, follow=False)
        with Held(directory):
            if found is None:
                raise refused(errno.ENOENT)
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=directory)
            elif recursive:
                self.clear(directory, name)
                os.rmdir(name, dir_fd=directory)
            else:
                os.rmdir(name, dir_fd=directory)
        return {}, -1

    # --- within --------------------------------------------------------------------------------------------

    def opened(self, path: str, flags: int) -> int:
        return openat2(self.root, path or "/", flags, IN_ROOT | NO_MAGICLINKS)

    def again(self, fd: int, flags: int) -> int:
        """The same file, opened for real."""
        return os.open(str(fd), flags | os.O_CLOEXEC, dir_fd=self.proc)

    def place(self, path: str, *, follow: bool) -> tuple[int, str, os.stat_result | None]:
        """The directory (owned by the caller) and the name in it that a path leads to, and what is there."""
        for _ in range(MOST_LINKS):
            above, _slash, name = path.rstrip("/").rpartition("/")
            if name in ("", ".", ".."):
                raise refused(errno.EBUSY if not name else errno.EINVAL)
            directory = self.opened(above or "/", DIRECTORY)
            try:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if not (follow and stat.S_ISLNK(found.st_mode)):
                    return directory, name, found
                target = os.readlink(name, dir_fd=directory)
            except FileNotFoundError:
                return directory, name, None
            except BaseException:
                os.close(directory)
                raise
            os.close(directory)
            path = target if target.startswith("/") else f"{above}/{target}"
        raise refused(errno.ELOOP)

    def nameless(self, directory: int) -> tuple[int, str]:
        """A new file in a directory: one that has no name, and with it nothing to be left of, where that can be."""
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(".", flags | os.O_TMPFILE, 0o600, dir_fd=directory), ""
        except OSError as problem:
            if problem.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
        name = beside()
        return os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=directory), name

    def ensure(self, path: str, uid: int, gid: int, mode: int) -> bool:
        """See to it that a directory is there; whether it is new."""
        directory, name, found = self.place(path, follow=True)
        with Held(directory):
            if found is not None:
                if not stat.S_ISDIR(found.st_mode):
                    raise refused(errno.ENOTDIR, path=path)
                return False
            os.mkdir(name, 0o700, dir_fd=directory)
            with Held(openat2(directory, name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, IN_ROOT)) as fd:
                os.fchown(fd, uid, gid)
                os.fchmod(fd, mode)
            return True

    def clear(self, directory: int, name: str) -> None:
        """Empty a directory; its own directories first, without recursion: a guest may have nested them deeply."""
        stack = [openat2(directory, name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, NO_XDEV)]
        said_s = time.monotonic()
        names = [""]
        left = [os.listdir(stack[0])]
        try:
            while stack:
                if time.monotonic() - said_s > SIGN_OF_LIFE_S:
                    said_s = time.monotonic()
                    self.send({"more": True})
                if not left[-1]:
                    os.close(stack.pop())
                    left.pop()
                    emptied = names.pop()
                    if stack:
                        os.rmdir(emptied, dir_fd=stack[-1])
                    continue
                child = left[-1].pop()
                if stat.S_ISDIR(os.stat(child, dir_fd=stack[-1], follow_symlinks=False).st_mode):
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                    stack.append(openat2(stack[-1], child, flags, NO_XDEV))
                    names.append(child)
                    left.append(os.listdir(stack[-1]))
                else:
                    os.unlink(child, dir_fd=stack[-1])
        finally:
            for fd in stack:
                os.close(fd)

    def expect_running(self) -> None:
        """Raises OSError when the process that the files are seen through has ended: then they may be another's."""
        if self.pidfd >= 0 and select.select([self.pidfd], [], [], 0)[0]:
            raise refused(errno.ESRCH)


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2). Raises OSError."""
    how = HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    return checked(LIBC.syscall(ctypes.c_long(SYS_OPENAT2), directory, os.fsencode(path), how, len(how)))


def expect_regular(found: os.stat_result) -> None:
    """Raises OSError for whatever else: nothing is to be waited for, and no device is to do anything."""
    if stat.S_ISDIR(found.st_mode):
        raise refused(errno.EISDIR)
    if not stat.S_ISREG(found.st_mode):
        raise refused(errno.ENXIO, mode=found.st_mode)


def entry(name: str, found: os.stat_result, target: str = "") -> Answer:
    """What the caller makes a `spec.files.Entry` of."""
    return {
        "name": name,
        "mode": found.st_mode,
        "uid": found.st_uid,
        "gid": found.st_gid,
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "inode": found.st_ino,
        "target": target,
    }


def base(path: str) -> str:
    """The last word of a path."""
    return path.rstrip("/").rpartition("/")[2] or "/"


def beside() -> str:
    """A name that nobody else has."""
    return f".cloison-{os.urandom(6).hex()}"


def enter(pidfd: int, what: str) -> int:
    """Become root of the namespaces of a process; gives its root directory."""
    kinds = CLONE_NEWNS | (CLONE_NEWUSER if what == "user" else 0)
    checked(LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    checked(LIBC.setns(pidfd, kinds))
    if what == "user":
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        checked(LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    return os.open("/", DIRECTORY | os.O_CLOEXEC)


def attach(tree: Tree, mounts: list[tuple[str, str, bool]]) -> None:
    """Have more file systems in the tree, for this process alone; a source that is empty is a place where there is
    nothing. The tree is attached first, in a mount namespace of our own, as nothing can be mounted in it otherwise."""
    checked(LIBC.unshare(CLONE_NEWNS))
    checked(LIBC.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    number = ctypes.c_long(SYS_MOVE_MOUNT)
    checked(LIBC.syscall(number, tree.root, b"", AT_FDCWD, b"/", MOVE_MOUNT_F_EMPTY_PATH))
    for source, target, is_read_only in mounts:
        if source:
            tree.mkdir(target, uid=0, gid=0, mode=0o755, parents=True)  # as a start does
            mount(tree, target, os.fsencode(source), None, MS_BIND)
            if is_read_only:
                mount(tree, target, None, None, MS_REMOUNT | MS_BIND | MS_RDONLY)
        else:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                mount(tree, target, b"tmpfs", b"tmpfs", MS_RDONLY)


def mount(tree: Tree, target: str, source: bytes | None, fstype: bytes | None, flags: int) -> None:
    """mount(2), at a path of the tree. Raises OSError."""
    with Held(tree.opened(target, DIRECTORY)) as fd:
        at = os.fsencode(f"/proc/self/fd/{fd}")
        checked(LIBC.mount(source, at, fstype, ctypes.c_ulong(flags), None))


def requests(sock: socket.socket) -> Iterator[Answer]:
    """Until the caller goes away."""
    while packet := sock.recv(1 << 17):
        yield json.loads(packet)


def main() -> None:
    """Serve the caller until it goes away."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    proc = os.open("/proc/self/fd", DIRECTORY | os.O_CLOEXEC)
    os.umask(0)
    root, pidfd = int(sys.argv[2]), -1

    def send(answer: Answer, fd: int = -1) -> None:
        words = json.dumps(answer).encode()
        if fd < 0:
            sock.send(words)
        else:
            socket.send_fds(sock, [words], [fd])
            os.close(fd)

    json.loads(json.dumps({"warm": ["up", 1, None]}))  # whatever these import when they are first used
    os.strerror(errno.ENOENT).encode("utf-8", "surrogateescape")
    sys.meta_path.clear()  # from here on nothing is imported: it would be a file of the guest's
    sys.path.clear()
    try:
        if len(sys.argv) == 4:
            pidfd = root
            root = enter(pidfd, sys.argv[3])
        checked(LIBC.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
        tree = Tree(root, proc, send, pidfd)
        if len(sys.argv) == 5:
            attach(tree, json.loads(sys.argv[4]))
    except OSError as problem:
        send({"errno": problem.errno, **getattr(problem, "facts", {})})
        return
    send({})
    for request in requests(sock):
        try:
            tree.expect_running()
            answer, fd = getattr(tree, request.pop("do"))(**request)
        except OSError as problem:
            send({"errno": problem.errno, **getattr(problem, "facts", {})})
        else:
            send(answer, fd)
    tree.abort()


if __name__ == "__main__":
    main()

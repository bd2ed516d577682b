"""The door to the files of an instance: a process of its own that works on them, `file_child.py`, and what asks it.

Two ways lead to them: through the namespaces of a process, with no more power than the root of these has; or below a
directory descriptor, for what nobody runs. What is found and what can be done is the same.
"""

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from cloison.base.errors import Bug
from cloison.kernel import process

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "file_child.py")
_PATIENCE_S = 60.0  # for one answer; long work gives a sign of life each second
_ENDING_S = 2.0
_PACKET = 1 << 17


class Found(msgspec.Struct, frozen=True):
    """What there is under a name: `mode` is a st_mode, `target` a link's own text; ids are those inside."""

    name: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    inode: int
    target: str


class Special(OSError):
    """There is neither a regular file nor a directory; `mode` says what (st_mode)."""

    def __init__(self, code: int, path: str, mode: int) -> None:
        super().__init__(code, os.strerror(code), path)
        self.mode = mode


class FileDoor:
    """The files of one instance, for one caller at a time. Every method raises OSError with the path that it was for;
    ESRCH says that the instance has ended, ETIMEDOUT that whoever carries a file system inside does not answer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def stat(self, path: str, *, follow: bool = True) -> Found:
        """What there is; with `follow` where a link leads to."""
        return self._entry(self._ask(path, do="stat", path=path, follow=follow)[0])

    def list(self, path: str) -> tuple[Found, ...]:
        """The entries of a directory, by name."""
        found: list[Found] = []
        self._send(do="list", path=path)
        while True:
            answer, _fd = self._answer(path)
            found += [Found(**each) for each in answer.get("entries", ())]
            if not answer.get("more"):
                return tuple(found)

    def open(self, path: str) -> tuple[int, Found]:
        """A regular file to be read: a descriptor, owned by the caller, and what it is. Raises Special."""
        answer, fd = self._ask(path, do="open", path=path)
        return _regular(fd, path), self._entry(answer)

    def begin(self, path: str) -> tuple[int, Found | None]:
        """A file to be written in the place of another: a descriptor, owned by the caller, and what is there so far.

        It has no name before `commit`; there is one at a time."""
        answer, fd = self._ask(path, do="begin", path=path)
        before = answer["entry"]
        return _regular(fd, path), Found(**before) if before else None

    def commit(self, path: str, *, uid: int, gid: int, mode: int, mtime_ns: int | None) -> None:
        """Give it its owner, its mode and its name."""
        self._ask(path, do="commit", uid=uid, gid=gid, mode=mode, mtime_ns=mtime_ns)

    def abort(self) -> None:
        """Forget it."""
        self._ask("", do="abort")

    def mkdir(self, path: str, *, uid: int, gid: int, mode: int, parents: bool = False) -> bool:
        """Make a directory; one that is there stays as it is. Whether it is new."""
        return bool(self._ask(path, do="mkdir", path=path, uid=uid, gid=gid, mode=mode, parents=parents)[0]["new"])

    def symlink(self, path: str, target: str, *, uid: int, gid: int) -> None:
        """Make a link, in the place of what is no directory."""
        self._ask(path, do="symlink", path=path, target=target, uid=uid, gid=gid)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove what is under a name; nothing of another mount."""
        self._ask(path, do="remove", path=path, recursive=recursive)

    # --- within --------------------------------------------------------------------------------------------

    @staticmethod
    def _entry(answer: dict[str, Any]) -> Found:
        return Found(**answer["entry"])

    def _ask(self, about: str, **request: object) -> tuple[dict[str, Any], int]:
        self._send(**request)
        while True:
            answer, fd = self._answer(about)
            if not answer.get("more"):
                return answer, fd

    def _send(self, **request: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # then there is no answer
            self._sock.send(json.dumps(request).encode())

    def _answer(self, about: str) -> tuple[dict[str, Any], int]:
        try:
            packet, fds, _flags, _address = socket.recv_fds(self._sock, _PACKET, 1)
        except ConnectionResetError:
            packet, fds = b"", []
        except TimeoutError:
            raise TimeoutError(110, "nobody answers", about) from None
        fd = fds[0] if fds else -1
        if not packet:
            raise Bug("the process that looks at files of an instance has died")
        answer: dict[str, Any] = json.loads(packet)
        code = answer.get("errno")
        if code is None:
            return answer, fd
        if "mode" in answer:
            raise Special(code, about, answer["mode"])
        raise OSError(code, os.strerror(code), answer.get("path", about))


def _regular(fd: int, path: str) -> int:
    """What has been handed out is a regular file, whoever says so."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise Special(6, path, mode)
    os.set_blocking(fd, True)
    return fd


@contextlib.contextmanager
def into(pidfd: int, *, is_privileged: bool) -> Iterator[FileDoor]:
    """The files that a process sees, which has user and mount namespaces of its own, or where it `is_privileged` only
    the latter. Raises OSError: ESRCH when it has ended."""
    with _served(pidfd, "mount" if is_privileged else "user") as door:
        yield door


@contextlib.contextmanager
def below(root: int, mounts: tuple[tuple[str, str, bool], ...] = ()) -> Iterator[FileDoor]:
    """The files below a directory descriptor, with owners as on disk.

    `mounts` are directories of the host to be seen in it, each with its path there and whether it is read-only; "" for
    a path below which nothing can be. Then `root` is to be a mount that is attached nowhere. Raises OSError."""
    with _served(root, *(("below", json.dumps(mounts)) if mounts else ())) as door:
        yield door


@contextlib.contextmanager
def _served(fd: int, *how: str) -> Iterator[FileDoor]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-I", "-S", _CHILD, str(theirs.fileno()), str(fd), *how]
    with ours, contextlib.ExitStack() as stack:
        with theirs:
            keep = (theirs.fileno(), fd)
            program = stack.enter_context(process.started(argv, keep_fds=keep, stderr=subprocess.DEVNULL, grace_s=0))
        ours.settimeout(_PATIENCE_S)
        door = FileDoor(ours)
        try:
            door._answer("")
            yield door
        finally:
            ours.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.popen.wait(_ENDING_S)

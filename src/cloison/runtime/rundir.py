"""The run directory of an instance: what there is of it besides its files while it is not simply stopped.

    <run>/<id>/journal        the plan that started it, encoded; locked by its monitor as long as that lives
    <run>/<id>/monitor.sock   the monitor's socket
    <run>/<id>/later          how to take back the interfaces that came after the start (runtime.nics)
    <run>/<id>/net<number>    its network namespace, mounted for an interface that cannot be taken back otherwise
    <run>/locks/<id>          held by the command that is changing the instance

Who wants to know whether an instance runs asks for the journal:

    no journal                stopped: there is nothing to take back
    journal, locked           its launcher or monitor lives
    journal, not locked       whoever was at work has died: the undo steps in it are still to be run

Locks, in the order in which they are taken: first `locks/<id>` (flock, by commands that start, change or delete;
a question takes none), then the journal's (an open file description lock, taken by the command before the journal
gets its name, and handed to the launcher with the descriptor; there is no moment in which a journal of a living
instance is not locked).
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from enum import StrEnum

from cloison.base.errors import Busy
from cloison.kernel import locks

JOURNAL = "journal"
SOCKET = "monitor.sock"


class Keeper(StrEnum):
    """Whether somebody keeps the instance."""

    NONE = "none"
    ALIVE = "alive"
    DEAD = "dead"


class RunDir:
    """The run directory of instance `instance_id` below `base`."""

    def __init__(self, base: str, instance_id: str) -> None:
        self._base = base
        self._id = instance_id
        self.path = f"{base}/{instance_id}"
        self.journal = f"{self.path}/{JOURNAL}"
        self.socket = f"{self.path}/{SOCKET}"
        self.scratch = f"{base}/locks/{instance_id}.new"  # of `command`, for what is to be renamed into the directory

    def keeper(self) -> Keeper:
        """Whether the instance is kept, was kept, or neither. Takes no lock."""
        try:
            fd = os.open(self.journal, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return Keeper.NONE
        try:
            return Keeper.ALIVE if locks.is_held(fd) else Keeper.DEAD
        finally:
            os.close(fd)

    def began_ns(self) -> int:
        """When its journal was written, in ns since 1970, which tells one run from the next; 0 where there is none."""
        try:
            return os.stat(self.journal, follow_symlinks=False).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def write_journal(self, encoded: bytes) -> int:
        """Write the journal, locked, before anything else happens; gives its descriptor, owned by the caller."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        beside = f"{self.journal}.new"
        fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            locks.hold(fd)
            if os.write(fd, encoded) != len(encoded):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), beside)
            os.rename(beside, self.journal)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
            raise
        return fd

    def take_over(self) -> int | None:
        """Lock the journal of a dead keeper; gives its descriptor, or None where there is nothing to take over."""
        try:
            fd = os.open(self.journal, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if locks.hold(fd):
            return fd
        os.close(fd)
        return None

    def sweep(self) -> None:
        """Remove what a death between two system calls can leave behind: an unnamed journal, an empty directory."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(f"{self.journal}.new")
        with contextlib.suppress(OSError):
            os.rmdir(self.path)

    @contextlib.contextmanager
    def command(self, doing: str, *, timeout_s: float | None = 0.0) -> Iterator[None]:
        """Be the only command that changes this instance. Raises Busy, naming who is at it already."""
        os.makedirs(f"{self._base}/locks", mode=0o700, exist_ok=True)
        path = self._lock_path()
        try:
            with locks.exclusive(path, timeout_s=timeout_s) as fd:
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{doing} (process {os.getpid()})".encode(), 0)
                yield
                os.ftruncate(fd, 0)
        except BlockingIOError:
            raise Busy(
                f"another command is changing it: {self._holder() or 'unknown'}", hint="wait for it, or try again"
            ) from None

    def forget(self) -> None:
        """Remove the lock's file; only by who holds it, when the instance is deleted."""
        for path in (self.scratch, self._lock_path()):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _lock_path(self) -> str:
        return f"{self._base}/locks/{self._id}"

    def _holder(self) -> str:
        try:
            with open(self._lock_path(), encoding="utf-8", errors="replace") as file:
                return file.read(200)
        except FileNotFoundError:
            return ""

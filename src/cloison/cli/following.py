"""Follow the log of a console, which is rotated: renamed to the same name with `.1`, and begun anew."""

import contextlib
import os
from collections.abc import Callable, Iterator
from time import monotonic, sleep

PAUSE_S = 0.1
RESTART_S = 1.0  # a stopped instance that is not started again within this has ended
CHUNK = 65536


def last_lines(text: bytes, count: int) -> bytes:
    """The last `count` lines; one that is not finished counts."""
    if count == 0:
        return b""
    end = len(text) - text.endswith(b"\n")
    start = end
    for _ in range(count):
        start = text.rfind(b"\n", 0, start)
        if start < 0:
            return text
    return text[start + 1 :]


class Follower:
    """The growing log at `path`, of an instance that `state` is asked about. A context manager, and an iterator."""

    def __init__(self, path: str, state: Callable[[], str]) -> None:
        self._path = path
        self._state = state
        self._fd = -1

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def past(self) -> bytes:
        """What is there so far, the older file first."""
        older = b""
        with contextlib.suppress(FileNotFoundError), open(f"{self._path}.1", "rb") as file:
            older = file.read()
        return older + b"".join(self._new())

    def __iter__(self) -> Iterator[bytes]:
        """What is new, as it comes; ends when the instance has ended and everything is read."""
        stopped_since: float | None = None
        while True:
            is_stopped = self._state() == "stopped"  # asked before the last look, so that nothing is missed
            yield from self._new()
            now = monotonic()
            if not is_stopped:
                stopped_since = None
            elif stopped_since is None:
                stopped_since = now
            if stopped_since is not None and now - stopped_since >= RESTART_S:
                return
            sleep(PAUSE_S)

    def _new(self) -> Iterator[bytes]:
        """Everything up to the present end: the rest of the file that was renamed, then the new one."""
        if self._fd < 0 and not self._open():
            return
        yield from self._rest()
        while not self._is_current():
            yield from self._rest()  # the monitor may have written between our reading and its renaming
            if not self._open():
                return
            yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        while data := os.read(self._fd, CHUNK):
            yield data

    def _open(self) -> bool:
        self.__exit__()
        with contextlib.suppress(FileNotFoundError):
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self._fd >= 0

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self._path))
        except FileNotFoundError:
            return True  # between the two steps of a rotation, or deleted: the next look tells

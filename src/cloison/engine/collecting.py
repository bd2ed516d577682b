"""Run a command and collect its two output streams, while its input is fed. Bytes go through untouched."""

import contextlib
import os
import selectors
import time
from collections.abc import Callable

from cloison.engine.results import ExecResult
from cloison.spec.driver import Running

CHUNK = 65536
SIGKILL = 9
Run = Callable[[tuple[int, int, int]], Running]


def collect(run: Run, data: bytes, timeout_s: float | None) -> ExecResult:
    """Run it to its end. Raises TimeoutError when that takes longer than `timeout_s`; then it has been killed."""
    with contextlib.ExitStack() as stack:
        pipes = [os.pipe() for _ in range(3)]
        open_fds = {fd for pair in pipes for fd in pair}
        stack.callback(_close_all, open_fds)
        (in_reader, in_writer), (out_reader, out_writer), (err_reader, err_writer) = pipes
        execution = stack.enter_context(run((in_reader, out_writer, err_writer)))
        for fd in (in_reader, out_writer, err_writer):
            os.close(fd)
            open_fds.remove(fd)
        written = _Exchange(in_writer, data, (out_reader, err_reader), open_fds)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            written.run(execution.fileno(), deadline)
        except TimeoutError:
            execution.signal(SIGKILL)
            raise TimeoutError(f"the command did not end within {timeout_s:g} s and was killed") from None
        return ExecResult(execution.wait(), bytes(written.output[out_reader]), bytes(written.output[err_reader]))


def _close_all(fds: set[int]) -> None:
    for fd in fds:
        os.close(fd)


class _Exchange:
    """Feeds one pipe and empties others until all are at their end."""

    def __init__(self, writer: int, data: bytes, readers: tuple[int, ...], open_fds: set[int]) -> None:
        self.output = {fd: bytearray() for fd in readers}
        self._open_fds = open_fds
        self._rest = memoryview(data)
        self._selector = selectors.DefaultSelector()
        for fd in readers:
            self._selector.register(fd, selectors.EVENT_READ)
        if data:
            os.set_blocking(writer, False)
            self._selector.register(writer, selectors.EVENT_WRITE)
        else:
            self._close(writer)

    def run(self, ended: int, deadline: float | None) -> None:
        """Until the command has ended and what it wrote is read: a child that it left behind with its output open
        is not waited for."""
        self._selector.register(ended, selectors.EVENT_READ)
        has_ended = False
        with self._selector:
            while any(fd in self._open_fds for fd in self.output):
                events = self._selector.select(_left(deadline, has_ended=has_ended))
                if not events and has_ended:
                    return
                if not events and deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError
                for key, _ in events:
                    if key.fd == ended:
                        has_ended = True
                        self._selector.unregister(ended)
                    elif key.fd in self.output:
                        self._read(key.fd)
                    else:
                        self._write(key.fd)
            if not has_ended and deadline is not None and not self._selector.select(_left(deadline, has_ended=False)):
                raise TimeoutError

    def _read(self, fd: int) -> None:
        data = os.read(fd, CHUNK)
        self.output[fd] += data
        if not data:
            self._close(fd)

    def _write(self, fd: int) -> None:
        try:
            self._rest = self._rest[os.write(fd, self._rest[:CHUNK]) :]
        except BrokenPipeError:
            self._rest = self._rest[:0]
        if not self._rest:
            self._close(fd)

    def _close(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)
        os.close(fd)
        self._open_fds.remove(fd)


def _left(deadline: float | None, *, has_ended: bool) -> float | None:
    if has_ended:
        return 0.05
    return None if deadline is None else max(0.0, deadline - time.monotonic())

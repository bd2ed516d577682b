"""Work on a stream that goes on at the same time: reading and expanding it, taking its digest, unpacking it.

    chunks -> [thread: expand] -> queue -> the caller: parse, make files
                                       \\-> [thread: digest, skeleton]

Both threads spend their time in zlib and OpenSSL, which leave the interpreter to the caller meanwhile. What goes
wrong in one is raised in the caller, and both have ended when their block is left.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from cloison.images.compression import plain
from cloison.images.limits import RATIO_COUNTS_FROM, Limits, too_much
from cloison.kernel.process import Program

_AHEAD = 8  # chunks of at most a MiB that wait


class Aside:
    """A thread that does jobs in the order in which they come; see `aside`."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(_AHEAD)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="cloison-digest")
        self._thread.start()

    def do(self, job: Callable[[], None]) -> None:
        """Do this later. Raises what an earlier job raised."""
        if self._failure is not None:
            raise self._failure
        self._jobs.put(job)

    def finish(self) -> None:
        """Wait until all is done. Raises what a job raised."""
        self.end()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Wait for the thread's end; once is enough, twice does no harm."""
        if self._thread.is_alive():
            self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._failure is None:
                try:
                    job()
                except BaseException as failure:
                    self._failure = failure


@contextlib.contextmanager
def aside() -> Iterator[Aside]:
    """A thread beside the caller's, as long as the block."""
    worker = Aside()
    try:
        yield worker
    finally:
        worker.end()


class Expanded:
    """The uncompressed chunks of a stream; see `expanded`. `taken_bytes` counts those of the compressed one."""

    def __init__(self, chunks: Iterable[bytes], limits: Limits) -> None:
        self.taken_bytes = 0
        self._limits = limits
        self._ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._is_over = False
        self._thread = threading.Thread(target=self._work, args=(chunks,), name="cloison-expand")
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._ready.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def end(self) -> None:
        """Wait for the thread's end, which is that of the chunk that it reads just now."""
        self._is_over = True
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._ready.get_nowait()
            self._thread.join(0.002)

    def _work(self, chunks: Iterable[bytes]) -> None:
        try:
            given = 0
            for chunk in plain(self._counted(chunks)):
                given += len(chunk)
                if given > self._limits.bytes:
                    raise too_much("bytes", self._limits.bytes)
                if given > max(RATIO_COUNTS_FROM, self._limits.ratio * self.taken_bytes):
                    raise too_much("ratio", self._limits.ratio)
                self._ready.put(chunk)
                if self._is_over:
                    return
            self._ready.put(None)
        except BaseException as failure:
            self._ready.put(failure)

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.taken_bytes += len(chunk)
            yield chunk


@contextlib.contextmanager
def expanded(chunks: Iterable[bytes], limits: Limits) -> Iterator[Expanded]:
    """The uncompressed chunks of a stream, which another thread reads and expands, as long as the block."""
    feed = Expanded(chunks, limits)
    try:
        yield feed
    finally:
        feed.end()


def fed(program: Program, stream: Iterable[bytes]) -> None:
    """Write a stream to a program's standard input, and close that. A program that ends early tells why by itself."""
    assert program.popen.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        for chunk in stream:
            program.popen.stdin.write(chunk)
    with contextlib.suppress(BrokenPipeError):
        program.popen.stdin.close()

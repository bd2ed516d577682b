"""The caller's terminal: its mode, its size, and carrying bytes to and from it.

Source: termios(3), ioctl_tty(2).
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import termios
import time
import tty
from collections.abc import Callable, Iterator

_WINDOW = struct.Struct("HHHH")
CHUNK = 65536


def size(fd: int) -> tuple[int, int]:
    """(rows, columns) of a terminal; 24 by 80 where it does not say."""
    try:
        rows, cols, _x, _y = _WINDOW.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINDOW.size)))
    except OSError:
        return 24, 80
    return (rows, cols) if rows and cols else (24, 80)


def set_size(fd: int, rows: int, cols: int) -> None:
    """Set a terminal's size; who listens gets SIGWINCH."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, _WINDOW.pack(rows, cols, 0, 0))


@contextlib.contextmanager
def raw(fd: int) -> Iterator[None]:
    """Every key goes through untouched while this lasts; does nothing where `fd` is no terminal."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # what was typed ahead is kept
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


@contextlib.contextmanager
def keys(fd: int) -> Iterator[Callable[[float], str]]:
    """What waits so many seconds for a key and gives it, or nothing; Ctrl-C still interrupts. Keys are not shown while
    this lasts. Where `fd` is no terminal, it only waits."""
    if not os.isatty(fd):
        yield _no_key
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSADRAIN)
        yield lambda timeout_s: _key(fd, timeout_s)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _no_key(timeout_s: float) -> str:
    time.sleep(timeout_s)
    return ""


def _key(fd: int, timeout_s: float) -> str:
    ready, _, _ = select.select((fd,), (), (), timeout_s)
    return read_some(fd).decode(errors="replace") if ready else ""


@contextlib.contextmanager
def on_resize(fd: int, tell: Callable[[int, int], None]) -> Iterator[None]:
    """Call `tell(rows, columns)` whenever the terminal changes its size. Main thread only."""

    def changed(_number: int, _frame: object) -> None:
        tell(*size(fd))

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextlib.contextmanager
def forwarding(tell: Callable[[int], None]) -> Iterator[None]:
    """Hand SIGINT, SIGTERM, SIGHUP and SIGQUIT on instead of ending. Main thread only."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = [(number, signal.signal(number, lambda n, _frame: tell(n))) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def write_all(fd: int, data: bytes) -> None:
    """Write everything, waiting where the other side is slow."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select((), (fd,), ())


def read_some(fd: int) -> bytes:
    """What is there; empty at the end, which a terminal whose other side is closed says with EIO."""
    try:
        return os.read(fd, CHUNK)
    except OSError as problem:
        if problem.errno == errno.EIO:
            return b""
        raise


class Pump:
    """Bytes on their way from one descriptor to another; closes the target at the end where `owns_target`."""

    def __init__(self, source: int, target: int, *, owns_target: bool = False) -> None:
        self.source = source
        self._target = target
        self._owns_target = owns_target
        self.is_open = True

    def move(self) -> None:
        """Carry over what is there. A target that nobody reads any more ends it."""
        data = read_some(self.source)
        if data:
            try:
                write_all(self._target, data)
                return
            except BrokenPipeError:
                pass
        self.close()

    def close(self) -> None:
        """Let go of the target."""
        if self.is_open and self._owns_target:
            os.close(self._target)
        self.is_open = False


def pump_until(pumps: list[Pump], ended: int, *, drain: list[Pump]) -> None:
    """Run `pumps` until the descriptor `ended` is readable, then `drain` until they run dry or 0.2 s are quiet."""
    while True:
        sources = [pump.source for pump in pumps if pump.is_open]
        ready, _, _ = select.select([*sources, ended], (), ())
        for pump in pumps:
            if pump.is_open and pump.source in ready:
                pump.move()
        if ended in ready:
            break
    while waiting := [pump for pump in drain if pump.is_open]:
        ready, _, _ = select.select([pump.source for pump in waiting], (), (), 0.2)
        if not ready:
            return
        for pump in waiting:
            if pump.source in ready:
                pump.move()

"""A command's or a console's streams, joined to those of the caller's process. For faces on a terminal."""

import contextlib
import os
import select
from collections.abc import Callable

from cloison.base.escapes import harmless
from cloison.base.signals import signal_number
from cloison.kernel import terminal
from cloison.kernel.terminal import Pump
from cloison.runtime.monitor import Connection, MonitorGone
from cloison.spec.driver import Running, Stdio

ESCAPE = b"\x01"  # Ctrl-a, as lxc-console and screen have it
LEAVE = b"q"
REPLAYED = 1 << 16

Run = Callable[[Stdio], Running]


def on_terminal(execution: Running) -> int:
    """Run the terminal of `execution` on the caller's until it ends; gives the exit code."""
    master = execution.terminal
    with (
        terminal.raw(0),
        terminal.on_resize(0, lambda rows, cols: terminal.set_size(master, rows, cols)),
        terminal.forwarding(execution.signal),
    ):
        out = Pump(master, 1)
        terminal.pump_until([Pump(0, master), out], execution.fileno(), drain=[out])
    return execution.wait()


def on_streams(run: Run) -> int:
    """Run a command on the caller's own three streams; gives the exit code.

    A stream that is a pipe or a file is handed over itself: not a byte is touched. A terminal of the host is not
    handed over (its holder could type into it); a pipe stands in for it."""
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        feed: list[Pump] = []
        show: list[Pump] = []
        handed = []
        for number in (0, 1, 2):
            if not os.isatty(number):
                handed.append(number if _is_open(number) else _null(theirs))
                continue
            reader, writer = os.pipe()
            mine, given = (writer, reader) if number == 0 else (reader, writer)
            theirs.callback(os.close, given)
            handed.append(given)
            if number == 0:
                feed.append(Pump(0, mine, owns_target=True))
                ours.callback(feed[0].close)
            else:
                show.append(Pump(mine, number))
                ours.callback(os.close, mine)
        signals = _Signals()
        with terminal.forwarding(signals), run((handed[0], handed[1], handed[2])) as execution:
            theirs.close()  # the command has its own copies: an end of file is one only when ours are gone
            signals.reach(execution.signal)
            return _wait(execution, feed + show, show)


class _Signals:
    """Signals for a command, from before it runs: it may have spoken before its start is reported to us. What comes
    early is kept for it; but a Ctrl-C then gives up the start."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._tell: Callable[[int], object] | None = None

    def __call__(self, number: int) -> None:
        if self._tell is not None:
            self._tell(number)
        elif number == signal_number("SIGINT"):
            raise KeyboardInterrupt
        else:
            self._kept.append(number)

    def reach(self, tell: Callable[[int], object]) -> None:
        """From now on they reach the command."""
        self._tell = tell
        for number in self._kept:
            tell(number)


def _wait(execution: Running, pumps: list[Pump], drain: list[Pump]) -> int:
    if pumps:
        terminal.pump_until(pumps, execution.fileno(), drain=drain)
    return execution.wait()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _null(stack: contextlib.ExitStack) -> int:
    fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def on_console(connection: Connection, past: bytes) -> bool:
    """Show `past`, then carry the console until the monitor lets go of it or the user types Ctrl-a q, which is True."""
    terminal.write_all(1, harmless(past))  # or the terminal answers what the guest asked it long ago
    connection.window(*terminal.size(0))
    is_escaped = False
    with terminal.raw(0), terminal.on_resize(0, connection.window), contextlib.suppress(MonitorGone, BrokenPipeError):
        sources: list[int] = [0, connection.fileno()]
        while True:
            ready, _, _ = select.select(sources, (), ())
            if connection.fileno() in ready:
                data = connection.read()
                if not data:
                    return False
                terminal.write_all(1, data)
            if 0 in ready:
                typed = terminal.read_some(0)
                if not typed:
                    sources.remove(0)  # what feeds us has ended: go on showing
                    continue
                typed, is_escaped, leaves = unescape(typed, is_escaped=is_escaped)
                if typed:
                    connection.write(typed)
                if leaves:
                    terminal.write_all(1, b"\r\n")
                    return True
    return False


def tail(log: str, size: int) -> bytes:
    """The last of what a console showed before its log had `size` bytes."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, size - REPLAYED))
            return file.read(min(size, REPLAYED))
    except FileNotFoundError:
        return b""


def unescape(typed: bytes, *, is_escaped: bool) -> tuple[bytes, bool, bool]:
    """What of `typed` is meant for the console, whether an escape is pending, whether the user leaves.

    Ctrl-a Ctrl-a sends one Ctrl-a; Ctrl-a with any other key sends both."""
    through = b""
    for byte in (typed[i : i + 1] for i in range(len(typed))):
        if is_escaped:
            if byte == LEAVE:
                return through, False, True
            through += byte if byte == ESCAPE else ESCAPE + byte
            is_escaped = False
        elif byte == ESCAPE:
            is_escaped = True
        else:
            through += byte
    return through, is_escaped, False

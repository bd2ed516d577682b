"""Talk to a monitor over its socket.

A request has 12 bytes (native byte order): operation, three zeros, two 32-bit arguments. The answer has 16: result
(0 or -errno), state (1 running, 2 stopping), pid of the init as the host sees it, wait status. After CONSOLE the
connection is a stream of packets: `d` and bytes of input, `w` and two 16-bit numbers for rows and columns; packets
from the monitor are output.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

import msgspec

from cloison.base.errors import Busy, WrongState
from cloison.kernel.descriptors import receive

STATUS, PIDFD, SIGNAL, WAIT, CONSOLE, RESIZE = range(1, 7)
STOPPING = 2
STATUS_PATIENCE_S = 0.3  # an answer takes microseconds, and a list of many instances must not wait for a stuck one
ANSWER_PATIENCE_S = 15.0  # longer than the undo steps of a monitor that has just begun to end
_REQUEST = struct.Struct("=B3xII")
_ANSWER = struct.Struct("=iIii")
_CREDENTIALS = struct.Struct("=iII")
_WINDOW = struct.Struct("=cHH")
_TIMEVAL = struct.Struct("@ll")


class Status(msgspec.Struct, frozen=True):
    """What a monitor says of itself and of its init; pids as the host sees them."""

    is_stopping: bool
    pid: int
    monitor_pid: int


class Ended(msgspec.Struct, frozen=True):
    """How an instance ended: the wait status of its init, and whether everything could be taken back."""

    wait_status: int
    is_clean: bool


class MonitorGone(WrongState):
    """There is no monitor (any more) at this socket."""

    code = "monitor-gone"


class NoAnswer(Busy):
    """The monitor is there, and has something else to do."""

    code = "no-answer"

    def __init__(self) -> None:
        super().__init__("its monitor does not answer", hint="it is starting, or taking everything back: try again")


class Connection:
    """One connection; a context manager."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def fileno(self) -> int:
        """For poll(2)."""
        return self._sock.fileno()

    def status(self, timeout_s: float = STATUS_PATIENCE_S) -> Status | None:
        """What is going on; None where nobody answers: it is still starting, or taking everything back."""
        try:
            self.ask_status()
        except NoAnswer:
            return None
        return self.told_status(timeout_s)

    def ask_status(self) -> None:
        """Ask what is going on, and do not wait: `told_status` does."""
        with _gone_if_broken():
            self._sock.send(_REQUEST.pack(STATUS, 0, 0))

    def told_status(self, timeout_s: float = STATUS_PATIENCE_S) -> Status | None:
        """The answer to `ask_status`; None where there is none in time."""
        with self._patience(timeout_s):
            try:
                _result, state, pid, _status = self._answer()
            except NoAnswer:
                return None
        return Status(state == STOPPING, pid, self.monitor_pid())

    def pidfd(self) -> int:
        """A pidfd of the init, owned by the caller: no pid can be mistaken for another."""
        with _gone_if_broken():
            self._sock.send(_REQUEST.pack(PIDFD, 0, 0))
            data, fd = receive(self._sock, _ANSWER.size)
        if not data or fd < 0:
            raise MonitorGone("the monitor has ended")
        return fd

    def signal(self, number: int, *, is_stop: bool = False) -> int:
        """Send the init a signal; gives 0 or an errno. A stop is remembered: a reboot does not undo it."""
        return -self._ask(SIGNAL, number, int(is_stop))[0]

    def wait(self, timeout_s: float | None = None) -> Ended | None:
        """Wait until everything is over and taken back; None when that did not happen in time."""
        with _gone_if_broken():
            self._sock.send(_REQUEST.pack(WAIT, 0, 0))
        return self.ended(timeout_s)

    def ended(self, timeout_s: float | None = None) -> Ended | None:
        """Wait on for what an earlier `wait` asked for."""
        with self._patience(timeout_s):
            try:
                result, _state, _pid, status = self._answer()
            except NoAnswer:
                return None
        return Ended(status, result == 0)

    def resize(self, rows: int, cols: int) -> None:
        """Set the console's size."""
        self._ask(RESIZE, rows, cols)

    def attach_console(self) -> int:
        """From here on this connection carries the console: `read`, `write`, `window`. Gives the size of the log at
        this moment: what is shown next follows what was written until then."""
        result, _state, _pid, size = self._ask(CONSOLE)
        if result:
            raise WrongState("it has no console", hint="its init runs without a terminal")
        return size

    def read(self) -> bytes:
        """Console output; empty when the monitor has closed the connection."""
        try:
            return self._sock.recv(65536)
        except ConnectionResetError:
            return b""

    def write(self, data: bytes) -> None:
        """Console input."""
        for start in range(0, len(data), 2048):
            with _gone_if_broken():
                self._sock.send(b"d" + data[start : start + 2048])

    def window(self, rows: int, cols: int) -> None:
        """Set the console's size, on an attached connection."""
        with _gone_if_broken():
            self._sock.send(_WINDOW.pack(b"w", rows, cols))

    def _ask(self, operation: int, a: int = 0, b: int = 0) -> tuple[int, int, int, int]:
        with _gone_if_broken():
            self._sock.send(_REQUEST.pack(operation, a, b))
        return self._answer()

    @contextlib.contextmanager
    def _patience(self, timeout_s: float | None) -> Iterator[None]:
        self._sock.settimeout(timeout_s)
        try:
            yield
        finally:
            self._sock.settimeout(ANSWER_PATIENCE_S)

    def _answer(self) -> tuple[int, int, int, int]:
        with _gone_if_broken():
            data = self._sock.recv(_ANSWER.size)
        if len(data) != _ANSWER.size:
            raise MonitorGone("the monitor has ended")
        result, state, pid, status = _ANSWER.unpack(data)
        return result, state, pid, status

    def monitor_pid(self) -> int:
        """Who listens at the other end, as the host sees it."""
        raw = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(raw)[0])


def connect(path: str) -> Connection:
    """Connect to the monitor whose socket is `path`. Raises MonitorGone.

    The address goes through a descriptor of the directory: unix(7) has room for 107 bytes only."""
    directory, name = os.path.split(path)
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MonitorGone("there is no monitor") from None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(1, 0))  # for a queue that nobody empties
    try:
        sock.connect(f"/proc/self/fd/{fd}/{name}")
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        raise MonitorGone("there is no monitor") from None
    except BlockingIOError:
        sock.close()
        raise NoAnswer() from None
    finally:
        os.close(fd)
    sock.settimeout(ANSWER_PATIENCE_S)
    return Connection(sock)


@contextlib.contextmanager
def _gone_if_broken() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, ConnectionResetError):
        raise MonitorGone("the monitor has ended") from None
    except (TimeoutError, BlockingIOError):
        raise NoAnswer() from None

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

from cloison.base.errors import WrongState

STATUS, PIDFD, SIGNAL, WAIT, CONSOLE, RESIZE = range(1, 7)
STOPPING = 2
_REQUEST = struct.Struct("=B3xII")
_ANSWER = struct.Struct("=iIii")
_CREDENTIALS = struct.Struct("=iII")
_WINDOW = struct.Struct("=cHH")


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

    def status(self) -> Status:
        """What is going on."""
        _result, state, pid, _status = self._ask(STATUS)
        return Status(state == STOPPING, pid, self._monitor_pid())

    def pidfd(self) -> int:
        """A pidfd of the init, owned by the caller: no pid can be mistaken for another."""
        with _gone_if_broken():
            self._sock.send(_REQUEST.pack(PIDFD, 0, 0))
            data, fds, _flags, _address = socket.recv_fds(self._sock, _ANSWER.size, 1)
        if not data or not fds:
            raise MonitorGone("the monitor has ended")
        return fds[0]

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
        self._sock.settimeout(timeout_s)
        try:
            result, _state, _pid, status = self._answer()
        except TimeoutError:
            return None
        finally:
            self._sock.settimeout(None)
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

    def _answer(self) -> tuple[int, int, int, int]:
        with _gone_if_broken():
            data = self._sock.recv(_ANSWER.size)
        if len(data) != _ANSWER.size:
            raise MonitorGone("the monitor has ended")
        result, state, pid, status = _ANSWER.unpack(data)
        return result, state, pid, status

    def _monitor_pid(self) -> int:
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
    try:
        sock.connect(f"/proc/self/fd/{fd}/{name}")
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        raise MonitorGone("there is no monitor") from None
    finally:
        os.close(fd)
    return Connection(sock)


@contextlib.contextmanager
def _gone_if_broken() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, ConnectionResetError):
        raise MonitorGone("the monitor has ended") from None

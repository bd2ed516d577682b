"""Run a plan: start the launcher with it and listen to what it reports.

Descriptors of the launcher: 0, 1, 2 for the payload; 3 the plan; 4 the report socket; 5, 6, ... the plan's inherited
slots. A report record has 24 bytes, native byte order:

    0   1   type (the constants below)
    1   1   where: 0 host, 1 inside
    2   2   zero
    4   4   index of the step
    8   4   errno
    12  4   value
    16  8   CLOCK_MONOTONIC, in nanoseconds

With the failure of a program of the host comes a file: the beginning of what that wrote to its standard error.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence

import msgspec

from cloison.base.errors import Bug, Unsupported
from cloison.kernel.descriptors import receive
from cloison.kernel.spawn import spawn
from cloison.plan.codec import encode
from cloison.plan.plan import Plan
from cloison.plan.text import call
from cloison.spec.driver import StepDone

STEP, FAILED, WARNING, STARTED, EXITED, INVALID, FD, UNDO_FAILED, UNDONE = range(1, 10)
_WORDS_BYTES = 1024
_RECORD = struct.Struct("=BBHIiiQ")
_PASSED_ON = ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "CLOISON_ROOT")


class Report(msgspec.Struct, frozen=True):
    """One record; `fd` is a descriptor that came with it (owned by the receiver), or -1. `said` are the words of a
    program that failed."""

    type: int
    index: int
    errno: int
    value: int
    monotonic_ns: int
    fd: int = -1
    said: str = ""


Listener = Callable[[Report], None]


def program() -> str:
    """The launcher's executable: the installed one, or what CLOISON_LAUNCHER names (a test build)."""
    path = os.environ.get("CLOISON_LAUNCHER") or os.path.join(
        os.path.dirname(os.path.dirname(__file__)), "_native", "launcher"
    )
    if not os.access(path, os.X_OK):
        raise Unsupported(f"the launcher {path} is not there", hint="install cloison with `make build`")
    return path


class Launch:
    """A launcher at work. A context manager: leaving it closes the report socket and reaps the process."""

    def __init__(self, pid: int, reports: socket.socket) -> None:
        self.pid = pid
        self._reports = reports
        self._is_reaped = False

    def __enter__(self) -> "Launch":
        return self

    def __exit__(self, *_: object) -> None:
        self._reports.close()
        self.reap()

    def __iter__(self) -> Iterator[Report]:
        """The reports until the launcher has no more to say."""
        while (report := self.next()) is not None:
            yield report

    def next(self, timeout_s: float | None = None) -> Report | None:
        """The next report; None at the end. Raises TimeoutError."""
        self._reports.settimeout(timeout_s)
        data, fd = receive(self._reports, _RECORD.size)
        if not data:
            return None
        kind, _where, _zero, index, errno, value, stamp = _RECORD.unpack(data)
        if kind == FAILED and fd >= 0:
            return Report(kind, index, errno, value, stamp, said=_words(fd))
        return Report(kind, index, errno, value, stamp, fd)

    def fileno(self) -> int:
        """The report socket, for poll(2)."""
        return self._reports.fileno()

    def reap(self) -> int:
        """Wait for the launcher's own end; gives its exit code. Quick once it has reported its last."""
        if self._is_reaped:
            return 0
        self._is_reaped = True
        with contextlib.suppress(ChildProcessError):
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return 0


def _words(fd: int) -> str:
    """What is in a file of words, on one line; its end is zeros. Takes the descriptor."""
    try:
        raw = os.pread(fd, _WORDS_BYTES, 0).rstrip(b"\0")
    finally:
        os.close(fd)
    text = " ".join(raw.decode("utf-8", "replace").split())
    return "".join(each if each.isprintable() else "?" for each in text)


def launch(
    plan_fd: int,
    *,
    name: str,
    mode: str = "",
    stdio: Sequence[int] = (),
    inherited: Sequence[int] = (),
    is_privileged: bool = False,
) -> Launch:
    """Start the launcher with the encoded plan behind `plan_fd`; the caller keeps all its descriptors.

    `stdio` are the payload's three streams; none stands for the null device. For a plan that enters a privileged
    container the launcher is run from a read-only face of its file."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as on_failure:
        on_failure.callback(ours.close)
        stack.callback(theirs.close)
        if not stdio:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, null)
            stdio = (null, null, null)
        argv = [name, mode] if mode else [name]
        executable = program()
        if is_privileged:
            from cloison.kernel.sealed import read_only

            sealed = read_only(executable)
            stack.callback(os.close, sealed)
            executable = f"/proc/self/fd/{sealed}"
        pid = spawn(executable, argv, environment(), [*stdio, plan_fd, theirs.fileno(), *inherited])
        on_failure.pop_all()
    return Launch(pid, ours)


def environment() -> dict[str, str]:
    """What the launcher, and through it a reboot's new command, knows of the caller's environment."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {name: value for name, value in os.environ.items() if name.startswith("CLOISON_")}


def plan_in_memory(plan: Plan, *, verbose: bool = False) -> int:
    """A descriptor with the encoded plan, for plans that need no journal: nothing of them outlives their process."""
    fd = os.memfd_create("cloison-plan", os.MFD_CLOEXEC)
    try:
        os.write(fd, encode(plan, verbose=verbose))
    except BaseException:
        os.close(fd)
        raise
    return fd


def step_done(plan: Plan, report: Report) -> StepDone:
    """A report of a step, with its text, for who watches."""
    warning = os.strerror(report.errno) if report.type == WARNING else ""
    return StepDone(report.index, call(plan.actions[report.index].step), report.monotonic_ns, warning)


def refused(report: Report, title: str) -> Bug:
    """The launcher did not even accept the plan."""
    return Bug(f"the launcher refused the plan {title!r} at byte {report.value}", byte=report.value)

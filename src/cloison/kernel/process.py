"""Programs of the host: run, listened to and, when the caller leaves, ended.

Every program started here has a session of its own: Ctrl-C at a terminal reaches the caller alone, who then
ends the program and all of its children through the process group. Nothing runs between fork and exec
(no `preexec_fn`): what must be set there is set by util-linux's setpriv(1) and unshare(1).
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from cloison.kernel import programs

_CHUNK_BYTES = 1 << 20
PIPE = subprocess.PIPE


class Finished(msgspec.Struct, frozen=True):
    """How a program ended: `code` is its exit status, or minus the number of the signal that ended it."""

    code: int
    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float | None = None,
) -> Finished:
    """Run `argv` to its end, and keep what it wrote. Raises TimeoutError, after ending it, when `timeout_s` is over."""
    with started(argv, env=env, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        try:
            stdout, stderr = program.popen.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as late:
            raise TimeoutError(f"{argv[0]} took longer than {timeout_s} s") from late
        return Finished(program.popen.returncode, stdout, stderr)


def run_here(argv: Sequence[str]) -> int:
    """Run `argv` on the caller's own streams and terminal: an editor. Its exit status, or minus a signal's number.

    What is typed is the program's, Ctrl-C included: it is of the caller's session."""
    with subprocess.Popen(argv) as popen:
        while True:
            try:
                return popen.wait()
            except KeyboardInterrupt:
                continue  # the program has heard it, too, and knows what to do


class Program:
    """A program that is running; made by `started`, which also ends it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen

    def chunks(self) -> Iterator[bytes]:
        """What it writes to its standard output, up to 1 MiB at a time, until it closes it."""
        assert self.popen.stdout is not None
        while chunk := self.popen.stdout.read(_CHUNK_BYTES):
            yield chunk

    def lines(self) -> Iterator[str]:
        """The lines of its standard output, without their ends, each as soon as it is written.

        A carriage return ends a line as well: progress bars are written with it."""
        assert self.popen.stdout is not None
        rest = b""
        while chunk := os.read(self.popen.stdout.fileno(), 65536):
            *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def wait(self) -> int:
        """Wait for its end; its exit status, or minus a signal's number."""
        return self.popen.wait()


@contextlib.contextmanager
def started(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stderr: int = subprocess.STDOUT,
    keep_fds: tuple[int, ...] = (),
    grace_s: float = 2.0,
    is_confined: bool = False,
) -> Iterator[Program]:
    """Start `argv` with its output on a pipe; when the block is left, whatever still runs of it is ended.

    `stderr` is a descriptor, and by default goes where the output goes. `keep_fds` stay open in the program.
    Its group is sent SIGTERM, and SIGKILL `grace_s` seconds later (at once, if 0). umask is 022.

    `is_confined`: in mount, PID, IPC and UTS namespaces of its own, which needs CAP_SYS_ADMIN and ends with the
    caller's thread, however that ends. When the block is left, no process and no mount of it exists any more."""
    popen = subprocess.Popen(
        _confined(argv) if is_confined else argv,
        env=env,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        pass_fds=keep_fds,
        start_new_session=True,
        umask=0o022,
    )
    try:
        yield Program(popen)
    finally:
        if is_confined and popen.returncode is None and _end_namespace(popen.pid):
            popen.wait()
        _end(popen, grace_s)
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            if pipe is not None:
                pipe.close()


def _end(popen: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the group of `popen`, whose number is safe until it is waited for, and wait."""
    if popen.returncode is None and grace_s > 0:
        os.killpg(popen.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(grace_s)
    if popen.returncode is None:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def _end_namespace(unshare: int) -> bool:
    """Kill the init of the PID namespace that the child `unshare` has made; False on a kernel that hides it.

    Not `unshare` itself: it waits for that init, which can only be waited for once all others in the namespace are
    gone (pid_namespaces(7)). Were it killed, they would die as well, but at some later moment, busy in files that the
    caller removes now. Source: proc_pid_task(5), `children`, since Linux 3.5."""
    while not _is_over(unshare):
        try:
            with open(f"/proc/{unshare}/task/{unshare}/children") as file:
                children = file.read().split()
        except FileNotFoundError:
            return False
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(children[0]), signal.SIGKILL)
            return True
        time.sleep(0.001)  # it has not forked yet, or its child has ended and it is about to
    return True


def _is_over(pid: int) -> bool:
    """Whether the child `pid` has ended; it stays to be waited for. Source: waitid(2), WNOWAIT."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def dying_with_caller(argv: Sequence[str]) -> list[str]:
    """`argv`, so changed that the program gets SIGKILL when the thread that started it ends, however it ends.

    Source: setpriv(1), `--pdeathsig`; prctl(2), PR_SET_PDEATHSIG. The program's own children are not included."""
    return [programs.needed("setpriv", package="util-linux"), "--pdeathsig", "KILL", *argv]


def _confined(argv: Sequence[str]) -> list[str]:
    """`argv` in namespaces that end with the caller. Source: unshare(1), `--kill-child`."""
    unshare = programs.needed("unshare", package="util-linux")
    namespaces = ("--mount", "--pid", "--ipc", "--uts", "--mount-proc", "--fork", "--kill-child")
    return dying_with_caller([unshare, *namespaces, "--", *argv])

"""Whole processes, timed from spawn to the end of the wait, with no shell between and a plain environment."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

# No PYTHON* of the caller's: a variable that forbids bytecode would slow down our own command only.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"}
LAUNCHER = "CLOISON_LAUNCHER"  # a build of the launcher that is not installed
if LAUNCHER in os.environ:
    ENVIRONMENT[LAUNCHER] = os.environ[LAUNCHER]


class Failed(Exception):
    """A command did not do what it was asked; the row is left out and says so."""


def found(program: str) -> str:
    """The program's absolute path. Raises Failed where it is not installed."""
    path = shutil.which(program, path=PATH)
    if path is None:
        raise Failed(f"{program} is not installed")
    return path


def timed(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Milliseconds of one run. Raises Failed when it exits with anything but 0."""
    with tempfile.TemporaryFile() as said:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, said.fileno(), 2),
        ]
        began = time.perf_counter_ns()
        pid = os.posix_spawn(command[0], command, environment or ENVIRONMENT, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        ended = time.perf_counter_ns()
        if code:
            said.seek(0)
            raise Failed(_sentence(command, code, said.read()))
    return (ended - began) / 1e6


def output(command: Sequence[str], environment: dict[str, str] | None = None, timeout_s: float = 60) -> str:
    """What a command prints, for what is not measured. Raises Failed."""
    done = subprocess.run(
        command, env=environment or ENVIRONMENT, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout_s
    )
    if done.returncode:
        raise Failed(_sentence(command, done.returncode, done.stderr))
    return done.stdout.decode(errors="replace")


def _sentence(command: Sequence[str], code: int, said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return f"{os.path.basename(command[0])} exited with {code}" + (f": {lines[-1][:160]}" if lines else "")


class Elsewhere:
    """Times commands in a mount namespace of its own. Use `elsewhere`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def timed(self, command: Sequence[str]) -> float:
        """Milliseconds of one run there. Raises Failed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(command)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if len(answer) != 2 or answer[1] != "0":
            raise Failed(f"{os.path.basename(command[0])} exited with {answer[1] if answer else 'nothing'}")
        return int(answer[0]) / 1e6


@contextlib.contextmanager
def elsewhere(*, without: Sequence[str]) -> Iterator[Elsewhere]:
    """A mount namespace like ours, but without the mounts at the paths `without`."""
    script = "".join(f"umount '{path}' && " for path in without) + 'exec "$@"'
    inner = [sys.executable, "-I", "-S", str(Path(__file__).with_name("elsewhere.py"))]
    process = subprocess.Popen(
        [found("unshare"), "--mount", "--propagation", "private", "sh", "-c", script, "sh", *inner],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Elsewhere(process)
        assert process.stdin is not None
        process.stdin.close()

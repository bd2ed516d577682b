"""Start a program with exactly the descriptors it is meant to have.

posix_spawn(3) and not fork(2): a caller may have threads, and its memory is not copied. Source: posix_spawn(3).
"""

import fcntl
import os
from collections.abc import Mapping, Sequence

_ABOVE_TARGETS = 128  # copies are made up here first, so that no target overwrites a source


def spawn(program: str, argv: list[str], env: Mapping[str, str], fds: Sequence[int]) -> int:
    """Start `program` with `fds[0]` as its descriptor 0, `fds[1]` as 1 and so on; gives its pid.

    Every other descriptor has to be close-on-exec, as Python makes them. Signal handlers and mask are the defaults.
    Raises OSError where the program cannot be started."""
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_TARGETS))
        actions = [(os.POSIX_SPAWN_DUP2, copy, target) for target, copy in enumerate(copies)]
        return os.posix_spawn(program, argv, env, file_actions=actions, setsigmask=(), setsigdef=_RESET)
    finally:
        for copy in copies:
            os.close(copy)


_RESET = (2, 13, 25)  # SIGINT, SIGPIPE, SIGXFSZ: Python changes these three

"""Run and time commands in the mount namespace that this process has been started in.

Reads one JSON list per line (a command), answers `<nanoseconds> <exit code>`. Started by `processes.Elsewhere`, with
`python -I -S`, so it imports nothing of the bench.
"""

import json
import os
import sys
import time


def main() -> None:
    """Serve until standard input ends. The commands have no input and no output."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    for line in sys.stdin:
        command = json.loads(line)
        began = time.perf_counter_ns()
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(time.perf_counter_ns() - began, code, flush=True)


if __name__ == "__main__":
    main()

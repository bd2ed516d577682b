"""Network namespaces for a test, and programs that look into them."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any


class Namespace:
    """A network namespace of nobody else; made by `new_namespace`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def run(self, *command: str) -> str:
        """What a program says there. Raises CalledProcessError."""
        words = ["nsenter", f"--net=/proc/self/fd/{self.fd}", *command]
        return subprocess.run(words, pass_fds=[self.fd], capture_output=True, text=True, check=True).stdout

    def json(self, *command: str) -> Any:
        """The same of a program that says JSON."""
        return json.loads(self.run(*command) or "[]")

    def link(self, name: str) -> Any:
        """An interface as ip(8) shows it."""
        return self.json("ip", "-json", "-details", "link", "show", "dev", name)[0]

    def names(self) -> set[str]:
        """The names of its interfaces, as the kernel lists them in /proc."""
        lines = self.run("cat", "/proc/thread-self/net/dev").splitlines()[2:]
        return {line.partition(":")[0].strip() for line in lines}


@contextlib.contextmanager
def new_namespace() -> Iterator[Namespace]:
    """One that lives as long as the test, with its loopback down. It is no router, whatever the machine is: a new
    namespace takes its settings of IPv4 from the first one."""
    program = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with program, contextlib.ExitStack() as stack:
        assert program.stdin is not None and program.stdout is not None
        stack.callback(program.stdin.close)  # which ends cat
        program.stdin.write(b"\n")
        program.stdin.flush()
        assert program.stdout.readline() == b"\n"  # it is in its namespace
        fd = os.open(f"/proc/{program.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        found = Namespace(fd)
        found.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        yield found

"""Small facts about other processes. Source: proc(5)."""

import contextlib
import errno
import os
from collections.abc import Iterator


def comm(pid: int) -> str:
    """The name that a process goes by, of at most 15 bytes; empty for one that has ended."""
    try:
        fd = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(fd, 64).decode(errors="replace").rstrip("\n")
    except ProcessLookupError:
        return ""
    finally:
        os.close(fd)


def pidfd(pid: int) -> int:
    """A descriptor that stands for a process, which the caller owns; -1 where the process has ended.

    Of one whose number is just being given back, kernels say EINVAL instead of ESRCH (seen on Linux 6.1)."""
    try:
        return os.pidfd_open(pid)
    except OSError as problem:
        if problem.errno in (errno.ESRCH, errno.EINVAL):
            return -1
        raise


def command_lines(name: str) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The processes that go by `name`, each with its arguments. Looks at every process: not for a hot path."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and comm(int(entry)) == name:
            with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")[:-1]
                found.append((int(entry), tuple(os.fsdecode(word) for word in words)))
    return tuple(found)


def is_in_our_network(pid: int) -> bool:
    """Whether a process is in the caller's network namespace; not when it has ended."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/thread-self/ns/net"))
    except OSError:
        return False


def holders(path: str) -> tuple[int, ...]:
    """The processes that have the file `path` open, but for this one. Looks at every process: not for a hot path."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())
    return tuple(pid for pid in pids if _holds(pid, path))


def _holds(pid: int, path: str) -> bool:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") == path:
                    return True
    return False


def traffic(text: str) -> tuple[int, int]:
    """Bytes received and sent by all interfaces but the loopback, from a text of net/dev. Source: proc_pid_net(5)."""
    received = sent = 0
    for line in text.splitlines():
        name, colon, numbers = line.rpartition(":")
        words = numbers.split()
        if colon and name.strip() != "lo" and len(words) >= 9:
            received, sent = received + int(words[0]), sent + int(words[8])
    return received, sent


def network(pid: int, beside: int) -> str | None:
    """The net/dev of a process; None where it shares its network namespace with the process `beside`, or has ended."""
    try:
        if os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat(f"/proc/{beside}/ns/net")):
            return None
        with open(f"/proc/{pid}/net/dev", "rb", buffering=0) as file:
            return file.readall().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[int]:
    """A descriptor of a process's network namespace, for as long as the context lasts. Raises FileNotFoundError."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)

"""Small facts about other processes. Source: proc(5)."""

import os


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

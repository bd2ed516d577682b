"""The capabilities of the calling process. Source: capabilities(7), proc(5) (/proc/PID/status)."""

import os


def bounding() -> int:
    """The bounding set as a mask: what this process and its children can ever have."""
    fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.read(fd, 1 << 14)
    finally:
        os.close(fd)
    start = status.index(b"CapBnd:") + 7
    return int(status[start : status.index(b"\n", start)], 16)

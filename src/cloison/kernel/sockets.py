"""Sockets that listen on this host, and whose they are. Source: proc_pid_net(5), proc_pid_fd(5).

Every process is looked at only where a name is wanted for a socket that was found: not for a hot path.
"""

import contextlib
import os
import sys

import msgspec

from cloison.base import inet
from cloison.kernel import procfs

_TCP_LISTEN, _UDP_UNCONNECTED = 0x0A, 0x07


class Listener(msgspec.Struct, frozen=True):
    """One socket: `protocol` tcp or udp; `address` may be 0.0.0.0 or ::."""

    protocol: str
    address: str
    port: int
    inode: int


def listening(directory: str = "/proc/self/net") -> tuple[Listener, ...]:
    """Every TCP socket that listens and every UDP socket that is not connected, in the caller's network namespace."""
    found: list[Listener] = []
    for name, state in (("tcp", _TCP_LISTEN), ("tcp6", _TCP_LISTEN), ("udp", _UDP_UNCONNECTED), ("udp6", 0x07)):
        with contextlib.suppress(FileNotFoundError), open(f"{directory}/{name}") as file:
            lines = file.read().splitlines()[1:]
            found += [each for each in (_listener(name[:3], line, state) for line in lines) if each is not None]
    return tuple(found)


def owner(inode: int) -> str:
    """The process that has a socket open, as `nginx (process 812)`; empty where it cannot be found."""
    target = f"socket:[{inode}]"
    for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{name}") == target:
                        return f"{procfs.comm(pid)} (process {pid})"
    return ""


def _listener(protocol: str, line: str, state: int) -> Listener | None:
    words = line.split()
    if len(words) < 10 or int(words[3], 16) != state:
        return None
    address, _, port = words[1].partition(":")
    return Listener(protocol, _address(address), int(port, 16), int(words[9]))


def _address(digits: str) -> str:
    """Words of 32 bits in the byte order of the machine, each in hexadecimal."""
    raw = bytes.fromhex(digits)
    words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
    return inet.text(b"".join(word[::-1] if sys.byteorder == "little" else word for word in words))

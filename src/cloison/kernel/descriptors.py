"""Descriptors that arrive over a socket. Source: unix(7), SCM_RIGHTS; recvmsg(2), MSG_CMSG_CLOEXEC."""

import socket
import struct

_FD = struct.Struct("@i")


def receive(sock: socket.socket, size: int) -> tuple[bytes, int]:
    """A message of at most `size` bytes and the descriptor that came with it, owned by the caller, or -1.

    The descriptor is close-on-exec from its first moment (socket.recv_fds takes flags, and ignores them)."""
    data, ancillary, _flags, _address = sock.recvmsg(size, socket.CMSG_LEN(_FD.size), socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return data, int(_FD.unpack_from(content)[0])
    return data, -1

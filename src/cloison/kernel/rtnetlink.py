"""A small part of rtnetlink(7): the addresses of the network namespace this process is in.

A message is a header (length, type, flags, sequence, port), a fixed body, and attributes (length, type, value,
padding to 4). Native byte order. Source: netlink(7), rtnetlink(7), linux/if_addr.h.
"""

import socket
import struct
from collections.abc import Iterator

_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_NETLINK_ROUTE = 0
_RTM_GETADDR, _RTM_NEWADDR, _NLMSG_DONE, _NLMSG_ERROR = 22, 20, 3, 2
_NLM_F_REQUEST, _NLM_F_DUMP = 0x001, 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RT_SCOPE_UNIVERSE = 0


def addresses() -> tuple[str, ...]:
    """Every address of global scope, IPv4 before IPv6, without its prefix length."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as sock:
        body = _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        size = _HEADER.size + len(body)
        sock.send(_HEADER.pack(size, _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + body)
        found = [_address(body) for kind, body in _messages(sock) if kind == _RTM_NEWADDR]
    return tuple(sorted({address for address in found if address}, key=lambda address: (":" in address, address)))


def _messages(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    while True:
        data = sock.recv(1 << 16)
        offset = 0
        while offset + _HEADER.size <= len(data):
            size, kind, _flags, _sequence, _port = _HEADER.unpack_from(data, offset)
            if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                return
            yield kind, data[offset + _HEADER.size : offset + size]
            offset += -(-size // 4) * 4


def _address(body: bytes) -> str:
    family, _prefix, _flags, scope, _index = _IFADDRMSG.unpack_from(body)
    if scope != _RT_SCOPE_UNIVERSE:
        return ""
    attributes = dict(_attributes(body[_IFADDRMSG.size :]))
    raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
    return socket.inet_ntop(family, raw) if raw else ""


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[offset + _ATTRIBUTE.size : offset + size]
        offset += -(-size // 4) * 4

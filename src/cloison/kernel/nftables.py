"""Which tables of packet rules the kernel has: one question, without running nft(8).

A table's handle is never used twice, so who remembers it sees that somebody has emptied the rules meanwhile.
Source: linux/netfilter/nf_tables.h, nfnetlink.h.
"""

import contextlib
import errno
import os
import socket
import struct

from cloison.base.errors import Kernel
from cloison.kernel.netlink import wire

_NETLINK_NETFILTER = 12
_GETTABLE = 10 << 8 | 1  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE
_NFGENMSG = struct.Struct("=BBH")  # family, version, resource
_NFTA_TABLE_NAME, _NFTA_TABLE_HANDLE = 1, 4
FAMILIES = {"inet": 1, "ip": 2, "netdev": 5, "bridge": 7, "ip6": 10}


def table_handle(family: str, name: str) -> int | None:
    """The handle of a table in the caller's network namespace; None where it is not there, nor nf_tables at all."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as refused:
        if refused.errno == errno.EPROTONOSUPPORT:
            return None
        raise
    with contextlib.closing(sock):
        encoder = wire.Encoder(_NFGENMSG.pack(FAMILIES[family], 0, 0))
        encoder.text(_NFTA_TABLE_NAME, name)
        sock.send(wire.framed(encoder.message(_GETTABLE), 1, 0))
        for frame in wire.frames(sock.recv(1 << 16, socket.MSG_DONTWAIT)):
            if frame.type == wire.NLMSG_ERROR:
                _expect_none(-wire.fixed(struct.Struct("=i"), frame.body)[0])
                return None
            raw = wire.attributes(frame.body, _NFGENMSG.size).get(_NFTA_TABLE_HANDLE, b"")
            return int.from_bytes(raw, "big")
    raise Kernel(f"the kernel said nothing about the table {name!r}")


def _expect_none(error: int) -> None:
    if error not in (errno.ENOENT, errno.EINVAL):  # EINVAL: a kernel without nf_tables
        raise OSError(error, os.strerror(error), "nf_tables")

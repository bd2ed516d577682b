"""Which tables and chains of packet rules the kernel has: a short question, without running nft(8).

A table's handle is never used twice, so who remembers it sees that somebody has emptied the rules meanwhile.
Source: linux/netfilter/nf_tables.h, nfnetlink.h.
"""

import contextlib
import errno
import os
import socket
import struct

import msgspec

from cloison.base.errors import Kernel
from cloison.kernel.netlink import wire

_NETLINK_NETFILTER = 12
_GETTABLE, _GETCHAIN = 10 << 8 | 1, 10 << 8 | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_
_ERROR = struct.Struct("=i")
_NFGENMSG = struct.Struct("=BBH")  # family, version, resource
_NFTA_TABLE_NAME, _NFTA_TABLE_HANDLE = 1, 4
_NFTA_CHAIN_TABLE, _NFTA_CHAIN_HANDLE, _NFTA_CHAIN_NAME = 1, 2, 3
FAMILIES = {"inet": 1, "ip": 2, "netdev": 5, "bridge": 7, "ip6": 10}


class Chain(msgspec.Struct, frozen=True):
    """Whose handle is asked for: a chain, or the table itself where `name` is empty."""

    family: str
    table: str
    name: str = ""


def table_handle(family: str, name: str) -> int | None:
    """The handle of a table in the caller's network namespace; None where it is not there, nor nf_tables at all."""
    return handles(Chain(family, name))[0]


def chain_handle(family: str, table: str, name: str) -> int | None:
    """The same of a chain; a handle is used once within its table."""
    return handles(Chain(family, table, name))[0]


def handles(*chains: Chain) -> tuple[int | None, ...]:
    """The same of several tables and chains, on one socket."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as refused:
        if refused.errno == errno.EPROTONOSUPPORT:
            return (None,) * len(chains)
        raise
    with contextlib.closing(sock):
        return tuple(_handle(sock, chain) for chain in chains)


def _handle(sock: socket.socket, chain: Chain) -> int | None:
    encoder = wire.Encoder(_NFGENMSG.pack(FAMILIES[chain.family], 0, 0))
    encoder.text(_NFTA_CHAIN_TABLE if chain.name else _NFTA_TABLE_NAME, chain.table)
    if chain.name:
        encoder.text(_NFTA_CHAIN_NAME, chain.name)
    sock.send(wire.framed(encoder.message(_GETCHAIN if chain.name else _GETTABLE), 1, 0))
    for frame in wire.frames(sock.recv(1 << 16, socket.MSG_DONTWAIT)):
        if frame.type == wire.NLMSG_ERROR:
            _expect_none(-wire.fixed(_ERROR, frame.body)[0])
            return None
        found = wire.attributes(frame.body, _NFGENMSG.size)
        return int.from_bytes(found.get(_NFTA_CHAIN_HANDLE if chain.name else _NFTA_TABLE_HANDLE, b""), "big")
    raise Kernel("the kernel said nothing about a table of packet rules")


def _expect_none(error: int) -> None:
    if error not in (errno.ENOENT, errno.EINVAL):  # EINVAL: a kernel without nf_tables
        raise OSError(error, os.strerror(error), "nf_tables")

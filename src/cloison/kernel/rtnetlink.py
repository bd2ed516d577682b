"""Talking rtnetlink(7) from Python: requests that are carried out at once, and lists of what there is.

The messages are values of `kernel.netlink`; a start has them sent by the launcher instead. rtnetlink does its work
within send(2) and recv(2): when they return, the answer is there. So nothing here ever waits, and a missing answer is
an error (EAGAIN) and not a hanging process.
"""

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from cloison.base.errors import Busy, Kernel
from cloison.kernel.netlink import inet, links, routes, values, wire
from cloison.kernel.netlink.values import Address, Interface, Neighbour
from cloison.kernel.netlink.wire import Batch, Encoder, Frame, Message

_NETLINK_ROUTE, _SOL_NETLINK = 0, 270
_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 10, 11, 12
_SO_NETNS_COOKIE = 71
_CLONE_NEWNET = 0x40000000
_NLMSGERR_ATTR_MSG = 1
_ERROR = struct.Struct("=i")
_RTEXT_FILTER_SKIP_STATS = 8  # those of the protocols, a thousand bytes for each interface; not its own counters
_DATAGRAM_BYTES = 1 << 16  # the kernel fills at most 32 KiB, netlink(7); more is for one message that is larger
_TRIES = 100

Value = TypeVar("Value")


class Refused(OSError):
    """The kernel refused a message: `errno`, its `index` in the batch (from 0), and what it `said`, often nothing.

    The messages behind it were carried out all the same."""

    def __init__(self, error: int, index: int, said: str) -> None:
        super().__init__(error, said or os.strerror(error))
        self.index = index
        self.said = said


class Socket(Protocol):
    """What a conversation needs of a socket."""

    def send(self, data: bytes, /) -> int:
        """Send one datagram."""

    def recvmsg(
        self, size: int, ancillary: int, flags: int, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        """Receive one."""


def request(batch: Batch, netns_fd: int | None = None, *, patch_fd: int | None = None) -> None:
    """Send a batch in the network namespace `netns_fd` (None: the caller's own) and hear that all was done.

    `patch_fd` is the descriptor for the message that says NETNS_LATER. Needs CAP_NET_ADMIN there. Raises Refused for
    the first message that was refused, and other OSErrors where the namespace cannot be entered."""
    with connect(netns_fd) as connection:
        connection.request(batch, patch_fd)


def addresses() -> tuple[str, ...]:
    """Every address of global scope in the caller's network namespace, IPv4 before IPv6, without prefix lengths."""
    with connect() as connection:
        found = {each.address for each in connection.addresses() if each.scope == routes.RT_SCOPE_UNIVERSE}
    return tuple(sorted(found, key=lambda address: (":" in address, address)))


@contextlib.contextmanager
def connect(netns_fd: int | None = None) -> "Iterator[Connection]":
    """A conversation with the network namespace `netns_fd`, or the caller's own. Raises OSError."""
    with _open() if netns_fd is None else _open_in(netns_fd) as sock:
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            sock.setsockopt(_SOL_NETLINK, option, 1)
        yield Connection(sock)


@contextlib.contextmanager
def connect_to(pid: int) -> "Iterator[Connection]":
    """A conversation with the network namespace of a process. Raises FileNotFoundError when it has ended."""
    try:
        netns_fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except ProcessLookupError as ended:
        raise FileNotFoundError(*ended.args) from None
    try:
        with connect(netns_fd) as connection:
            yield connection
    finally:
        os.close(netns_fd)


class Connection:
    """One conversation; made by `connect`. Lists are complete and of one moment, or Busy is raised."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._sequence = 1 << 16  # above those of any batch

    def request(self, batch: Batch, patch_fd: int | None = None) -> None:
        """As the function of this module."""
        if batch.count == 0:
            return
        self._sock.send(batch.data if patch_fd is None else batch.patched(patch_fd))
        refused: dict[int, Refused] = {}
        answered = 0
        while answered < batch.count:
            for frame in self._receive():
                if frame.type == wire.NLMSG_ERROR and 1 <= frame.sequence <= batch.count:
                    answered += 1
                    error, said = _verdict(frame)
                    if error:
                        refused[frame.sequence] = Refused(error, frame.sequence - 1, said)
        if refused:
            raise refused[min(refused)]

    def links(self, *, master: int = 0, kind: str = "") -> list[Interface]:
        """The interfaces, or those on the bridge `master`, or of one `kind`."""
        encoder = Encoder(links.IFINFOMSG.pack(0, 0, 0, 0, 0))
        encoder.u32(links.IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
        if master:
            encoder.u32(links.IFLA_MASTER, master)
        if kind:
            with encoder.nest(links.IFLA_LINKINFO):
                encoder.text(links.IFLA_INFO_KIND, kind)
        found = self._list(encoder.message(links.RTM_GETLINK), links.RTM_NEWLINK, values.read_interface)
        # The kernel passes over a kind that it does not know, and lists everything.
        return [each for each in found if (not master or each.master == master) and (not kind or each.kind == kind)]

    def link(self, which: int | str) -> Interface | None:
        """One interface by its index or (alternative) name; None where there is none."""
        encoder = Encoder(links.IFINFOMSG.pack(0, 0, which if isinstance(which, int) else 0, 0, 0))
        encoder.u32(links.IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
        links.put_which(encoder, which)
        try:
            found = self._ask(encoder.message(links.RTM_GETLINK), links.RTM_NEWLINK, values.read_interface)
        except Refused as refused:
            if refused.errno == errno.ENODEV:
                return None
            raise
        return found[0] if found else None

    def addresses(self, *, index: int = 0, family: int = 0) -> list[Address]:
        """The addresses, or those of one interface or family (AF_INET, AF_INET6)."""
        message = Message(routes.RTM_GETADDR, 0, routes.IFADDRMSG.pack(family, 0, 0, 0, index))
        try:
            return self._list(message, routes.RTM_NEWADDR, values.read_address)
        except Refused as refused:
            if index and refused.errno == errno.ENODEV:
                return []
            raise

    def routes(self, *, family: int = 0, table: int = routes.RT_TABLE_MAIN, device: int = 0) -> list[routes.Route]:
        """The routes of one table (0: of all), or those of one family or out of one interface."""
        compat = table if table < 256 else routes.RT_TABLE_COMPAT
        encoder = Encoder(routes.RTMSG.pack(family, 0, 0, 0, compat, 0, 0, 0, 0))
        if table:
            encoder.u32(routes.RTA_TABLE, table)
        if device:
            encoder.u32(routes.RTA_OIF, device)
        try:
            found = self._list(encoder.message(routes.RTM_GETROUTE), routes.RTM_NEWROUTE, values.read_route)
        except Refused as refused:
            if refused.errno in (errno.ENOENT, errno.ENODEV):
                return []  # no such table, no such interface
            raise
        return [each for each in found if (not table or each.table == table) and (not device or each.device == device)]

    def way_to(self, address: str) -> int:
        """The index of the interface by which a packet to `address` would leave; 0 where there is no way."""
        raw, _bits = inet.split(address)
        encoder = Encoder(routes.RTMSG.pack(inet.family(raw), 8 * len(raw), 0, 0, 0, 0, 0, 0, 0))
        encoder.put(routes.RTA_DST, raw)
        try:
            found = self._ask(encoder.message(routes.RTM_GETROUTE), routes.RTM_NEWROUTE, values.read_device)
        except Refused as refused:
            if refused.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
                return 0  # the last two: a route that forbids it (prohibit, blackhole)
            if refused.errno in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                return 0  # no IPv6
            raise
        return next(iter(found or ()), 0)

    def neighbours(self, *, index: int = 0, family: int = 0, is_proxy: bool = False) -> list[Neighbour]:
        """Whom the interfaces (or one of them) know; with `is_proxy` instead those that this host answers for."""
        flags = routes.NTF_PROXY if is_proxy else 0
        encoder = Encoder(routes.NDMSG.pack(family, 0, 0, flags, 0))
        if index:
            encoder.u32(routes.NDA_IFINDEX, index)
        found = self._list(encoder.message(routes.RTM_GETNEIGH), routes.RTM_NEWNEIGH, values.read_neighbour)
        return [each for each in found if not index or each.index == index]

    def _list(self, message: Message, type_: int, read: Callable[[bytes], Value | None]) -> list[Value]:
        """Ask for a list until it was put together without a change in between."""
        for _ in range(_TRIES):
            found = self._ask(message, type_, read, wire.NLM_F_DUMP)
            if found is not None:
                return found
        raise Busy("the network of this host changes faster than it can be listed", hint="try again")

    def _ask(
        self, message: Message, type_: int, read: Callable[[bytes], Value | None], flags: int = wire.NLM_F_ACK
    ) -> list[Value] | None:
        """What is answered to one message; None where it changed meanwhile. Raises Refused."""
        self._sequence += 1
        self._sock.send(wire.framed(message, self._sequence, flags))
        found: list[Value] = []
        is_interrupted = False
        while True:
            for frame in self._receive():
                if frame.sequence != self._sequence:
                    continue
                is_interrupted |= bool(flags == wire.NLM_F_DUMP and frame.flags & wire.NLM_F_DUMP_INTR)
                if frame.type in (wire.NLMSG_ERROR, wire.NLMSG_DONE):
                    error, said = _verdict(frame)
                    if error:
                        raise Refused(error, 0, said)
                    return None if is_interrupted else found
                value = read(frame.body) if frame.type == type_ else None
                if value is not None:
                    found.append(value)

    def _receive(self) -> Iterator[Frame]:
        data, _ancillary, flags, _sender = self._sock.recvmsg(_DATAGRAM_BYTES, 0, socket.MSG_DONTWAIT)
        if flags & socket.MSG_TRUNC:
            raise Kernel(f"a netlink answer is longer than {_DATAGRAM_BYTES} bytes")
        if not data:
            raise Kernel("a netlink socket answered nothing")
        return wire.frames(data)


def _verdict(frame: Frame) -> tuple[int, str]:
    """The errno (0: done) and the words of an acknowledgement, or of the end of a list."""
    (error,) = wire.fixed(_ERROR, frame.body)
    if not frame.flags & wire.NLM_F_ACK_TLVS:
        return -error, ""
    # Behind the errno comes the header of the request; NETLINK_CAP_ACK leaves out the rest of it. A list has none.
    behind = _ERROR.size + (wire.HEADER.size if frame.type == wire.NLMSG_ERROR else 0)
    return -error, wire.words(wire.attributes(frame.body, behind).get(_NLMSGERR_ATTR_MSG))


def namespace_cookie() -> int:
    """A number of the caller's network namespace that no other has had since the machine was booted; the first has 1.

    The inode number of a namespace is soon that of another. Source: SO_NETNS_COOKIE, since Linux 5.14."""
    with _open() as sock:
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)


def _open_in(netns_fd: int) -> socket.socket:
    """A socket stays in the namespace where it was opened, so a thread enters it, opens one, and ends.

    Namespaces belong to threads: that of the caller is untouched."""
    import threading  # as ctypes below: most conversations are with the caller's own namespace

    found: list[socket.socket | OSError] = []

    def enter() -> None:
        try:
            _setns(netns_fd)
            found.append(_open())
        except OSError as refused:
            found.append(refused)

    thread = threading.Thread(target=enter, name="netns", daemon=True)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def _setns(fd: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(ctypes.c_int(fd), ctypes.c_int(_CLONE_NEWNET)) < 0:
        raise OSError(ctypes.get_errno(), f"network namespace: {os.strerror(ctypes.get_errno())}")

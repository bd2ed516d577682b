"""How netlink messages are laid out in bytes, in both directions. Pure.

    message    u32 length, u16 type, u16 flags, u32 sequence, u32 port; a fixed body; attributes
    attribute  u16 length, u16 type, value; the next one begins at a multiple of 4
    nest       an attribute whose value is attributes

Native byte order; a length counts its own header, but not the padding behind it. Several messages in one send are a
batch: the kernel carries out all of them in turn, *also those behind one that failed*, and answers each.
Source: netlink(7), rtnetlink(7), linux/netlink.h.
"""

import contextlib
import struct
import sys
from collections.abc import Iterator

import msgspec

from cloison.base.errors import Bug, Kernel

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_U8, _U16, _U32 = struct.Struct("=Bxxx"), struct.Struct("=Hxx"), struct.Struct("=I")

# flags of a request
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x001, 0x004, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NEW = NLM_F_CREATE | NLM_F_EXCL  # one that exists is an error
PUT = NLM_F_CREATE | NLM_F_REPLACE  # one that exists is changed
# types and flags of an answer
NLMSG_ERROR, NLMSG_DONE, NLMSG_LEAST = 2, 3, 16
NLM_F_DUMP_INTR, NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x010, 0x100, 0x200

NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF  # the two highest bits are flags

# All answers of a batch wait in the socket's receive buffer, usually 208 KiB. What does not fit is lost (ENOBUFS), and
# nobody knows what was done: 300 answers did not fit, 128 do, also where each has words of the kernel in it.
MOST_MESSAGES = 128

NOWHERE = -1
NETNS_LATER = -1  # in place of a descriptor: the sender patches it in. Sent by mistake, the kernel refuses it (EBADF).


class Message(msgspec.Struct, frozen=True):
    """One request without its header. `netns_at` is where in `body` NETNS_LATER is waiting for a descriptor (u32)."""

    type: int
    flags: int
    body: bytes
    netns_at: int = NOWHERE


class Batch(msgspec.Struct, frozen=True):
    """Requests to be sent at once: `count` of them, each to be answered, with the sequence numbers 1 to `count`.

    `netns_at` is where in `data` the one NETNS_LATER is waiting, or NOWHERE."""

    data: bytes
    count: int
    netns_at: int = NOWHERE

    def patched(self, netns_fd: int) -> bytes:
        """The bytes to send, with a descriptor of the sender in the place that is waiting for it."""
        if self.netns_at == NOWHERE:
            raise Bug("no message of this batch is waiting for a network namespace")
        end = self.netns_at + _U32.size
        return self.data[: self.netns_at] + _U32.pack(netns_fd) + self.data[end:]


def batch(*messages: Message) -> Batch:
    """Put messages behind one another.

    Raises Bug where two of them wait for a namespace, since a sender patches one; and where there are more than
    MOST_MESSAGES."""
    if len(messages) > MOST_MESSAGES:
        raise Bug(f"a batch has at most {MOST_MESSAGES} messages, this one has {len(messages)}")
    data = bytearray()
    netns_at = NOWHERE
    for sequence, message in enumerate(messages, start=1):
        if message.netns_at != NOWHERE:
            if netns_at != NOWHERE:
                raise Bug("two messages of one batch wait for a network namespace")
            netns_at = len(data) + HEADER.size + message.netns_at
        data += framed(message, sequence, NLM_F_ACK)
    return Batch(bytes(data), len(messages), netns_at)


def framed(message: Message, sequence: int, flags: int) -> bytes:
    """A message with its header; `flags` besides its own and NLM_F_REQUEST."""
    size = HEADER.size + len(message.body)
    return HEADER.pack(size, message.type, message.flags | NLM_F_REQUEST | flags, sequence, 0) + message.body


class Encoder:
    """Collects the body of one message: the fixed part, then attributes in the order in which they are put."""

    def __init__(self, fixed: bytes) -> None:
        self._data = bytearray(fixed)
        self._netns_at = NOWHERE

    def raw(self, data: bytes) -> None:
        """Bytes as they are: a fixed part within a nest."""
        self._data += data

    def put(self, kind: int, value: bytes) -> None:
        """An attribute of any bytes."""
        self._data += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)

    def u8(self, kind: int, value: int) -> None:
        """An attribute of one byte."""
        self._data += _ATTRIBUTE.pack(5, kind) + _U8.pack(value)

    def u16(self, kind: int, value: int) -> None:
        """An attribute of two bytes."""
        self._data += _ATTRIBUTE.pack(6, kind) + _U16.pack(value)

    def u32(self, kind: int, value: int) -> None:
        """An attribute of four bytes."""
        self._data += _ATTRIBUTE.pack(8, kind) + _U32.pack(value)

    def text(self, kind: int, value: str) -> None:
        """An attribute of text, with the NUL that ends it."""
        self.put(kind, value.encode() + b"\0")

    def netns(self, kind: int, fd: int) -> None:
        """The descriptor of a network namespace, or NETNS_LATER; one message has at most one of the latter."""
        if fd == NETNS_LATER:
            if self._netns_at != NOWHERE:
                raise Bug("one message waits for two network namespaces")
            self._netns_at = len(self._data) + _ATTRIBUTE.size
        self.u32(kind, fd & 0xFFFFFFFF)

    @contextlib.contextmanager
    def nest(self, kind: int) -> Iterator[None]:
        """An attribute of everything that is put meanwhile."""
        begin = len(self._data)
        self._data += bytes(_ATTRIBUTE.size)
        yield
        _ATTRIBUTE.pack_into(self._data, begin, len(self._data) - begin, kind)

    def message(self, type_: int, flags: int = 0) -> Message:
        """What was collected, as a request of that type."""
        return Message(type_, flags, bytes(self._data), self._netns_at)


# --- the way back ----------------------------------------------------------------------------------------------------


class Frame(msgspec.Struct, frozen=True):
    """One message as received, header and body."""

    type: int
    flags: int
    sequence: int
    body: bytes


def frames(data: bytes) -> Iterator[Frame]:
    """The messages of one datagram. Raises Kernel where it ends within one, or a length cannot be."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < HEADER.size:
            raise Kernel(f"a netlink answer of {end} bytes ends within a header, at byte {offset}")
        size, type_, flags, sequence, _port = HEADER.unpack_from(data, offset)
        if not HEADER.size <= size <= end - offset:
            raise Kernel(f"a netlink answer of {end} bytes has a message of {size} bytes at byte {offset}")
        yield Frame(type_, flags, sequence, data[offset + HEADER.size : offset + size])
        offset += -(-size // 4) * 4


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on, the last one of each type. Raises Kernel where a length cannot be."""
    return dict(each_attribute(data, offset))


def each_attribute(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes from `offset` on, also those of which there are several. Raises Kernel as `attributes` does."""
    end = len(data)
    while offset < end:
        if end - offset < _ATTRIBUTE.size:
            raise Kernel(f"a netlink message of {end} bytes ends within an attribute, at byte {offset}")
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= size <= end - offset:
            raise Kernel(f"a netlink message of {end} bytes has an attribute of {size} bytes at byte {offset}")
        yield kind & _NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + size]
        offset += -(-size // 4) * 4


def fixed(form: struct.Struct, body: bytes) -> tuple[int, ...]:
    """The numbers of the fixed part that `body` begins with. Raises Kernel where it is shorter."""
    if len(body) < form.size:
        raise Kernel(f"a netlink message of {len(body)} bytes lacks its fixed part of {form.size}")
    return form.unpack_from(body)


def number(value: bytes | None, default: int = 0) -> int:
    """An unsigned number of any size, in native byte order; `default` where the attribute is missing."""
    return default if value is None else int.from_bytes(value, sys.byteorder)


def words(value: bytes | None) -> str:
    """Text up to its NUL; empty where the attribute is missing. Bytes that are not UTF-8 survive (surrogateescape)."""
    return (value or b"").partition(b"\0")[0].decode("utf-8", "surrogateescape")

"""Conversations with a kernel that was made up: interrupted lists, refusals, answers that cannot be."""

import contextlib
import errno
import socket
import struct
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Busy, Kernel
from cloison.kernel import netlink
from cloison.kernel.netlink import links, values, wire
from cloison.kernel.netlink.wire import Encoder
from cloison.kernel.rtnetlink import Connection, Refused


class Made:
    """A socket whose kernel answers each request with the next of its scripts: datagrams of frames.

    A frame is (type, flags, body), and gets the sequence number of the request."""

    def __init__(self, *scripts: list[list[tuple[int, int, bytes]]]) -> None:
        self.scripts = deque(scripts)
        self.datagrams: deque[bytes] = deque()
        self.asked = 0

    def send(self, data: bytes) -> int:
        self.asked += 1
        sequence = next(iter(wire.frames(data))).sequence
        for frames in self.scripts.popleft():
            self.datagrams.append(b"".join(framed(*frame, sequence) for frame in frames))
        return len(data)

    def recvmsg(
        self, size: int, _ancillary: int, flags: int
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        assert flags == socket.MSG_DONTWAIT
        if not self.datagrams:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        data = self.datagrams.popleft()
        return data[:size], [], socket.MSG_TRUNC if len(data) > size else 0, None


def framed(type_: int, flags: int, body: bytes, sequence: int) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), type_, flags, sequence, 0) + body


def link(index: int, name: str) -> tuple[int, int, bytes]:
    encoder = Encoder(links.IFINFOMSG.pack(0, 0, index, 0, 0))
    encoder.text(links.IFLA_IFNAME, name)
    return (links.RTM_NEWLINK, 2, encoder.message(0).body)


def changed(frame: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    return (frame[0], frame[1] | wire.NLM_F_DUMP_INTR, frame[2])


DONE = (wire.NLMSG_DONE, 2, struct.pack("=i", 0))
FIRST = [[link(1, "lo"), link(2, "old")], [changed(link(3, "more"))], [DONE]]
SECOND = [[link(1, "lo"), link(4, "new")], [DONE]]


def test_a_list_comes_in_several_datagrams() -> None:
    assert [each.name for each in Connection(Made(SECOND)).links()] == ["lo", "new"]


def test_a_list_that_changed_meanwhile_is_asked_for_again() -> None:
    sock = Made(FIRST, SECOND)
    assert [each.name for each in Connection(sock).links()] == ["lo", "new"]
    assert sock.asked == 2


def test_a_change_seen_only_at_the_end_counts_too() -> None:
    sock = Made([[link(1, "lo")], [changed(DONE)]], SECOND)
    assert [each.name for each in Connection(sock).links()] == ["lo", "new"]


def test_a_list_that_always_changes_is_given_up() -> None:
    with pytest.raises(Busy, match="changes faster"):
        Connection(Made(*[FIRST] * 100)).links()


def test_a_list_that_never_ends_is_an_error() -> None:
    with pytest.raises(BlockingIOError):
        Connection(Made([[link(1, "lo")]])).links()


def test_a_list_that_fails_at_its_end_is_an_error() -> None:
    with pytest.raises(Refused) as refused:
        Connection(Made([[link(1, "lo")], [(wire.NLMSG_DONE, 2, struct.pack("=i", -errno.ENOBUFS))]])).links()
    assert refused.value.errno == errno.ENOBUFS


def test_answers_to_somebody_else_are_passed_over() -> None:
    sock = Made(SECOND)
    sock.datagrams.append(framed(*link(9, "stale"), 5) + framed(*DONE, 5))
    assert [each.name for each in Connection(sock).links()] == ["lo", "new"]


def test_an_answer_that_was_cut_is_an_error() -> None:
    with pytest.raises(Kernel, match="longer than"):
        Connection(Made([[(links.RTM_NEWLINK, 2, bytes(1 << 16))]])).links()


def verdict(error: int, said: str = "") -> bytes:
    """The kernel's acknowledgement, with the header of the request and its words."""
    encoder = Encoder(struct.pack("=i", -error) + bytes(16))
    if said:
        encoder.text(1, said)
    return encoder.message(0).body


def acks(*errors: tuple[int, str]) -> Made:
    sock = Made([])
    for sequence, (error, said) in enumerate(errors, start=1):
        flags = wire.NLM_F_CAPPED | (wire.NLM_F_ACK_TLVS if said else 0)
        sock.datagrams.append(framed(wire.NLMSG_ERROR, flags, verdict(error, said), sequence))
    return sock


THREE = netlink.batch(*[netlink.delete_link(name) for name in ("a", "b", "c")])


def test_a_batch_is_done_when_all_of_it_was_answered() -> None:
    Connection(acks((0, ""), (0, ""), (0, ""))).request(THREE)
    with pytest.raises(BlockingIOError):
        Connection(acks((0, ""), (0, ""))).request(THREE)


def test_the_first_refusal_is_the_error_and_has_the_kernels_words() -> None:
    sock = acks((0, ""), (errno.ENODEV, "No such b"), (errno.EPERM, ""))
    with pytest.raises(Refused, match="No such b") as refused:
        Connection(sock).request(THREE)
    assert (refused.value.errno, refused.value.index) == (errno.ENODEV, 1)
    assert not sock.datagrams


def test_a_batch_of_nothing_asks_nothing() -> None:
    Connection(Made()).request(netlink.batch())


@given(st.lists(st.binary(max_size=80), max_size=5), st.sampled_from([2, 3, 16, 20, 24, 28]))
def test_no_answer_crashes_or_loops(bodies: list[bytes], type_: int) -> None:
    script = [[(type_, 2, body + bytes(-len(body) % 4))] for body in bodies]
    for ask in (Connection.links, Connection.addresses, Connection.routes, Connection.neighbours):
        with contextlib.suppress(Kernel, Refused, BlockingIOError):
            ask(Connection(Made(script)))


_ALL = (values.read_interface, values.read_address, values.read_route, values.read_neighbour)


@given(st.binary(max_size=120))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for read in _ALL:
        try:
            read(body)
        except Kernel as refused:
            assert "netlink" in refused.sentence


@given(
    st.sampled_from([2, 10]),
    st.dictionaries(st.sampled_from(range(60)), st.binary(max_size=24), max_size=8),
)
def test_odd_attributes_are_read_or_refused(family: int, odd: dict[int, bytes]) -> None:
    for read, head in zip(
        _ALL,
        (bytes(16), bytes([family]) + bytes(7), bytes([family]) + bytes(11), bytes([family]) + bytes(11)),
        strict=True,
    ):
        encoder = Encoder(head)
        for kind, value in odd.items():
            encoder.put(kind, value)
        try:
            assert read(encoder.message(0).body) is not None
        except Kernel as refused:
            assert "netlink" in refused.sentence

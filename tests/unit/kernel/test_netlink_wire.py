"""Messages and attributes as bytes: what goes in comes out, and what is malformed is refused in words."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloison.base.errors import Bug, Kernel
from cloison.kernel import netlink
from cloison.kernel.netlink import links, wire
from cloison.kernel.netlink.wire import Encoder, Message

_ATTRIBUTES = st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=8)
_MESSAGES = st.builds(Message, st.integers(16, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=60))


@given(_ATTRIBUTES)
def test_attributes_survive_the_way_there_and_back(found: dict[int, bytes]) -> None:
    encoder = Encoder(b"fixe")
    for kind, value in found.items():
        encoder.put(kind, value)
    assert wire.attributes(encoder.message(16).body, 4) == found


@given(st.lists(_MESSAGES, max_size=6))
def test_messages_survive_the_way_there_and_back(messages: list[Message]) -> None:
    padded = [Message(each.type, each.flags, each.body + bytes(-len(each.body) % 4)) for each in messages]
    found = list(wire.frames(netlink.batch(*padded).data))
    flags = wire.NLM_F_REQUEST | wire.NLM_F_ACK
    assert [(each.type, each.flags, each.sequence, each.body) for each in found] == [
        (each.type, each.flags | flags, sequence, each.body) for sequence, each in enumerate(padded, start=1)
    ]


def test_nests_hold_what_is_put_meanwhile() -> None:
    encoder = Encoder(b"")
    with encoder.nest(1):
        with encoder.nest(2):
            encoder.u16(3, 7)
        encoder.u8(4, 1)
    encoder.text(5, "eth0")
    outer = wire.attributes(encoder.message(16).body)
    inner = wire.attributes(outer[1])
    assert wire.number(wire.attributes(inner[2])[3]) == 7
    assert wire.number(inner[4]) == 1
    assert wire.words(outer[5]) == "eth0"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (wire.frames, wire.each_attribute):
        try:
            assert len(list(read(data))) <= len(data)
        except Kernel as refused:
            assert "netlink" in refused.sentence


@given(st.binary(max_size=10), st.data())
def test_a_message_that_ends_too_early_is_refused(value: bytes, data: st.DataObject) -> None:
    encoder = Encoder(b"fixe")
    encoder.put(1, value)
    whole = netlink.batch(netlink.delete_link("a"), encoder.message(16)).data
    first = len(netlink.batch(netlink.delete_link("a")).data)
    with pytest.raises(Kernel):
        list(wire.frames(whole[: data.draw(st.integers(first + 1, len(whole) - 1))]))


@pytest.mark.parametrize("size", [0, 3, 15, 17, 0xFFFFFFFF])
def test_a_length_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(Kernel, match=f"a message of {size} bytes"):
        list(wire.frames(struct.pack("=IHHII", size, 16, 0, 1, 0)))


@pytest.mark.parametrize("size", [0, 3, 9, 0xFFFF])
def test_an_attribute_longer_than_its_message_is_refused(size: int) -> None:
    with pytest.raises(Kernel, match=f"an attribute of {size} bytes"):
        wire.attributes(struct.pack("=HHI", size, 1, 0))


# --- the place for a namespace ---------------------------------------------------------------------------------------


def veth(netns: int | None) -> Message:
    return netlink.add_veth(netlink.Link(name="eth0", index=2), netlink.Link(name="v0", netns=netns))


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 0xFFFFFF))
def test_a_batch_says_where_the_namespace_goes(before: int, after: int, fd: int) -> None:
    others = [netlink.set_link("lo", is_up=True)]
    waiting = netlink.batch(*others * before, veth(netlink.NETNS_LATER), *others * after)
    assert waiting.data[waiting.netns_at : waiting.netns_at + 4] == b"\xff\xff\xff\xff"
    assert waiting.patched(fd) == netlink.batch(*others * before, veth(fd), *others * after).data


def test_every_message_that_names_a_namespace_can_wait_for_it() -> None:
    later, now = netlink.NETNS_LATER, 77
    pairs = [
        (netlink.add_ifb(netlink.Link(name="i", netns=later)), netlink.add_ifb(netlink.Link(name="i", netns=now))),
        (netlink.set_link(5, netns=later), netlink.set_link(5, netns=now)),
        (netlink.set_link("e", netns=later, alias="x"), netlink.set_link("e", netns=now, alias="x")),
    ]
    for waiting, whole in pairs:
        assert netlink.batch(waiting).patched(now) == netlink.batch(whole).data


def test_a_batch_that_waits_for_nothing_cannot_be_patched() -> None:
    plain = netlink.batch(netlink.delete_link("v0"))
    assert plain.netns_at == netlink.NOWHERE
    with pytest.raises(Bug, match="no message"):
        plain.patched(3)


def test_a_batch_waits_for_one_namespace_only() -> None:
    with pytest.raises(Bug, match="two messages"):
        netlink.batch(veth(netlink.NETNS_LATER), netlink.set_link(3, netns=netlink.NETNS_LATER))
    with pytest.raises(Bug, match="one message"):
        netlink.add_veth(
            netlink.Link(name="a", netns=netlink.NETNS_LATER), netlink.Link(name="b", netns=netlink.NETNS_LATER)
        )


def test_a_message_about_an_interface_begins_with_its_index() -> None:
    body = netlink.set_link(9, is_up=True).body
    assert wire.fixed(links.IFINFOMSG, body) == (0, 0, 9, 1, 1)

"""Byte for byte what iproute2 sends, as strace(1) sees it: also for what this kernel does not have."""

import re
import struct
import subprocess

import pytest

from cloison.kernel import netlink
from cloison.kernel.netlink import IpvlanMode, Link, MacvlanMode, Message, Route

pytestmark = [pytest.mark.needs_root]
# Interfaces of a namespace that ends with the command: p0 has the index 2 or 3, as the kernel numbers a pair.
PREPARED = "ip link add p0 index 2 type veth peer name p1 index 3 && ip link add br0 index 4 type bridge"
_DUMPED = re.compile(r"^ \| [0-9a-f]{5}  ([0-9a-f ]{48,50}) ")


def sent_by(command: str) -> tuple[int, int, bytes]:
    """Type, flags and body of the last request that a command sends, whether it is granted or refused."""
    script = f"{PREPARED} && exec strace -e trace=sendmsg -e write=3 {command}"
    said = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True).stderr
    messages: list[bytes] = []
    for line in said.splitlines():
        if " bytes in buffer 0" in line:
            messages.append(b"")
        elif found := _DUMPED.match(line):
            messages[-1] += bytes.fromhex(found[1])
    size, type_, flags, _sequence, _port = struct.unpack_from("=IHHII", messages[-1])
    assert size == len(messages[-1])
    return type_, flags, messages[-1][16:]


def ours(message: Message) -> tuple[int, int, bytes]:
    type_, flags, body = message.type, message.flags, message.body
    return type_, flags | 0x5, body  # NLM_F_REQUEST and NLM_F_ACK


SAME = [
    ("ip link add link p0 name x0 type vlan id 7", netlink.add_vlan(Link(name="x0", parent=2), 7)),
    (
        "ip link add link p0 name x0 mtu 1400 address 02:00:00:00:00:09 type vlan protocol 802.1ad id 4094",
        netlink.add_vlan(Link(name="x0", parent=2, mtu=1400, mac="02:00:00:00:00:09"), 4094, protocol=0x88A8),
    ),
    *(
        (
            f"ip link add link p0 name x0 type ipvlan mode {mode.name.lower()}",
            netlink.add_ipvlan(Link(name="x0", parent=2), mode),
        )
        for mode in IpvlanMode
    ),
    (
        "ip link add link p0 name x0 type macvlan mode vepa",
        netlink.add_macvlan(Link(name="x0", parent=2), MacvlanMode.VEPA),
    ),
    (
        "bridge vlan add dev p0 vid 5 pvid untagged",
        netlink.add_port_vlan(2, 5, is_pvid=True, is_untagged=True),
    ),
    ("bridge vlan add dev br0 vid 5 self", netlink.add_port_vlan(4, 5, is_bridge=True)),
    ("bridge vlan del dev p0 vid 5", netlink.delete_port_vlan(2, 5)),
    ("bridge vlan del dev p0 vid 1-4094", netlink.delete_port_vlan(2, 1, last=4094)),
    ("ip link add v0 type veth peer name v1", netlink.add_veth(Link(name="v0"), Link(name="v1"))),
    ("ip link add br1 type bridge", netlink.add_bridge(Link(name="br1"))),
    ("ip link property add dev p0 altname other", netlink.add_altname(2, "other")),
    ("ip addr add 10.0.0.1/24 brd + dev p1", netlink.add_address(3, "10.0.0.1/24")),
    ("ip addr add fd00::1/64 dev p1 nodad", netlink.add_address(3, "fd00::1/64", is_nodad=True)),
    ("ip route add 10.9.0.0/16 dev p1", netlink.add_route(Route(to="10.9.0.0/16", device=3))),
    (
        "ip route add default via 169.254.1.1 dev p1 onlink",
        netlink.add_route(Route(to="0.0.0.0/0", via="169.254.1.1", device=3, is_onlink=True)),
    ),
]


@pytest.mark.parametrize(("command", "message"), SAME, ids=[command for command, _ in SAME])
def test_a_message_is_what_iproute2_sends(command: str, message: Message) -> None:
    assert ours(message) == sent_by(command)


def test_a_vlan_filtering_bridge_is_what_iproute2_sends() -> None:
    message = netlink.add_bridge(Link(name="br1"), is_vlan_filtering=True, default_pvid=0)
    assert ours(message) == sent_by("ip link add br1 type bridge vlan_filtering 1 vlan_default_pvid 0")

"""Packet rules on the real kernel, with packets: a host, two instances on its bridge, and somebody outside, each in a
network namespace of the test. The witnesses are who answers, and the counters that nft(8) lists."""

import contextlib
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cloison.network import counters, nic, table
from cloison.network.network import Network, Rule
from cloison.network.nic import Nic, Port
from tests.kernel.namespaces import Namespace, new_namespace

pytestmark = [pytest.mark.needs_root]

NET = Network(name="lab", bridge="br0", run="", data="", ipv4="10.1.2.1/24", ipv6="fd01::1/64")
MAC = {"a": "02:c1:05:00:00:0a", "b": "02:c1:05:00:00:0b"}
ADDRESSES = {"a": ("10.1.2.10/24", "fd01::10/64"), "b": ("10.1.2.11/24", "fd01::11/64")}
# Says to everybody who connects, or sends a packet, with which address he came.
SERVER = """
import socket, threading
def serve(s):
    while True:
        c, peer = s.accept(); c.sendall(peer[0].encode()); c.close()
for port in (80, 81, 7000, 7001):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve, args=(s,), daemon=True).start()
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.bind(("::", 500))
print(flush=True)
while True:
    data, peer = u.recvfrom(100); u.sendto(peer[0].encode(), peer)
"""
CLIENT = """
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[4]))
try:
    s.connect((address, port))
    if kind == "udp": s.send(b"?")
    print(s.recv(100).decode().removeprefix("::ffff:"), end="")
except OSError:
    pass
"""
RAW = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(bytes.fromhex(sys.argv[1]))
"""


class Lab:
    """The four, with the bridge of the network and its rules in place."""

    def __init__(self, host: Namespace, outside: Namespace, a: Namespace, b: Namespace) -> None:
        self.host = host
        self.of = {"host": host, "out": outside, "a": a, "b": b}

    def nft(self, text: str) -> None:
        for line in text.splitlines():
            command = ["nsenter", f"--net=/proc/self/fd/{self.host.fd}", "nft", "--json", "-f", "-"]
            done = subprocess.run(command, input=line, pass_fds=[self.host.fd], capture_output=True, text=True)
            assert not done.returncode, f"{done.stderr}\n{line}"

    def rules(self) -> list[Any]:
        return [
            each for each in self.host.json("nft", "--json", "list", "ruleset")["nftables"] if "metainfo" not in each
        ]

    def dropped(self, comment: str) -> int:
        """How many packets the rules with a comment have counted."""
        found = [each["rule"] for each in self.rules() if "rule" in each]
        counted = [
            part["counter"]["packets"]
            for rule in found
            if rule.get("comment") == comment
            for part in rule["expr"]
            if "counter" in part
        ]
        assert counted
        return sum(counted)

    def ask(self, who: str, address: str, port: int, kind: str = "tcp", *, patience_s: float = 5.0) -> str:
        """With which address `who` comes to the server there; empty where no answer comes."""
        return self.of[who].run(sys.executable, "-I", "-S", "-c", CLIENT, kind, address, str(port), str(patience_s))

    def is_mute(self, who: str, address: str, port: int, kind: str = "tcp") -> bool:
        return self.ask(who, address, port, kind, patience_s=0.4) == ""

    def send(self, who: str, frame: bytes) -> None:
        self.of[who].run(sys.executable, "-I", "-S", "-c", RAW, frame.hex())


@pytest.fixture
def lab() -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        found = Lab(*(stack.enter_context(new_namespace()) for _ in range(4)))
        host, outside = found.host, found.of["out"]
        host.run(
            "sh", "-c", "for f in ipv4/conf/all/forwarding ipv6/conf/all/forwarding; do echo 1 >/proc/sys/net/$f; done"
        )
        host.run("ip", "link", "add", "br0", "type", "bridge")
        for command in ("link set lo up", "link set br0 up", "addr add 10.1.2.1/24 dev br0"):
            host.run("ip", *command.split())
        host.run("ip", "addr", "add", "fd01::1/64", "dev", "br0", "nodad")
        host.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/br0/route_localnet")
        _pair(host, "up0", outside, ("192.0.2.2/24", "fd77::2/64"), ("192.0.2.1/24", "fd77::1/64"))
        for name in ("a", "b"):
            inside = found.of[name]
            _pair(host, f"v{name}", inside, (), ADDRESSES[name], MAC[name])
            host.run("ip", "link", "set", f"v{name}", "master", "br0")
            inside.run("ip", "route", "add", "default", "via", "10.1.2.1")
            inside.run("ip", "route", "add", "default", "via", "fd01::1")
        found.nft(table.installation(NET.table).text())
        found.nft(table.network(NET).text())
        for namespace in found.of.values():
            stack.enter_context(_server(namespace))
        yield found


def _pair(
    host: Namespace, name: str, inside: Namespace, ours: tuple[str, ...], theirs: tuple[str, ...], mac: str = ""
) -> None:
    # The other end is moved by the descriptor of its namespace, which ip(8) cannot be told: so by a process there.
    keeper = subprocess.Popen(
        ["nsenter", f"--net=/proc/self/fd/{inside.fd}", "cat"],
        pass_fds=[inside.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with keeper:
        assert keeper.stdin is not None and keeper.stdout is not None
        keeper.stdin.write(b"\n")
        keeper.stdin.flush()
        assert keeper.stdout.read(1) == b"\n"
        address = ["address", mac] if mac else []
        host.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", *address, "netns", str(keeper.pid))
        keeper.stdin.close()
    for where, device, addresses in ((host, name, ours), (inside, "eth0", theirs)):
        where.run("ip", "link", "set", device, "up")
        for each in addresses:
            where.run("ip", "addr", "add", each, "dev", device, *(["nodad"] if ":" in each else []))
    inside.run("ip", "link", "set", "lo", "up")


@contextlib.contextmanager
def _server(where: Namespace) -> Iterator[None]:
    command = ["nsenter", f"--net=/proc/self/fd/{where.fd}", sys.executable, "-I", "-S", "-c", SERVER]
    with subprocess.Popen(command, pass_fds=[where.fd], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.read(1) == b"\n"
            yield
        finally:
            process.kill()


def nic_b(**options: object) -> Nic:
    return Nic(table=NET.table, host_name="vb", mac=MAC["b"], addresses=ADDRESSES["b"], **options)  # type: ignore[arg-type]


def test_instances_come_out_with_the_address_of_the_host_and_meet_under_their_own(lab: Lab) -> None:
    assert (lab.ask("a", "192.0.2.1", 80), lab.ask("a", "fd77::1", 80)) == ("192.0.2.2", "fd77::2")
    assert (lab.ask("a", "192.0.2.1", 500, "udp"), lab.ask("a", "10.1.2.11", 80)) == ("192.0.2.2", "10.1.2.10")


def test_without_nat_they_come_with_their_own(lab: Lab) -> None:
    lab.of["out"].run("ip", "route", "add", "10.1.2.0/24", "via", "192.0.2.2")
    lab.nft(table.network(_but(is_nat=False)).text())
    assert lab.ask("a", "192.0.2.1", 80) == "10.1.2.10"


def test_an_internal_network_has_no_outside(lab: Lab) -> None:
    lab.of["out"].run("ip", "route", "add", "10.1.2.0/24", "via", "192.0.2.2")
    lab.nft(table.network(_but(is_internal=True)).text())
    assert lab.is_mute("a", "192.0.2.1", 80) and lab.is_mute("out", "10.1.2.10", 80)
    assert lab.ask("a", "10.1.2.11", 80) == "10.1.2.10" and lab.ask("host", "10.1.2.11", 80) == "10.1.2.1"


def test_rules_of_a_network_hold_at_its_edge(lab: Lab) -> None:
    lab.of["out"].run("ip", "route", "add", "10.1.2.0/24", "via", "192.0.2.2")
    rules = (
        Rule("deny", "out", "tcp", ((80, 80),), (), ("192.0.2.0/24",), "deny out tcp 80 to 192.0.2.0/24"),
        Rule("allow", "in", "tcp", ((81, 81),), ("192.0.2.1",), ()),
        Rule("deny", "in", "any", (), ("192.0.2.0/24",)),
    )
    lab.nft(table.network(_but(rules=rules)).text())
    assert lab.is_mute("a", "192.0.2.1", 80) and lab.ask("a", "192.0.2.1", 81) == "192.0.2.2"
    assert lab.ask("out", "10.1.2.10", 81) == "192.0.2.1" and lab.is_mute("out", "10.1.2.10", 80)
    assert lab.ask("a", "10.1.2.11", 80) == "10.1.2.10"
    assert lab.dropped("deny out tcp 80 to 192.0.2.0/24") > 0


def test_ports_lead_inside_from_outside_from_siblings_and_from_the_host_itself(lab: Lab) -> None:
    ports = (Port("tcp", 8080, 8080, 80), Port("tcp", 9000, 9001, 7000), Port("udp", 5000, 5000, 500, "192.0.2.2"))
    lab.nft(nic.document(nic_b(ports=ports)))
    assert lab.ask("out", "192.0.2.2", 8080) == "192.0.2.1" and lab.ask("out", "fd77::2", 9001) == "fd77::1"
    assert lab.ask("out", "192.0.2.2", 5000, "udp") == "192.0.2.1" and lab.is_mute("out", "fd77::2", 5000, "udp")
    assert lab.ask("a", "192.0.2.2", 8080) == "10.1.2.1" and lab.ask("a", "10.1.2.1", 9000) == "10.1.2.1"
    assert lab.ask("host", "192.0.2.2", 8080) == "192.0.2.2" and lab.ask("host", "127.0.0.1", 8080) == "10.1.2.1"
    lab.nft(nic.remove(nic_b(ports=ports)))
    assert lab.is_mute("out", "192.0.2.2", 8080)


def test_an_instance_does_not_reach_the_loopback_of_the_host(lab: Lab) -> None:
    lab.of["a"].run("ip", "link", "set", "lo", "down")
    lab.of["a"].run("ip", "addr", "flush", "dev", "lo")
    lab.of["a"].run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet")
    lab.of["a"].run("ip", "route", "flush", "table", "local", "127.0.0.0/8")
    lab.of["a"].run("ip", "route", "add", "127.0.0.1", "via", "10.1.2.1")
    assert lab.is_mute("a", "127.0.0.1", 80)


def test_rules_of_an_interface_hold_between_siblings_too_and_let_answers_pass(lab: Lab) -> None:
    rules = (
        Rule("deny", "in", "tcp", ((80, 80),), text="deny in tcp 80"),
        Rule("allow", "in", "udp", ((500, 500),), ("10.1.2.10", "fd01::10")),
        Rule("deny", "in", "udp"),
        Rule("deny", "out", "tcp", ((80, 80),), (), ("192.0.2.0/24",)),
    )
    for _ in range(2):  # carried out twice it is the same
        lab.nft(nic.document(nic_b(rules=rules)))
    assert lab.is_mute("a", "10.1.2.11", 80) and lab.is_mute("host", "fd01::11", 80)
    assert lab.ask("a", "10.1.2.11", 81) == "10.1.2.10"
    assert lab.ask("a", "fd01::11", 500, "udp") == "fd01::10" and lab.is_mute("host", "10.1.2.11", 500, "udp")
    assert lab.is_mute("b", "192.0.2.1", 80) and lab.ask("b", "fd77::1", 80) == "fd77::2"
    assert lab.ask("b", "192.0.2.1", 500, "udp") == "192.0.2.2"  # the answer is no new packet in
    assert lab.dropped("deny in tcp 80") > 0
    lab.nft(nic.remove(nic_b(rules=rules)))
    assert lab.ask("a", "10.1.2.11", 80) == "10.1.2.10"


def test_what_is_denied_both_ways_reaches_nobody(lab: Lab) -> None:
    lab.nft(
        nic.document(nic_b(rules=(Rule("deny", "in"), Rule("allow", "out", "tcp", ((80, 80),)), Rule("deny", "out"))))
    )
    assert lab.ask("b", "192.0.2.1", 80) == "192.0.2.2"
    assert lab.is_mute("b", "192.0.2.1", 81) and lab.is_mute("a", "10.1.2.11", 81)


# --- filters ---------------------------------------------------------------------------------------------------------


def _frame(mac: str, kind: int, payload: bytes) -> bytes:
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + kind.to_bytes(2, "big") + payload.ljust(46, b"\0")


def _arp(mac: str, address: str) -> bytes:
    sender = bytes.fromhex(mac.replace(":", "")) + socket.inet_aton(address)
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + sender + bytes(6) + socket.inet_aton("10.1.2.1")


def _ip4(source: str, protocol: int = 17, dport: int = 9) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, protocol, 0)
    return header + socket.inet_aton(source) + socket.inet_aton("10.1.2.1") + struct.pack("!HHHH", 68, dport, 8, 0)


def _ip6(source: str, next_header: int, payload: bytes) -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "ff02::1")
    return struct.pack("!IHBB", 6 << 28, len(payload), next_header, 255) + ends + payload


def _advert(target: str, mac: str) -> bytes:
    option = b"\x02\x01" + bytes.fromhex(mac.replace(":", ""))
    return struct.pack("!BBHI", 136, 0, 0, 0x20000000) + socket.inet_pton(socket.AF_INET6, target) + option


OWN, OTHER = MAC["b"], "02:c1:05:00:00:99"
LINK_LOCAL = "fe80::c1:5ff:fe00:b"
UDP = struct.pack("!HHHH", 9, 9, 8, 0)
FORGED = {
    "another MAC address": _frame(OTHER, 0x0800, _ip4("10.1.2.11")),
    "another in ARP": _frame(OWN, 0x0806, _arp(OTHER, "10.1.2.11")),
    "another in a neighbour advertisement": _frame(OWN, 0x86DD, _ip6("fd01::11", 58, _advert("fd01::11", OTHER))),
}
FORGED_IP = {
    "another address": _frame(OWN, 0x0800, _ip4("10.1.2.10")),
    "the host's address in ARP": _frame(OWN, 0x0806, _arp(OWN, "10.1.2.1")),
    "another IPv6 address": _frame(OWN, 0x86DD, _ip6("fd01::10", 17, UDP)),
    "another's link-local address": _frame(OWN, 0x86DD, _ip6("fe80::1", 17, UDP)),
    "the host's in a neighbour advertisement": _frame(OWN, 0x86DD, _ip6(LINK_LOCAL, 58, _advert("fd01::1", OWN))),
    "a router advertisement": _frame(OWN, 0x86DD, _ip6(LINK_LOCAL, 58, struct.pack("!BBHIII", 134, 0, 0, 0, 0, 0))),
    "the tag of a VLAN": _frame(OWN, 0x8100, struct.pack("!HH", 5, 0x0800) + _ip4("10.1.2.11")),
    "another protocol": _frame(OWN, 0x88B5, b"hello"),
    "nobody, but not for a lease": _frame(OWN, 0x0800, _ip4("0.0.0.0", dport=9)),
    "nobody, with TCP": _frame(OWN, 0x0800, _ip4("0.0.0.0", protocol=6)),
    "nobody, with UDP over IPv6": _frame(OWN, 0x86DD, _ip6("::", 17, UDP)),
}
HONEST = {
    "its own address": _frame(OWN, 0x0800, _ip4("10.1.2.11")),
    "its own in ARP": _frame(OWN, 0x0806, _arp(OWN, "10.1.2.11")),
    "a probe": _frame(OWN, 0x0806, _arp(OWN, "0.0.0.0")),
    "its own IPv6 address": _frame(OWN, 0x86DD, _ip6("fd01::11", 17, UDP)),
    "its own advertisement": _frame(OWN, 0x86DD, _ip6(LINK_LOCAL, 58, _advert("fd01::11", OWN))),
    "a request for a lease": _frame(OWN, 0x0800, _ip4("0.0.0.0", dport=67)),
}


def test_forged_mac_addresses_are_dropped(lab: Lab) -> None:
    lab.nft(nic.document(nic_b(is_mac_filtered=True)))
    for number, (what, frame) in enumerate(FORGED.items(), start=1):
        lab.send("b", frame)
        assert lab.dropped("security.mac_filter") == number, what
    for what, frame in HONEST.items():
        lab.send("b", frame)
        assert lab.dropped("security.mac_filter") == len(FORGED), what
    assert lab.ask("b", "192.0.2.1", 80) == "192.0.2.2" and lab.ask("a", "fd01::11", 80) == "fd01::10"


def test_forged_addresses_are_dropped(lab: Lab) -> None:
    lab.nft(nic.document(nic_b(is_ip_filtered=True)))
    for number, (what, frame) in enumerate((FORGED | FORGED_IP).items(), start=1):
        lab.send("b", frame)
        assert lab.dropped("security.ip_filter") == number, what
    for what, frame in HONEST.items():
        lab.send("b", frame)
        assert lab.dropped("security.ip_filter") == len(FORGED | FORGED_IP), what
    assert lab.ask("b", "192.0.2.1", 80) == "192.0.2.2" and lab.ask("a", "fd01::11", 80) == "fd01::10"


# --- what is left ----------------------------------------------------------------------------------------------------


def _but(**changes: object) -> Network:
    import msgspec

    return msgspec.structs.replace(NET, **changes)


def test_everything_is_taken_back_in_part_twice_and_without_the_interface(lab: Lab) -> None:
    before = lab.rules()
    everything = nic_b(
        ports=(Port("tcp", 8080, 8080, 80), Port("udp", 5, 9, 5, "192.0.2.2"), Port("tcp", 1, 1, 1, "fd77::2")),
        rules=(Rule("deny", "in", "tcp"),),
        is_mac_filtered=True,
        is_ip_filtered=True,
        is_on_loopback=True,
        egress_bps=10**6,
    )
    lab.host.run("ip", "link", "add", "qb", "type", "ifb")  # where what it sends too fast waits
    lab.nft(nic.remove(everything))
    lab.nft(nic.document(everything))
    lab.host.run("ip", "link", "delete", "vb")
    for _ in range(2):
        lab.nft(nic.remove(everything))
        assert _objects(lab.rules()) == _objects(before)


def test_rules_of_interfaces_that_are_nobodys_are_found_and_taken_away(lab: Lab) -> None:
    before = lab.rules()
    everything = nic_b(
        ports=(Port("tcp", 8080, 8080, 80), Port("udp", 5, 9, 5, "192.0.2.2"), Port("tcp", 1, 1, 1, "fd77::2")),
        rules=(Rule("deny", "in", "tcp", text="deny in tcp"),),
        is_on_loopback=True,
        egress_bps=10**6,
    )
    lab.host.run("ip", "link", "add", "qb", "type", "ifb")
    lab.nft(nic.document(everything))
    lab.host.run("ip", "link", "delete", "vb")
    listed = json.dumps({"nftables": lab.rules()})
    assert ("in_vb", "deny in tcp", 0, 0) in [
        (each.chain, each.text, each.packets, each.bytes) for each in counters.counts(listed, "vb")
    ]
    networks = {NET.name}.__contains__
    assert counters.stale(listed, NET.table, {"va", "vb"}.__contains__, networks) == ""
    lab.nft(counters.stale(listed, NET.table, {"va"}.__contains__, networks))
    assert _objects(lab.rules()) == _objects(before)


def test_a_network_is_taken_back_beside_another(lab: Lab) -> None:
    before = lab.rules()
    other = _but(name="other", bridge="br1", ipv4="10.9.0.1/16", ipv6="fd09::1/64", rules=(Rule("deny", "in"),))
    for _ in range(2):
        lab.nft(table.network(other).text())
    for _ in range(2):
        lab.nft(table.remove_network(other).text())
    assert _objects(lab.rules()) == _objects(before)
    lab.nft(table.remove_installation(NET.table).text())
    assert lab.rules() == []


def _objects(rules: list[Any]) -> list[str]:
    """Without what counts: handles and packets."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items() if key not in ("handle", "packets", "bytes")}
        return [plain(each) for each in value] if isinstance(value, list) else value

    return sorted(json.dumps(plain(each), sort_keys=True) for each in rules)

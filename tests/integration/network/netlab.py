"""A host with an outside, made of network namespaces, and everything a test may ask of them without asking cloison.

    outside                             host (where the tests run)              instances
    198.51.100.9, 2001:db8:9::9 (far)
    203.0.113.1  -- wan0 ------ wan0 -- 203.0.113.2        bridges, veths ...
    2001:db8::1                         2001:db8::2
                                        default routes to the outside

The outside knows the way to the host's own addresses alone: what it answers came under one of these. So nothing of the
machine's own network is touched, and its other users do not disturb. `enter` takes this whole process there, with a
/sys of its own for what says which interfaces there are; processes that cloison starts inherit that.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloison import Instance
from tests.integration import traces
from tests.integration.conftest import BUILD, PAYLOAD
from tests.patience import patient

OUTSIDE4, OUTSIDE6 = "203.0.113.1", "2001:db8::1"
FAR4, FAR6 = "198.51.100.9", "2001:db8:9::9"
HOST4, HOST6 = "203.0.113.2", "2001:db8::2"
UPLINK = "wan0"
_NEWNS, _NEWNET = 0x00020000, 0x40000000
PROGRAM = os.environ.get("CLOISON_TEST_PAYLOAD") or str(BUILD / "payload")

# Neither a duplicate address check nor an address that nobody asked for: both would only make tests wait. And no
# router: a new namespace takes its settings of IPv4 from the first one, whatever those are at the moment.
_QUIET = """
sysctl -qw net.ipv4.ip_forward=0
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
ip link set lo up
"""
# Which interfaces /sys has is fixed when it is mounted; the control groups below /sys have to stay.
_OWN_SYS = """
mount --make-rprivate /
mount --move /sys /mnt
mount -t sysfs sysfs /sys
mount --rbind /mnt/fs/cgroup /sys/fs/cgroup
umount --recursive --lazy /mnt
"""
_WIRED = f"""
ip link add {UPLINK} type veth peer name {UPLINK} netns $OUTSIDE
ip address add {HOST4}/24 dev {UPLINK}
ip address add {HOST6}/64 dev {UPLINK} nodad
ip link set {UPLINK} up
"""
_WIRED_OUTSIDE = f"""
ip address add {OUTSIDE4}/24 dev {UPLINK}
ip address add {OUTSIDE6}/64 dev {UPLINK} nodad
ip address add {FAR4}/32 dev lo
ip address add {FAR6}/128 dev lo nodad
ip link set {UPLINK} up
"""
_DEFAULT_ROUTES = f"""
ip route add default via {OUTSIDE4}
ip -6 route add default via {OUTSIDE6}
"""
# The link's own address comes a moment after the link, and is to be among what was there before a test.
_SETTLED = f"""
timeout 60 sh -c 'until ip -6 address show dev {UPLINK} scope link -tentative | grep -q fe80; do sleep 0.02; done'
"""


class World:
    """A network namespace that a process keeps, with what runs there."""

    def __init__(self, *kinds: str, script: str = "") -> None:
        self._keeper = subprocess.Popen(["unshare", *kinds, "sh", "-c", "echo; exec sleep infinity"], stdout=-1)
        assert self._keeper.stdout is not None
        self._keeper.stdout.readline()
        self.pid = self._keeper.pid
        self.do(script)

    def argv(self, *argv: str) -> list[str]:
        """A command in there."""
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--", *argv]

    def do(self, script: str, **environment: str) -> None:
        """Lines of shell, each of which must succeed."""
        done = subprocess.run(
            self.argv("sh", "-e", "-c", script), capture_output=True, text=True, env={**os.environ, **environment}
        )
        assert done.returncode == 0, done.stderr

    def end(self) -> None:
        self._keeper.kill()
        self._keeper.wait()
        if self._keeper.stdout is not None:
            self._keeper.stdout.close()


class Lab:
    """The host and its outside."""

    def __init__(self) -> None:
        self.outside = World("--net", script=_QUIET)
        self.host = World("--net", "--mount", script=_QUIET + _OWN_SYS)
        self.host.do(_WIRED, OUTSIDE=str(self.outside.pid))
        self.outside.do(_WIRED_OUTSIDE)
        self.host.do(_DEFAULT_ROUTES)
        for each in (self.host, self.outside):
            each.do(_SETTLED)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This process is on that host meanwhile. It has to be its only thread."""
        home = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
        there = os.pidfd_open(self.host.pid)
        directory = os.getcwd()
        try:
            _setns(there, _NEWNET | _NEWNS)
            os.chdir(directory)
            yield
        finally:
            for fd, kind in zip(home, (_NEWNET, _NEWNS), strict=True):
                _setns(fd, kind)
            os.chdir(directory)
            for fd in (there, *home):
                os.close(fd)

    def end(self) -> None:
        self.host.end()
        self.outside.end()


def _setns(fd: int, kinds: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, kinds) < 0:
        raise OSError(ctypes.get_errno(), "setns")


# --- what is where, by other witnesses -------------------------------------------------------------------------------

HERE: None = None  # the host, where this process is
Place = Instance | World | None


def _argv(place: Place, *argv: str) -> list[str]:
    if place is None:
        return list(argv)
    if isinstance(place, World):
        return place.argv(*argv)
    return ["nsenter", "--target", str(place.observe().pid), "--net", "--", *argv]


def told(*argv: str) -> Any:
    """What a program of the host says in JSON."""
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return json.loads(done.stdout or "[]")


def ip(place: Place, *words: str) -> list[dict[str, Any]]:
    """`ip -json WORDS` in the network namespace of a place."""
    found = told(*_argv(place, "ip", "-json", "-details", *words))
    assert isinstance(found, list)
    return [each for each in found if each]  # `ip` writes {} for what it leaves out


def link(place: Place, name: str) -> dict[str, Any]:
    """One interface."""
    return next(each for each in ip(place, "link", "show") if each["ifname"] == name)


def bridge_of(instance: Instance, name: str = "eth0") -> str:
    """The bridge that a nic of an instance is a port of, as the kernel has it."""
    index = link(instance, name)["link_index"]
    return str(next(each for each in ip(HERE, "link", "show") if each["ifindex"] == index)["master"])


def link_names(place: Place) -> set[str]:
    return {each["ifname"] for each in ip(place, "link", "show")}


def addresses(place: Place, name: str) -> list[str]:
    """The global addresses of an interface, as CIDR."""
    found = next(each for each in ip(place, "address", "show") if each["ifname"] == name)["addr_info"]
    return [f"{each['local']}/{each['prefixlen']}" for each in found if each["scope"] == "global"]


def address(place: Place, name: str = "eth0", family: int = 4) -> str:
    """Its first global address of a family, without the prefix length."""
    return next(each for each in addresses(place, name) if (":" in each) == (family == 6)).partition("/")[0]


def routes(place: Place, family: int = 4) -> set[str]:
    """Each as "DESTINATION via GATEWAY dev INTERFACE"; of IPv6 without what every interface has."""
    found = ip(place, f"-{family}", "route", "show", "table", "main")
    return {
        f"{each['dst']} via {each.get('gateway', '-')} dev {each.get('dev', '-')}"
        for each in found
        if not each["dst"].startswith(("fe80::/64", "ff00::"))
    }


def rules() -> list[str]:
    """Every table, chain, set and rule of nftables, without what counts and numbers."""
    return sorted(
        json.dumps(_bare(each), sort_keys=True) for each in told("nft", "--json", "list", "ruleset")["nftables"]
    )


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _bare(each) for key, each in value.items() if key not in ("handle", "packets", "bytes", "metainfo")
        }
    return [_bare(each) for each in value] if isinstance(value, list) else value


def rule_texts() -> str:
    """All of it as people read it."""
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


def daemons() -> list[int]:
    """The dnsmasq processes on this host."""
    here = os.readlink("/proc/self/ns/net")
    found = []
    for pid in traces.all_pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "dnsmasq\n" and os.readlink(f"/proc/{pid}/ns/net") == here:
                found.append(pid)
    return found


_SWITCHES = (
    *("ipv4/ip_forward", "ipv4/conf/*/*forwarding", "ipv6/conf/*/*forwarding", "ipv4/conf/*/route_localnet"),
    *("ipv4/conf/*/proxy_arp", "ipv6/conf/*/proxy_ndp", "ipv4/conf/*/rp_filter", "ipv6/conf/*/accept_ra"),
)


def switches() -> dict[str, str]:
    """What the kernel is told about forwarding, of interfaces that stay."""
    base = Path("/proc/sys/net")
    return {str(path): path.read_text().strip() for each in _SWITCHES for path in sorted(base.glob(each))}


def state() -> dict[str, Any]:
    """Everything of this host that a network may change."""
    return {
        "links": link_names(HERE),
        "cards": {
            each["ifname"]: (each.get("address"), each["mtu"], each.get("altnames"), each["promiscuity"])
            for each in ip(HERE, "link", "show")
        },
        "addresses": {each["ifname"]: sorted(a["local"] for a in each["addr_info"]) for each in ip(HERE, "address")},
        "routes4": routes(HERE),
        "routes6": routes(HERE, 6),
        "proxies": sorted(str(each) for each in ip(HERE, "neighbour", "show", "proxy")),
        "rules": rules(),
        "daemons": daemons(),
        "switches": switches(),
    }


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    """What is not the same: what has gone, and what has come."""
    return {
        key: f"-{sorted(_items(before[key]) - _items(after[key]))} +{sorted(_items(after[key]) - _items(before[key]))}"
        for key in before
        if before[key] != after[key]
    }


def _items(value: Any) -> set[str]:
    return {f"{key}: {value[key]}" for key in value} if isinstance(value, dict) else {str(each) for each in value}


# --- who talks to whom -----------------------------------------------------------------------------------------------


class Talker:
    """A `payload VERB...` at a place, from its "ok" on."""

    def __init__(self, place: Place, *verb: str) -> None:
        self._execution = None
        self._process = None
        reader, writer = os.pipe()
        self.out = os.fdopen(reader, "r")
        if isinstance(place, Instance):
            null = os.open("/dev/null", os.O_RDWR)
            self._execution = place.spawn([PAYLOAD, *verb], stdio=(null, writer, writer)).__enter__()
            os.close(null)
        else:
            self._process = subprocess.Popen(_argv(place, PROGRAM, *verb), stdout=writer, stderr=writer)
        os.close(writer)
        said = self.out.readline()
        if said != "ok\n":
            self.end()
        assert said == "ok\n", (verb, said)

    def rest(self) -> str:
        """What it still says, until it ends."""
        return self.out.read().strip()

    def end(self) -> None:
        """Kill it, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._execution is not None:
            with contextlib.suppress(ProcessLookupError):
                self._execution.signal(signal.SIGKILL)
            self._execution.__exit__(None, None, None)
        self.out.close()


@contextlib.contextmanager
def talking(place: Place, *verb: str) -> Iterator[Talker]:
    """It runs meanwhile."""
    talker = Talker(place, *verb)
    try:
        yield talker
    finally:
        talker.end()


@contextlib.contextmanager
def serving(place: Place, port: int = 80, protocol: str = "tcp", where: str = "::") -> Iterator[None]:
    """A server that tells everyone as whom it sees him."""
    with talking(place, "serve", protocol, where, str(port)):
        yield


def said(place: Place, *verb: str) -> str:
    """What `payload VERB...` says at a place."""
    if isinstance(place, Instance):
        result = place.exec([PAYLOAD, *verb])
        assert result.code == 0, result
        return result.stdout.decode().strip()
    return subprocess.run(_argv(place, PROGRAM, *verb), check=True, capture_output=True, text=True).stdout.strip()


def asks(place: Place, target: str, port: int = 80, protocol: str = "tcp", timeout_ms: int = 0) -> str:
    """The address under which a server there sees a client here, or the name of the errno that it got. Without a limit
    of its own it waits as long as an answer may take that is certain to come."""
    waits_ms = timeout_ms or int(patient(5000))
    return said(place, "ask", protocol, target, str(port), str(waits_ms)).partition(" ")[0]


def cannot_reach(place: Place, target: str, port: int = 80, protocol: str = "tcp") -> bool:
    """Whether it gets no answer; half a second is plenty on one machine, and the opposite is tried elsewhere."""
    answer = asks(place, target, port, protocol, 500)
    return answer in ("ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EACCES", "EPERM")


def rate_bps(
    sender: Place, receiver: Place, target: str, protocol: str, send_bps: int = 0, span_ms: int = 3000
) -> float:
    """Bits per second of payload that arrive."""
    with talking(receiver, "sink", protocol, "::", "5001", str(span_ms)) as sink:
        said(sender, "flood", protocol, target, "5001", str(send_bps // 1_000_000), str(span_ms + 1000))
        count, microseconds = map(int, sink.rest().split())
    return count * 8e6 / microseconds


@contextlib.contextmanager
def frames(place: Place, interface: str, last: bytes = b"") -> Iterator[list[bytes]]:
    """The frames that come in there meanwhile; complete once this has ended: when one with `last` in it has come, which
    has to be sent behind the others, or else a moment later."""
    found: list[bytes] = []
    with talking(place, "frames", interface) as talker:
        yield found
        deadline = time.monotonic() + (patient(10) if last else patient(0.1))
        raw = b""
        while last.hex().encode() not in raw or not last:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([talker.out], [], [], left_s)[0]:
                assert not last, "the last frame has not come"
                break
            raw += os.read(talker.out.fileno(), 1 << 16)
        found += [bytes.fromhex(line.decode()) for line in raw.splitlines() if len(line) % 2 == 0]


# --- frames and questions that are made by hand ----------------------------------------------------------------------

BROADCAST = "ff:ff:ff:ff:ff:ff"


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def arp(
    sender_mac: str, sender_ip: str, target_ip: str, *, source: str = "", to: str = BROADCAST, reply: bool = False
) -> str:
    """An ARP packet that says that `sender_ip` is at `sender_mac` (RFC 826), from the MAC address `source`, as hex."""
    header = _mac(to) + _mac(source or sender_mac) + b"\x08\x06"
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2 if reply else 1) + _mac(sender_mac) + socket.inet_aton(sender_ip)
    return (header + body + _mac(to if reply else "00:00:00:00:00:00") + socket.inet_aton(target_ip)).hex()


def udp4(
    source_mac: str,
    to_mac: str,
    source: str,
    to: str,
    payload: bytes = b"spoof",
    ports: tuple[int, int] = (7777, 7777),
) -> str:
    """A UDP datagram over IPv4, from one port to the other, without a UDP checksum, as hex."""
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton(to)
    return (_mac(to_mac) + _mac(source_mac) + b"\x08\x00" + _with_checksum(head, 10) + udp).hex()


def udp6(source_mac: str, to_mac: str, source: str, to: str, payload: bytes = b"spoof") -> str:
    """The same over IPv6, where there has to be a checksum."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to)
    udp = struct.pack("!HHHH", 7777, 7777, 8 + len(payload), 0) + payload
    udp = udp[:6] + _checksum(ends + struct.pack("!IHBB", len(udp), 0, 0, 17) + udp) + udp[8:]
    head = struct.pack("!IHBB", 0x60000000, len(udp), 17, 64) + ends
    return (_mac(to_mac) + _mac(source_mac) + b"\x86\xdd" + head + udp).hex()


def advertisement(source_mac: str, to_mac: str, source: str, to: str, target: str, target_mac: str) -> str:
    """A neighbour advertisement (RFC 4861, 4.4): `target` is at `target_mac`; as hex."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to)
    body = (
        struct.pack("!BBHI", 136, 0, 0, 0x20000000)
        + socket.inet_pton(socket.AF_INET6, target)
        + b"\x02\x01"
        + _mac(target_mac)
    )
    body = body[:2] + _checksum(ends + struct.pack("!IHBB", len(body), 0, 0, 58) + body) + body[4:]
    head = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + ends
    return (_mac(to_mac) + _mac(source_mac) + b"\x86\xdd" + head + body).hex()


def _checksum(data: bytes) -> bytes:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def _with_checksum(header: bytes, at: int) -> bytes:
    return header[:at] + _checksum(header) + header[at + 2 :]


def resolve(server: str, name: str, family: int = 4) -> list[str]:
    """The addresses that a name server has for a name (RFC 1035), asked by hand."""
    kind = 1 if family == 4 else 28
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    query = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + question + struct.pack("!2H", kind, 1)
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(patient(5))
        asking.sendto(query, (server, 53))
        reply = asking.recv(4096)
    count, at, found = struct.unpack("!H", reply[6:8])[0], len(query), []
    for _ in range(count):
        at += 2 if reply[at] & 0xC0 else reply.index(b"\0", at) + 1 - at
        answered, _class, _ttl, length = struct.unpack("!HHIH", reply[at : at + 10])
        raw, at = reply[at + 10 : at + 10 + length], at + 10 + length
        if answered == kind:
            found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, raw))
    return found

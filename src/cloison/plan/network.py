"""The interfaces of an instance: how they are made, brought up inside, and taken back. Pure.

What is made of a type, and by whom it is taken back:

    bridged, routed, p2p     a veth pair, born on the host with its peer inside; deleted by the name of the host's end;
                             and where what it sends is limited, an ifb on the host to which packet rules lead that
    macvlan, ipvlan, vlan    born inside, on an interface of the host; deleted inside
    phys                     an interface of the host, moved inside; moved back, and made what it was there

A namespace ends some time after its last process, and what is in it with it: its veths, but also the macvlan whose MAC
address the next start is to have, and a lent interface that is not hardware. So what the host cannot name is taken back
by way of its namespace, which is therefore mounted at a file (`NetworkPlace.hold`) as long as it is needed. Should a
guest have hidden a lent interface in a namespace of its own, the kernel brings it back to the host, under some name and
index: it is known by its alternative name then.

Indexes are chosen and not asked for, so that every message is known beforehand: inside a new namespace 2, 3, ...; on
the host, and where the namespace is not new or older kernels take the host's for it, one out of 2^30 that follows from
the instance and the number of the interface.

Source: kernel.netlink; net/core/dev.c, default_device_exit_net.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from cloison.base.errors import Bug, Invalid
from cloison.kernel import netlink
from cloison.kernel.abi import OPEN_TREE_CLONE
from cloison.kernel.netlink import NETNS_LATER, NOWHERE, IpvlanMode, Link, MacvlanMode, Message, inet
from cloison.plan.builder import Builder
from cloison.plan.inputs import NetworkPlace
from cloison.plan.mount_steps import MoveMount, OpenTree, Umount
from cloison.plan.network_steps import Netlink, NetlinkIn, NetlinkOn, RenameLink, Run, WriteFile
from cloison.plan.plan import Plan
from cloison.plan.steps import MISSING, NO_SLOT, Create, Step, Unlink, Write
from cloison.spec.network import Interface, Route
from cloison.spec.nics import BRIDGED, IPVLAN, MACVLAN, P2P, PHYS, ROUTED

PAIRS: Final = (BRIDGED, ROUTED, P2P)
NETNS: Final = 0  # the slot of the namespace in a plan for a running instance
_FIRST_INDEX = 2  # inside; the loopback is 1
# Newer kernels give a veth one for each processor, and an entry in /sys for each of them, which takes as long as all
# the rest on a large machine. Without XDP nothing ever waits in them.
_VETH_QUEUES = 1
_AT_ONCE = 100  # messages; see wire.MOST_MESSAGES
_RETURN_MS = 5000  # a namespace is taken down in some 20 ms, and waits for others that are
_TBF_US = 20_000  # what may pass at once, as a time at the full rate
_TBF_LEAST_BYTES = 16 << 10  # one jumbo frame; larger ones (segmentation offload) are cut by the kernel
_TBF_LATENCY_US = 50_000
_ENOENT, _EEXIST = 2, 17


def attach(build: Builder, interfaces: tuple[Interface, ...], netns: int, place: NetworkPlace) -> None:
    """Make the interfaces of a new instance, whose network namespace is in the slot `netns`.

    They are of use once `take_up` has been carried out inside. What takes their packet rules back is in `place.later`,
    since those may change while the instance runs."""
    for interface in interfaces:
        _make(build, interface, netns, place, interface.number + _FIRST_INDEX)
        _say(build, interface, place)


def take_up(
    build: Builder, interfaces: tuple[Interface, ...], place: NetworkPlace, *, is_loopback_up: bool = True
) -> None:
    """Bring up what `attach` has made, and the loopback, as root inside: addresses, routes."""
    messages = [netlink.set_link("lo", is_up=True)] if is_loopback_up else []
    words = ["link set lo up"] if is_loopback_up else []
    for interface in interfaces:
        index = _index(interface, place, interface.number + _FIRST_INDEX)
        messages += _inside(interface, index)
        words += _inside_words(interface)
    for step in _batches("; ".join(words), messages):
        build.inside(step)


def compile_attach(title: str, interface: Interface, place: NetworkPlace) -> Plan:
    """The plan that gives a running instance, whose network namespace is slot 0, one more interface.

    Who runs it has put its undo steps into `place.later` before."""
    build = Builder(title, inherited=("its network namespace",))
    place = msgspec.structs.replace(place, is_late=True)
    index = _late_index(interface, place)
    _make(build, interface, NETNS, place, index)
    _say(build, interface, place, undo=rules_undo(place, interface))
    build.chapter(f"bring {interface.name} up inside")
    for step in _batches("; ".join(_inside_words(interface)), _inside(interface, index), ns=NETNS):
        build.host(step)
    return build.plan()


def compile_detach(
    title: str, interface: Interface, place: NetworkPlace, *, is_late: bool, written: Iterable[Step] = ()
) -> Plan:
    """The plan that takes an interface away from a running instance; `is_late`: it came after the start.

    What a lent one was at home is known no longer but in the steps that were `written` down."""
    there, place = Builder(title), msgspec.structs.replace(place, is_late=is_late)
    _make(
        there, interface, NO_SLOT, place, _late_index(interface, place) if is_late else interface.number + _FIRST_INDEX
    )
    build = Builder(title)
    build.chapter(f"take {interface.name} away")
    for step in rules_undo(place, interface):
        build.host(step)
    for step, _is_final in there.plan().undo():
        build.host(step)
        if isinstance(step, RenameLink):
            for other in written:
                if isinstance(other, NetlinkOn) and other.name == step.name:
                    build.host(other)
    return build.plan()


def compile_rules(title: str, before: Interface, after: Interface, place: NetworkPlace) -> Plan:
    """The plan that puts the packet rules, the rates and the isolation of `after` in the place of those of `before`.

    `after.nft` is what makes its rules of those of `before`, and `before.nft` what makes them again."""
    build = Builder(title)
    build.chapter(f"the packet rules of {after.name}")
    index = place.index(after.number)
    for there, back in zip(_changed(before, after, index), _changed(after, before, index), strict=True):
        build.host(there, undo=(back,))
    if after.egress_bps != before.egress_bps and after.egress_bps:
        kept = _rated(before.queue, place.queue_index(before.number), before.egress_bps) if before.egress_bps else None
        build.host(_queue(after, place, is_there=kept is not None), undo=(kept or _no_queue(after),))
    if before.is_on_loopback and not after.is_on_loopback:
        build.host(_loopback(after), undo=(_loopback(before),))
    back_rules = packet_rules(place, before.nft)
    for number, run in enumerate(packet_rules(place, after.nft)):
        build.host(run, undo=() if number else back_rules)
    if after.is_on_loopback and not before.is_on_loopback:
        build.host(_loopback(after), undo=(_loopback(before),))
    if before.egress_bps and not after.egress_bps:
        build.host(_no_queue(before))
    return build.plan()


def compile_port(title: str, interface: Interface, host_index: int) -> Plan:
    """The plan that makes the host's end a port of its bridge, which is another one than it was."""
    build = Builder(title)
    messages = [netlink.set_link(host_index, master=interface.master_index)]
    words = [f"link set dev {interface.host_name} master {interface.master}"]
    for message, word in _port(interface, host_index):
        messages.append(message)
        words.append(word)
    for step in _batches("; ".join(words), messages):
        build.host(step)
    return build.plan()


def rules_undo(place: NetworkPlace, interface: Interface) -> tuple[Step, ...]:
    """What takes the packet rules of an interface back, and the queue that they lead to."""
    return (
        *packet_rules(place, interface.nft_undo),
        *([_no_queue(interface)] if interface.egress_bps else ()),
    )


# --- make ------------------------------------------------------------------------------------------------------------


def _make(build: Builder, interface: Interface, netns: int, place: NetworkPlace, index: int) -> None:
    """`index` is that inside, where the type does not need another one."""
    build.chapter(
        f"the interface {interface.name}: {interface.type}" + (f" on {interface.master}" * bool(interface.master))
    )
    for path, text in interface.files:
        build.host(WriteFile(path, 0o644, text.encode("utf-8", "surrogateescape")), undo=(Unlink(path),))
    index = _index(interface, place, index)
    if interface.type in PAIRS:
        _make_pair(build, interface, netns, place.index(interface.number), index)
    else:
        _hold(build, netns, place.hold(interface.number))
        if interface.type == PHYS:
            _lend(build, interface, netns, place, index)
        else:
            _make_upon(build, interface, netns, place, index)


def _say(build: Builder, interface: Interface, place: NetworkPlace, *, undo: tuple[Step, ...] = ()) -> None:
    queue = [_queue(interface, place, is_there=False)] if interface.egress_bps else []
    for number, step in enumerate((*queue, *packet_rules(place, interface.nft))):
        build.host(step, undo=() if number else undo)
    if interface.is_on_loopback:  # once the rules are there that keep everybody else off it
        build.host(_loopback(interface))


def _loopback(interface: Interface) -> Write:
    """Whether what the host sends from 127.0.0.1 may leave by its end of a pair, and the answers come in."""
    setting = f"/proc/sys/net/ipv4/conf/{interface.host_name}/route_localnet"
    return Write(NO_SLOT, setting, "1" if interface.is_on_loopback else "0")


def packet_rules(place: NetworkPlace, documents: str) -> tuple[Run, ...]:
    """What has nft take documents, a line each; every one is a transaction of its own."""
    return tuple(Run((place.nft, "--json", "-f", "-"), document) for document in documents.splitlines())


def _index(interface: Interface, place: NetworkPlace, index: int) -> int:
    """Older kernels ask the host whether the index of a macvlan is free."""
    return index if interface.type in (*PAIRS, PHYS) else place.index(interface.number)


def _late_index(interface: Interface, place: NetworkPlace) -> int:
    """A guest may have taken the small ones."""
    return place.lent_index(interface.number) if interface.type == PHYS else place.index(interface.number)


def _make_pair(build: Builder, interface: Interface, netns: int, host_index: int, index: int) -> None:
    """The host's end is up from the start: bringing the other one up gives both their carrier."""
    host_name = interface.host_name
    mac = f"fe{interface.mac[2:]}" if interface.mac else ""  # the highest: a bridge takes the lowest of its ports
    if interface.type == BRIDGED:
        _expect_master(interface)
    master = interface.master_index if interface.type == BRIDGED else 0
    outer = Link(
        name=host_name, index=host_index, mac=mac, mtu=interface.mtu, is_up=True, master=master, queues=_VETH_QUEUES
    )
    inner = Link(
        name=interface.name,
        index=index,
        mac=interface.mac,
        mtu=interface.mtu,
        netns=NETNS_LATER,
        queues=_VETH_QUEUES,
    )
    messages = [netlink.add_veth(outer, inner)]
    words = [f"link add {host_name} up type veth peer {interface.name} (inside, index {index})"]
    if master:
        words[0] += f" master {interface.master}"
    for message, word in (
        *_port(interface, host_index),
        *_routed(interface, host_index),
        *_rate(interface, host_index),
    ):
        messages.append(message)
        words.append(word)
    gone = _step(f"link del {host_name}", netlink.delete_link(host_name), ignore=MISSING)
    for number, step in enumerate(_batches("; ".join(words), messages, fd=netns)):
        build.host(step, undo=() if number else (gone,))
    if interface.type in (ROUTED, P2P):
        _shield(build, interface)
    _proxies(build, interface)


def _expect_master(interface: Interface) -> None:
    if not interface.master_index:
        raise Invalid(
            f"the interface {interface.name} ({interface.type}) needs {interface.master or 'an interface of the host'},"
            " which this host does not have",
            hint="`ip link` lists them",
        )


def _port(interface: Interface, host_index: int) -> Iterator[tuple[Message, str]]:
    if interface.type != BRIDGED:
        return
    if interface.is_isolated:
        yield netlink.set_port(host_index, is_isolated=True), f"bridge link set dev {interface.host_name} isolated on"
    if interface.is_hairpin:
        yield netlink.set_port(host_index, is_hairpin=True), f"bridge link set dev {interface.host_name} hairpin on"
    if interface.vlan:
        dev = f"dev {interface.host_name}"
        yield netlink.delete_port_vlan(host_index, 1, last=4094), f"bridge vlan del {dev} vid 1-4094"
        own = netlink.add_port_vlan(host_index, interface.vlan, is_pvid=True, is_untagged=True)
        yield own, f"bridge vlan add {dev} vid {interface.vlan} pvid untagged"


def _routed(interface: Interface, host_index: int) -> Iterator[tuple[Message, str]]:
    """The host is the instance's gateway and knows the way to each of its addresses."""
    if interface.type != ROUTED:
        return
    for gateway in interface.gateways:
        address = f"{gateway}/{64 if gateway.lower().startswith('fe80:') else 128 if ':' in gateway else 32}"
        said = f"addr add {address} dev {interface.host_name}"
        yield netlink.add_address(host_index, address, is_nodad=":" in address), said
    for address in interface.addresses:
        to = _alone(address)
        yield netlink.add_route(netlink.Route(to=to, device=host_index)), f"route add {to} dev {interface.host_name}"


def _rate(interface: Interface, host_index: int) -> Iterator[tuple[Message, str]]:
    if interface.ingress_bps:
        yield _tbf(interface.host_name, host_index, interface.ingress_bps)


def _tbf(name: str, index: int, rate_bps: int) -> tuple[Message, str]:
    """What an interface sends waits its turn, whatever it had to wait for before."""
    rate = max(rate_bps // 8, 1)
    burst = min(max(rate * _TBF_US // 1_000_000, _TBF_LEAST_BYTES), (1 << 32) - 1)
    message = netlink.add_tbf(
        index, rate_bytes_per_s=rate, burst_bytes=burst, latency_us=_TBF_LATENCY_US, is_replacing=True
    )
    return message, f"qdisc replace dev {name} root tbf rate {rate_bps}bit burst {burst}"


def _rated(name: str, index: int, rate_bps: int) -> Netlink:
    """The rate of an interface that has been there; 0 is none."""
    if rate_bps:
        message, words = _tbf(name, index, rate_bps)
        return _step(words, message)
    return _step(f"qdisc del dev {name} root", netlink.delete_qdisc(index), ignore=_ENOENT)


def _queue(interface: Interface, place: NetworkPlace, *, is_there: bool) -> Netlink:
    """Where packets wait that the instance sends: a queue is left in one direction, and towards the host that is the
    wrong one, so they are led through an interface more."""
    name, index = interface.queue, place.queue_index(interface.number)
    if is_there:
        return _rated(name, index, interface.egress_bps)
    message, words = _tbf(name, index, interface.egress_bps)
    made = netlink.add_ifb(Link(name=name, index=index, is_up=True))
    return _step(f"link add {name} up type ifb; {words}", made, message)


def _no_queue(interface: Interface) -> Netlink:
    return _step(f"link del {interface.queue}", netlink.delete_link(interface.queue), ignore=MISSING)


def _changed(before: Interface, after: Interface, index: int) -> Iterator[Netlink]:
    """What is set on the host's end, and not the same afterwards."""
    if before.ingress_bps != after.ingress_bps:
        yield _rated(after.host_name, index, after.ingress_bps)
    if before.is_isolated != after.is_isolated:
        words = f"bridge link set dev {after.host_name} isolated {'on' if after.is_isolated else 'off'}"
        yield _step(words, netlink.set_port(index, is_isolated=after.is_isolated))
    if before.is_hairpin != after.is_hairpin:
        words = f"bridge link set dev {after.host_name} hairpin {'on' if after.is_hairpin else 'off'}"
        yield _step(words, netlink.set_port(index, is_hairpin=after.is_hairpin))


def _shield(build: Builder, interface: Interface) -> None:
    """The host forwards what comes from there, and does not take it for a router: a guest could send it
    advertisements. Without IPv6 there is nothing to switch off."""
    settings = "/proc/sys/net/{}/conf/" + interface.host_name
    build.host(Write(NO_SLOT, settings.format("ipv6") + "/accept_ra", "0"), optional=True)
    if interface.type == ROUTED:
        build.host(Write(NO_SLOT, settings.format("ipv4") + "/forwarding", "1"))
        build.host(Write(NO_SLOT, settings.format("ipv6") + "/force_forwarding", "1"), optional=True)


def _proxies(build: Builder, interface: Interface) -> None:
    """The host answers ARP and NDP for the instance."""
    for address, uplink in interface.proxies:
        words = f"neigh add proxy {address} (on interface {uplink})"
        back = _step(words.replace("add", "del"), netlink.delete_proxy(uplink, address), ignore=MISSING)
        build.host(_step(words, netlink.add_proxy(uplink, address)), undo=(back,))


def _hold(build: Builder, netns: int, path: str) -> None:
    tree = build.slot()
    build.host(OpenTree(tree, netns, "", OPEN_TREE_CLONE), undo=(Umount(path),))
    build.host(MoveMount(tree, NO_SLOT, path, Create.FILE))


def _make_upon(build: Builder, interface: Interface, netns: int, place: NetworkPlace, index: int) -> None:
    """Born under a name that nobody has, and named inside: see kernel.netlink.links."""
    _expect_master(interface)
    link = Link(
        name=f"cl{index:x}",
        index=index,
        mac="" if interface.type == IPVLAN else interface.mac,
        mtu=interface.mtu,
        parent=interface.master_index,
        netns=NETNS_LATER,
    )
    mode = interface.mode or {MACVLAN: "bridge", IPVLAN: "l2"}.get(interface.type, "")
    match interface.type:
        case "macvlan":
            message = netlink.add_macvlan(link, MacvlanMode[mode.upper()])
        case "ipvlan":
            message = netlink.add_ipvlan(link, IpvlanMode[mode.upper()])
        case "vlan":
            message, mode = netlink.add_vlan(link, interface.vlan), f"id {interface.vlan}"
        case _:
            raise Bug(f"there is no interface of the type {interface.type!r}")
    words = f"link add link {interface.master} {link.name} (inside) type {interface.type} {mode}"
    batch = netlink.batch(netlink.delete_link(index))
    back = NetlinkIn(f"link del {interface.name}", place.hold(interface.number), NOWHERE, batch.data, MISSING)
    build.host(_step(words, message, fd=netns), undo=(back,))


def _lend(build: Builder, interface: Interface, netns: int, place: NetworkPlace, index: int) -> None:
    altname, name = place.altname(interface.number), interface.host_name
    build.host(
        _step(f"link property add dev {name} altname {altname}", netlink.add_altname(name, altname), ignore=_EEXIST),
        undo=(_step(f"link property del altname {altname}", netlink.delete_altname(altname, altname), ignore=MISSING),),
    )
    batch = netlink.batch(netlink.set_link(index, is_up=False, name=name, netns=NETNS_LATER))
    home = NetlinkIn(
        f"link set dev {interface.name} netns (the host's) name {name}",
        place.hold(interface.number),
        batch.netns_at,
        batch.data,
        MISSING,
    )
    there = netlink.set_link(name, netns=NETNS_LATER, new_index=index)
    build.host(
        _step(f"link set dev {name} netns (inside) index {index}", there, fd=netns),
        undo=(home, RenameLink(altname, name, _RETURN_MS), *_as_it_was(interface, altname)),
    )


def _as_it_was(interface: Interface, altname: str) -> Iterator[NetlinkOn]:
    """What it has been given inside comes home with it, what it had at home does not."""
    home, any_index = interface.home, 1
    if home is None:
        return
    messages = [netlink.set_link(any_index, is_up=False, mac=home.mac, mtu=home.mtu)]
    words = f"link set dev {interface.host_name} address {home.mac} mtu {home.mtu}".replace("address  ", "")
    if home.is_up:
        messages.append(netlink.set_link(any_index, is_up=True))
        words += " up"
    messages += [netlink.add_address(any_index, each, is_replacing=True) for each in home.addresses]
    words += "".join(f"; addr add {each}" for each in home.addresses)
    yield NetlinkOn(words, altname, b"".join(netlink.batch(each).data for each in messages), MISSING)


# --- inside ----------------------------------------------------------------------------------------------------------


def _inside(interface: Interface, index: int) -> list[Message]:
    """By the index, since who is there may have renamed it already. First up: an address has its route only then.

    From that moment on routers may be heard, and have the kernel make a default route of their own, with the metric
    that any route of IPv6 has: ours comes beside it."""
    if interface.type in PAIRS:
        up = netlink.set_link(index, is_up=True)
    elif interface.type == PHYS:
        up = netlink.set_link(index, is_up=True, name=interface.name, mac=interface.mac, mtu=interface.mtu)
    else:
        up = netlink.set_link(index, is_up=True, name=interface.name)
    addresses = [netlink.add_address(index, each, is_nodad=":" in each) for each in _addresses(interface)]
    return [up, *addresses, *(netlink.add_route(each, is_beside=":" in each.to) for each in _routes(interface, index))]


def _inside_words(interface: Interface) -> list[str]:
    dev = f"dev {interface.name}"
    words = [f"link set {dev} up"] + [f"addr add {each} {dev}" for each in _addresses(interface)]
    for route in _routes(interface, 1):
        via = f" via {route.via}" if route.via else ""
        words.append(f"route add {route.to}{via} {dev}" + " onlink" * route.is_onlink)
    return words


def _addresses(interface: Interface) -> tuple[str, ...]:
    """Routed ones have no neighbours."""
    return tuple(_alone(each) if interface.type == ROUTED else each for each in interface.addresses)


def _alone(address: str) -> str:
    raw, _prefix = inet.split(address)
    return f"{inet.text(raw)}/{8 * len(raw)}"


def _routes(interface: Interface, index: int) -> list[netlink.Route]:
    wanted = (*(Route("default", gateway) for gateway in interface.gateways), *interface.routes)
    networks = [inet.split(each) for each in _addresses(interface)]
    return [
        netlink.Route(
            to=_destination(route),
            device=index,
            via=route.via,
            is_onlink=bool(route.via) and not _is_among(route.via, networks),
            metric=route.metric,
        )
        for route in wanted
    ]


def _destination(route: Route) -> str:
    if route.destination != "default":
        return route.destination
    return "::/0" if ":" in route.via else "0.0.0.0/0"


def _is_among(gateway: str, networks: Iterable[tuple[bytes, int]]) -> bool:
    """Whether a gateway is a neighbour by its address; one of the link itself (fe80::) always is."""
    raw = inet.packed(gateway)
    if raw[:1] == b"\xfe" and len(raw) == 16:
        return True
    return any(len(raw) == len(own) and _prefix(raw, bits) == _prefix(own, bits) for own, bits in networks)


def _prefix(raw: bytes, bits: int) -> int:
    return int.from_bytes(raw, "big") >> (8 * len(raw) - bits)


# --- steps -----------------------------------------------------------------------------------------------------------


def _step(words: str, *messages: Message, fd: int = NO_SLOT, ns: int = NO_SLOT, ignore: int = 0) -> Netlink:
    batch = netlink.batch(*messages)
    if batch.netns_at == NOWHERE:
        return Netlink(words, ns, NO_SLOT, 0, batch.data, ignore, 0)
    return Netlink(words, ns, fd, batch.netns_at, batch.data, ignore, 0)


def _batches(words: str, messages: list[Message], *, fd: int = NO_SLOT, ns: int = NO_SLOT) -> Iterator[Netlink]:
    """As few steps as there can be; only the first has something to say."""
    for start in range(0, len(messages), _AT_ONCE):
        yield _step(words if start == 0 else "and more of it", *messages[start : start + _AT_ONCE], fd=fd, ns=ns)

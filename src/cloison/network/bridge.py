"""The plans that bring a network up and take it down: steps of the host. Pure.

Both start from whatever is there, so a death in the middle is answered by running them again.
"""

import msgspec

from cloison.kernel import netlink
from cloison.kernel.abi import CLONE_NEWNS, MS_SLAVE, OPEN_TREE_CLONE
from cloison.kernel.netlink import Batch, Link, Message
from cloison.network import dnsmasq, table
from cloison.network.forwarding import Switch, closed_before
from cloison.network.network import Network, alias_of, index_of, mac_of
from cloison.network.nft import Document
from cloison.plan.builder import Builder
from cloison.plan.cgroups import leave_callers
from cloison.plan.inputs import CgroupPlace
from cloison.plan.mount_steps import MoveMount, OpenTree, RootPropagation
from cloison.plan.network_steps import Netlink, Run, Terminate, WriteFile
from cloison.plan.plan import Plan
from cloison.plan.process_steps import Unshare
from cloison.plan.steps import NO_SLOT, Create, Mkdir, Open, Step, Unlink, Write

_O_PATH_DIRECTORY = 0o10000000 | 0o200000
ENODEV = 19


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the host has of a network, and what it needs of the host.

    `index` is that of the interface named like the bridge, 0 where there is none; `parent_index` that of the parent.
    `addresses` are those that it has. `switches` are to be set, or given back; `opened` are those of the whole
    installation; `dropped` are those that this network has had and needs no more. `nft` and `dnsmasq` are programs,
    empty where they are not needed; `user` is whom dnsmasq becomes.
    `foreign` are commands for a firewall that is not cloison's."""

    index: int = 0
    parent_index: int = 0
    addresses: tuple[str, ...] = ()
    has_ipv6: bool = True
    has_force_forwarding: bool = False
    switches: tuple[Switch, ...] = ()
    opened: tuple[Switch, ...] = ()
    dropped: tuple[Switch, ...] = ()
    nft: str = ""
    dnsmasq: str = ""
    user: str = ""
    foreign: tuple[tuple[str, ...], ...] = ()


def plan_up(of: Network, seen: Seen, places: tuple[CgroupPlace, ...]) -> Plan:
    """Bring a network up."""
    build = Builder(f"bring the network {of.name} up")
    build.chapter("its own directories")
    build.host(Mkdir(NO_SLOT, of.run, 0o755))
    build.host(Unlink(f"{of.run}/up"))
    if of.is_own:
        _bridge(build, of, seen)
        _forward(build, seen)
        _rules(build, of, seen)
        _dnsmasq(build, of, seen, places)
    elif of.vlan and seen.parent_index and of.bridge != of.parent:
        _vlan(build, of, seen)
    return build.plan()


def plan_rules(of: Network, program: str) -> Plan:
    """Put the packet rules of a network that is up in the place of those that it has."""
    build = Builder(f"change the packet rules of the network {of.name}")
    build.chapter("packet rules")
    build.host(nft(program, table.network(of)))
    return build.plan()


def plan_down(of: Network, seen: Seen, *, is_last: bool) -> Plan:
    """Take a network down; `is_last`: the tables of the installation go with it."""
    build = Builder(f"take the network {of.name} down")
    build.host(Unlink(f"{of.run}/up"))
    build.chapter("names and leases")
    build.host(Terminate(dnsmasq.pid_file(of), dnsmasq.conf_file(of)))
    for path in (dnsmasq.pid_file(of), dnsmasq.conf_file(of), f"{of.data}/leases"):
        build.host(Unlink(path))
    if seen.nft and (of.is_own or is_last):
        build.chapter("packet rules")
        document = table.remove_installation(of.table) if is_last else table.remove_network(of)
        if not is_last:
            table.close(document, closed_before(seen.switches, "ipv4"), closed_before(seen.switches, "ipv6"))
        build.host(nft(seen.nft, document))
    if seen.foreign:
        build.chapter("what Docker has let pass")
        for argv in seen.foreign:
            build.host(Run(argv, ""), optional=True)
    if seen.index and (of.is_own or of.bridge != of.parent):
        build.chapter("the bridge")
        build.host(_netlink(f"link delete {of.bridge}", netlink.delete_link(seen.index), ignore=ENODEV))
    if seen.switches:
        build.chapter("no more forwarding than the others need")
        for each in seen.switches:
            build.host(Write(NO_SLOT, each.path, each.former), optional=True)
    return build.plan()


def nft(program: str, document: Document) -> Step:
    """The step that carries a document out."""
    return Run((program, "--json", "-f", "-"), document.text())


def _bridge(build: Builder, of: Network, seen: Seen) -> None:
    build.chapter("the bridge")
    index = seen.index or index_of(of)
    undo: tuple[Step, ...] = ()
    if not seen.index:
        link = Link(name=of.bridge, index=index, mac=mac_of(of), mtu=of.mtu)
        undo = (_netlink(f"link delete {of.bridge}", netlink.delete_link(of.bridge), ignore=ENODEV),)
        # In one batch, which no death divides: without its alias it would not be known for ours.
        messages = (netlink.add_bridge(link), netlink.set_link(index, alias=alias_of(of)))
        build.host(_netlink(f"link add {of.bridge} type bridge", *messages), undo=undo)
    elif of.mtu:
        build.host(_netlink(f"link set {of.bridge} mtu {of.mtu}", netlink.set_link(index, mtu=of.mtu)))
    for name, value in _parameters(of, seen):
        build.host(Write(NO_SLOT, f"/proc/sys/net/{name}", value))
    own = [each for each in (of.ipv4, of.ipv6) if each]
    stale = [each for each in seen.addresses if each not in own and (of.ipv6 or ":" not in each)]
    stale = [each for each in stale if not each.startswith("fe80:")]
    changes = [
        *(netlink.delete_address(index, each) for each in stale),
        *(netlink.add_address(index, each, is_nodad=":" in each, is_replacing=True) for each in own),
        netlink.set_link(index, is_up=True),
    ]
    build.host(_netlink(f"address replace {' '.join(own)} dev {of.bridge}, up", *changes))


def _parameters(of: Network, seen: Seen) -> list[tuple[str, str]]:
    """127.0.0.1 may be forwarded to a port of an instance. The host learns nothing from what instances advertise, and
    answers for those that are routed, which the kernel does on an interface that forwards (ndisc_recv_ns)."""
    found = [
        (f"ipv4/conf/{of.bridge}/forwarding", "0" if of.is_internal else "1"),
        (f"ipv4/conf/{of.bridge}/route_localnet", "1"),
        (f"ipv4/conf/{of.bridge}/accept_redirects", "0"),
        (f"ipv4/conf/{of.bridge}/send_redirects", "0"),
    ]
    if seen.has_ipv6:
        found += [
            (f"ipv6/conf/{of.bridge}/accept_ra", "0"),
            (f"ipv6/conf/{of.bridge}/accept_dad", "0"),
            (f"ipv6/conf/{of.bridge}/accept_redirects", "0"),
            (f"ipv6/conf/{of.bridge}/disable_ipv6", "0" if of.ipv6 else "1"),
            (f"ipv6/conf/{of.bridge}/forwarding", "0" if of.is_internal else "1"),
            (f"ipv6/conf/{of.bridge}/proxy_ndp", "1"),
        ]
    if seen.has_force_forwarding:
        found.append((f"ipv6/conf/{of.bridge}/force_forwarding", "0" if of.is_internal else "1"))
    return found


def _forward(build: Builder, seen: Seen) -> None:
    build.chapter("forwarding, where it is needed and was not on")
    for each in seen.switches:
        build.host(Write(NO_SLOT, each.path, each.value), undo=(Write(NO_SLOT, each.path, each.former),))
    for each in seen.dropped:
        build.host(Write(NO_SLOT, each.path, each.former), optional=True)


def _rules(build: Builder, of: Network, seen: Seen) -> None:
    if not seen.nft:
        return
    build.chapter("packet rules")
    build.host(nft(seen.nft, table.installation(of.table)))
    document = table.network(of)
    opened = (*seen.switches, *seen.opened)  # of others too: the table may be new, after somebody has emptied the rules
    table.open_(document, closed_before(opened, "ipv4"), closed_before(opened, "ipv6"))
    table.close(document, closed_before(seen.dropped, "ipv4"), closed_before(seen.dropped, "ipv6"))
    build.host(nft(seen.nft, document), undo=(nft(seen.nft, table.remove_network(of)),))
    if seen.foreign:
        build.chapter("Docker drops what it does not know: exceptions in the chain that it leaves to others")
        for argv in seen.foreign:
            build.host(Run(argv, ""))


def _dnsmasq(build: Builder, of: Network, seen: Seen, places: tuple[CgroupPlace, ...]) -> None:
    build.chapter("names and leases")
    stop = Terminate(dnsmasq.pid_file(of), dnsmasq.conf_file(of))
    build.host(stop)
    if not of.is_served:
        return
    served = f"{of.run}/served"
    for path in (served, f"{served}/names", f"{served}/leases", of.data):
        build.host(Mkdir(NO_SLOT, path, 0o755))
    configuration = dnsmasq.configuration(of, seen.user)
    build.host(WriteFile(dnsmasq.conf_file(of), 0o644, configuration.encode()))
    build.chapter("dnsmasq, out of the caller's control groups, with what it serves at /mnt")
    leave_callers(build, places)
    root, tree = build.slot(), build.slot()
    build.host(Unshare(CLONE_NEWNS))
    build.host(RootPropagation(MS_SLAVE))
    build.host(Open(root, NO_SLOT, "/", _O_PATH_DIRECTORY, 0))
    build.host(OpenTree(tree, NO_SLOT, served, OPEN_TREE_CLONE))
    build.host(MoveMount(tree, root, dnsmasq.SERVED, Create.NOTHING))
    build.host(Run((seen.dnsmasq, f"--conf-file={dnsmasq.conf_file(of)}"), ""), undo=(stop,))


def _vlan(build: Builder, of: Network, seen: Seen) -> None:
    if seen.index:
        return
    build.chapter(f"VLAN {of.vlan} of {of.parent}")
    link = Link(name=of.bridge, index=index_of(of), parent=seen.parent_index, is_up=True)
    undo = (_netlink(f"link delete {of.bridge}", netlink.delete_link(of.bridge), ignore=ENODEV),)
    messages = (netlink.add_vlan(link, of.vlan), netlink.set_link(link.index, alias=alias_of(of)))
    build.host(_netlink(f"link add {of.bridge} link {of.parent} type vlan id {of.vlan}", *messages), undo=undo)


def _netlink(what: str, *messages: Message, ignore: int = 0) -> Step:
    batch: Batch = netlink.batch(*messages)
    return Netlink(what, NO_SLOT, NO_SLOT, 0, batch.data, ignore, 0)

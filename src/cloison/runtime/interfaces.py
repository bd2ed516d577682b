"""The interfaces of a process, as they are in its network namespace."""

from cloison.kernel import rtnetlink
from cloison.kernel.netlink import routes
from cloison.kernel.netlink.values import Address, Interface
from cloison.spec.network import InterfaceState

_LOOPBACK = 1  # the index that it has in every namespace


def interfaces(pid: int) -> tuple[InterfaceState, ...]:
    """All but the loopback, by index; none when the process has ended."""
    try:
        with rtnetlink.connect_to(pid) as connection:
            links, addresses = connection.links(), connection.addresses()
    except FileNotFoundError:
        return ()
    return tuple(_state(link, addresses) for link in sorted(links, key=_index) if link.index != _LOOPBACK)


def _state(link: Interface, addresses: list[Address]) -> InterfaceState:
    own = [each for each in addresses if each.index == link.index and each.scope == routes.RT_SCOPE_UNIVERSE]
    counters = link.counters
    return InterfaceState(
        index=link.index,
        name=link.name,
        mac=link.mac,
        mtu=link.mtu,
        is_up=link.is_up,
        addresses=tuple(f"{each.address}/{each.prefix}" for each in own),
        received_bytes=counters.rx_bytes if counters else 0,
        sent_bytes=counters.tx_bytes if counters else 0,
        received_packets=counters.rx_packets if counters else 0,
        sent_packets=counters.tx_packets if counters else 0,
        received_dropped=counters.rx_dropped if counters else 0,
        sent_dropped=counters.tx_dropped if counters else 0,
    )


def _index(link: Interface) -> int:
    return link.index

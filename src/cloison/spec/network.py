"""Networks as values: an interface with all that it needs, and its routes. Pure.

What people write is in `cloison.spec.config`; here everything is resolved, so that a plan can be compiled of it.
"""

import msgspec


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """A route inside: to `destination`, a CIDR or "default", through the gateway `via`; none is on the link."""

    destination: str
    via: str = ""
    metric: int = 0


def queue_of(host_name: str) -> str:
    """The name of the queue of what comes in by the host's end of a pair."""
    return f"q{host_name[1:]}"


class Home(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an interface of the host was before it was lent: MAC address, MTU, whether it was up, and its addresses of
    global scope that nobody has leased to it, CIDR."""

    mac: str
    mtu: int
    is_up: bool
    addresses: tuple[str, ...] = ()


class Interface(msgspec.Struct, frozen=True, omit_defaults=True):
    """A network interface of an instance, with nothing left to look up.

    `number` counts from 0; inside, its index is `number` + 2. `host_name` is the host's end of a pair, or the device
    that is lent (`phys`). `addresses` are CIDR, set from outside before the init runs. `master` is the bridge, or what
    a macvlan, ipvlan or vlan sits on. Rates are bits per second, as the instance sees them; what it sends is led
    through `queue` where it is limited. `proxies` are addresses that the host answers for, each with the index of
    the interface on which it does. `is_on_loopback`: what the host sends from 127.0.0.1 may leave by the host's end.
    With `is_hairpin` a bridge sends it back what it has sent. `files` are written before the start and removed at the
    end. `nft` is what `nft --json` is told before the start, `nft_undo` what takes it back: a document in each line,
    each carried out by its own. `home` is of one that is lent."""

    number: int
    type: str
    name: str
    host_name: str = ""
    mac: str = ""
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    master: str = ""
    master_index: int = 0
    mode: str = ""
    vlan: int = 0
    is_isolated: bool = False
    is_hairpin: bool = False
    is_on_loopback: bool = False
    ingress_bps: int = 0
    egress_bps: int = 0
    proxies: tuple[tuple[str, int], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    nft: str = ""
    nft_undo: str = ""
    home: Home | None = None

    @property
    def queue(self) -> str:
        """The interface of the host in which waits what the instance sends too fast."""
        return queue_of(self.host_name)


class InterfaceState(msgspec.Struct, frozen=True):
    """An interface inside as the kernel shows it. `addresses` are CIDR of global scope; it counts since it was made."""

    index: int
    name: str
    mac: str
    mtu: int
    is_up: bool
    addresses: tuple[str, ...]
    received_bytes: int
    sent_bytes: int
    received_packets: int
    sent_packets: int
    received_dropped: int
    sent_dropped: int

"""What dnsmasq(8) is told: one of them for each network that has DHCP or DNS. Pure.

    <run>/dnsmasq.conf          its configuration
    <run>/dnsmasq.pid           its process
    <run>/served/names/<nic>    10.1.2.3 web.cloison web
    <run>/served/leases/<nic>   02:c1:05:01:02:03,id:*,10.1.2.3,[fd00::3],web
    <data>/leases               what it has leased

It gives up root and could then not reach the last two, since cloison's directories are for root alone. So it lives in a
mount namespace of its own, in which `served` is at /mnt. It looks for changes there by itself (inotify(7)).
An instance has one address of each family; dnsmasq leases this one to its MAC address and nothing to others, so nothing
that it forgets can make an address be used twice.
It names what it has leased for as long as the lease lasts, even when the instance has gone; that is said in a domain of
its own below the network's (`dhcp-fqdn`), so that web.cloison is what `names` says, and nobody when that file is gone.
"""

import msgspec

from cloison.base import inet
from cloison.network.network import Network, host_of

SERVED = "/mnt"
LEASED = "leases"
_LEASE = "1h"


class Reservation(msgspec.Struct, frozen=True):
    """What dnsmasq knows of one interface of an instance: `key` names its files, `name` is the host name."""

    key: str
    name: str
    mac: str
    addresses: tuple[str, ...]  # with or without prefix length


def pid_file(of: Network) -> str:
    """Where its process number is."""
    return f"{of.run}/dnsmasq.pid"


def conf_file(of: Network) -> str:
    """Its configuration; as the one argument it also tells its process from every other."""
    return f"{of.run}/dnsmasq.conf"


def configuration(of: Network, user: str) -> str:
    """The text of its configuration. `user` is whom it becomes."""
    lines = [
        "# Written by cloison whenever the network is brought up.",
        f"user={user}",
        f"pid-file={pid_file(of)}",
        f"interface={of.bridge}",
        "except-interface=lo",
        "bind-dynamic",
        "no-hosts",
        "no-ping",
        "quiet-dhcp",
        "quiet-dhcp6",
        "quiet-ra",
        *(_names(of) if of.is_dns else ["port=0"]),
        *(_leases(of) if of.is_dhcp else []),
    ]
    return "\n".join(lines) + "\n"


def _names(of: Network) -> list[str]:
    found = [
        f"domain={LEASED}.{of.domain}",
        f"local=/{of.domain}/",
        "domain-needed",
        "bogus-priv",
        "no-negcache",
        f"hostsdir={SERVED}/names",
    ]
    return [*found, "no-resolv"] if of.is_internal else found


def _leases(of: Network) -> list[str]:
    found = [
        "dhcp-authoritative",
        f"dhcp-leasefile={of.data}/leases",
        f"dhcp-hostsdir={SERVED}/leases",
        "dhcp-ignore=tag:!known",
        *(["dhcp-fqdn"] if of.is_dns else []),
    ]
    if of.ipv4:
        found.append(f"dhcp-range={inet.subnet(of.ipv4).partition('/')[0]},static,{_mask(of.ipv4)},{_LEASE}")
        found.append("dhcp-option=option:router" if of.is_internal else f"dhcp-option=option:router,{host_of(of.ipv4)}")
        if of.mtu:
            found.append(f"dhcp-option=option:mtu,{of.mtu}")
        if of.is_dns:
            found.append(f"dhcp-option=option:dns-server,{host_of(of.ipv4)}")
            found.append(f"dhcp-option=option:domain-name,{of.domain}")
    if of.ipv6:
        length = of.ipv6.partition("/")[2]
        found += [f"dhcp-range={inet.subnet(of.ipv6).partition('/')[0]},static,{length},{_LEASE}", "enable-ra"]
        mtu = f"mtu:{of.mtu}," if of.mtu else ""
        found.append(f"ra-param={of.bridge},{mtu}60,{0 if of.is_internal else 1800}")
        if of.is_dns:
            found.append(f"dhcp-option=option6:dns-server,[{host_of(of.ipv6)}]")
    return found


def files(of: Network, reservation: Reservation) -> tuple[tuple[str, str], ...]:
    """The files of one interface: written before its instance starts, removed when it has ended."""
    if not of.is_served:
        return ()
    addresses = [host_of(each) for each in reservation.addresses]
    found = []
    if of.is_dns and addresses:
        names = f"{reservation.name}.{of.domain} {reservation.name}"
        text = "".join(f"{address} {names}\n" for address in addresses)
        found.append((f"{of.run}/served/names/{reservation.key}", text))
    if of.is_dhcp and addresses:
        written = [f"[{address}]" if ":" in address else address for address in addresses]
        line = ",".join([reservation.mac, "id:*", *written, reservation.name])
        found.append((f"{of.run}/served/leases/{reservation.key}", f"{line}\n"))
    return tuple(found)


def _mask(address: str) -> str:
    length = int(address.partition("/")[2])
    number = (1 << 32) - (1 << 32 - length)
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))

"""What dnsmasq has leased, and giving a lease back in the name of a client that is gone.

A container that is killed gives nothing back, and dnsmasq would keep its addresses from everybody else, whatever has
been reserved for them meanwhile, until the lease ends. So its packet that releases them is sent by who knows better:
before the next instance starts with one of them, when an instance is deleted, and by `repair`. dnsmasq takes one
packet after the other, so who asks later is answered as if the lease had never been.

Source: dnsmasq(8) "--dhcp-leasefile"; RFC 2131, 4.4.6; RFC 8415, 18.2.7.
"""

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterable, Iterator

import msgspec

from cloison.kernel import datagrams, inventory, procfs
from cloison.network import dnsmasq
from cloison.network.network import Network, host_of

_SERVER4, _SERVER6 = 67, 547
_SERVERS6 = "ff02::1:2"  # all of them on a link
_COOKIE = bytes.fromhex("63825363")  # RFC 2131, 3
_ETHERNET, _REQUEST = 1, 1
_TYPE, _RELEASE, _SERVER_ID, _CLIENT_ID, _END = 53, 7, 54, 61, 255  # RFC 2132
_CLIENT6, _SERVER6_ID, _IA_NA, _IA_ADDRESS, _ELAPSED, _RELEASE6 = 1, 2, 3, 5, 8, 8  # RFC 8415


class Lease(msgspec.Struct, frozen=True):
    """An address that a client has been given by DHCP, until `expires_s` since 1970 (0: for ever). The name is the
    client's own, "" for none; nor does IPv6 tell a MAC address. `client` is how it calls itself, `iaid` the number of
    its interface in IPv6."""

    address: str
    mac: str
    name: str
    expires_s: int
    client: bytes = b""
    iaid: int = 0


def leases(text: str) -> Iterator[Lease]:
    """The leases in a file of dnsmasq's: `<expires> <MAC or, below the line "duid", IAID> <address> <name or *> <id>`.

    A line that is not of this form, as one that is just being written, is passed over."""
    is_v6 = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["duid"]:
            is_v6 = True
        elif len(words) == 5 and words[0].isdecimal():
            expires, who, address, name, client = words
            name = "" if name == "*" else name
            if not is_v6:
                yield Lease(address, who, name, int(expires), _bytes(client))
            elif who.isdecimal():
                yield Lease(address, "", name, int(expires), _bytes(client), int(who))


def _bytes(text: str) -> bytes:
    with contextlib.suppress(ValueError):
        return bytes.fromhex(text.replace(":", ""))
    return b""  # "*" stands for none


def of_network(of: Network) -> tuple[Lease, ...]:
    """Everything that a network has leased."""
    return tuple(leases(_text(of)))


def _text(of: Network) -> str:
    try:
        with open(f"{of.data}/leases", encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def take_over(of: Network, mac: str, addresses: Iterable[str]) -> None:
    """Have the addresses of an interface free for it, whoever had them before; with or without prefix lengths.

    In IPv6 that is also itself, in an earlier life: its client may call itself by another name now."""
    if not of.is_dhcp or not of.is_served:
        return
    _forget_removed(of)
    own = {host_of(each) for each in addresses}
    give_back(of, lambda lease: lease.address in own and lease.mac != mac)


def give_back(of: Network, is_due: Callable[[Lease], bool]) -> None:
    """Release every lease of which `is_due` says so. What cannot be sent is left: it ends by itself."""
    if not of.is_dhcp or not of.is_served:
        return
    text = _text(of)
    for lease in filter(is_due, leases(text)):
        with contextlib.suppress(OSError):
            if lease.mac:
                server = host_of(of.ipv4)
                datagrams.send(of.bridge, server, _SERVER4, release4(lease, server))
            else:
                datagrams.send(of.bridge, _SERVERS6, _SERVER6, release6(lease, _server(text)))


def _forget_removed(of: Network) -> None:
    """Have dnsmasq read again what it serves. Of reservations it hears by itself what is new, but not what is gone,
    and refuses one of an address that it still has another one of: dnsmasq(8), "--dhcp-hostsdir"."""
    pid = inventory.setting(dnsmasq.pid_file(of)) or ""
    process = procfs.pidfd(int(pid)) if pid.isdecimal() else -1
    if process >= 0:
        try:
            if dnsmasq.conf_file(of) in (inventory.setting(f"/proc/{pid}/cmdline") or ""):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGHUP)
        finally:
            os.close(process)


def _server(text: str) -> bytes:
    """How dnsmasq calls itself in IPv6."""
    return next((_bytes(line.split()[1]) for line in text.splitlines() if line.startswith("duid ")), b"")


def release4(lease: Lease, server: str) -> bytes:
    """DHCPRELEASE, as the client itself would send it.

    op 1, htype 1, hlen 6, hops 0 | xid | secs, flags | ciaddr | yiaddr | siaddr | giaddr | chaddr 16
    sname 64, file 128 | cookie | 53: 7 | 54: server | 61: client | 255
    """
    mac = bytes.fromhex(lease.mac.replace(":", ""))
    head = struct.pack("!4BI4x4s12x16s192x", _REQUEST, _ETHERNET, len(mac), 0, 1, socket.inet_aton(lease.address), mac)
    options = [(_TYPE, bytes([_RELEASE])), (_SERVER_ID, socket.inet_aton(server))]
    if lease.client:
        options.append((_CLIENT_ID, lease.client))
    return head + _COOKIE + b"".join(bytes([kind, len(data)]) + data for kind, data in options) + bytes([_END])


def release6(lease: Lease, server: bytes) -> bytes:
    """Release, as the client itself would send it: message 8, a number of three bytes, and options."""
    address = _option(_IA_ADDRESS, socket.inet_pton(socket.AF_INET6, lease.address) + bytes(8))
    return (
        bytes([_RELEASE6, 0, 0, 1])
        + _option(_CLIENT6, lease.client)
        + _option(_SERVER6_ID, server)
        + _option(_ELAPSED, bytes(2))
        + _option(_IA_NA, struct.pack("!I8x", lease.iaid) + address)
    )


def _option(kind: int, data: bytes) -> bytes:
    return struct.pack("!HH", kind, len(data)) + data

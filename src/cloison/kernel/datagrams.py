"""One datagram, sent out of an interface of this host. Source: ip(7), ipv6(7), socket(7) "SO_BINDTODEVICE"."""

import socket


def send(interface: str, address: str, port: int, data: bytes) -> None:
    """Send `data` by UDP, in either family, as if it came in on `interface` where the address is this host's own.

    Raises OSError: ENODEV without that interface, EPERM for others than root, EADDRNOTAVAIL where IPv6 is not ready."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sending.sendto(data, (address, port))

"""Subnets for a new network, which collide with nothing that the host knows. Pure: who asks brings what is taken.

IPv4 is taken from 10.0.0.0/8 in /24, IPv6 from fd00::/8 (RFC 4193) with 40 bits that are random once and then stay.
A candidate is `seed` steps away from the first, so that two hosts that are joined later seldom have the same.
"""

from collections.abc import Iterable

from cloison.base import inet
from cloison.base.errors import Conflict
from cloison.network.network import overlap

_STEP = 7919  # prime to 65536: every /24 of 10.0.0.0/8 has its turn


def free_ipv4(taken: Iterable[str], seed: int) -> str:
    """The bridge's address, as `10.83.4.1/24`. A default route in `taken` (CIDR) takes nothing. Raises Conflict."""
    others = [cidr for cidr in taken if ":" not in cidr and not cidr.endswith("/0")]
    for turn in range(1 << 16):
        number = (seed + turn * _STEP) % (1 << 16)
        candidate = f"10.{number >> 8}.{number & 255}.0/24"
        if not any(overlap(candidate, other) for other in others):
            return f"10.{number >> 8}.{number & 255}.1/24"
    raise Conflict("every subnet of 10.0.0.0/8 is taken on this host", hint="name one: ipv4=192.168.90.1/24")


def free_ipv6(taken: Iterable[str], seed: int) -> str:
    """The bridge's address, such as `fd1c:2f:9b00::1/64`; the lower 40 bits of `seed` become the global id."""
    others = [cidr for cidr in taken if ":" in cidr and not cidr.endswith("/0")]
    for turn in range(1 << 16):
        number = ((seed + turn) % (1 << 40)).to_bytes(5, "big")
        raw = b"\xfd" + number + bytes(9) + b"\x01"
        if not any(overlap(f"{inet.text(raw)}/64", other) for other in others):
            return f"{inet.text(raw)}/64"
    raise Conflict("no subnet of fd00::/8 is free on this host", hint="name one: ipv6=fd00:1234::1/64")


def collision(cidr: str, taken: Iterable[tuple[str, str]]) -> str:
    """Who has a part of `cidr` already, in words; empty where nobody has. `taken` are (CIDR, words)."""
    for other, who in taken:
        if not other.endswith("/0") and overlap(cidr, other):
            return f"{who} ({other})"
    return ""

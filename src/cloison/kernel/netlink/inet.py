"""Internet addresses as netlink has them: bytes, and the number of their family. Pure.

Source: address_families(7).
"""

from cloison.base.inet import broadcast, packed, split, text

AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7

__all__ = ["AF_BRIDGE", "AF_INET", "AF_INET6", "broadcast", "family", "packed", "split", "text"]


def family(raw: bytes) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET if len(raw) == 4 else AF_INET6

"""Internet addresses as people write them, and as bytes: 4 or 16 of them. Pure.

The standard library's `ipaddress` knows all of this, but its import costs more than a whole request (1 to 10 ms).
Source: inet_pton(3), RFC 4291 section 2.2, RFC 5952 section 4.
"""

from cloison.base.errors import Invalid


def packed(text: str) -> bytes:
    """The 4 or 16 bytes of an address. Raises Invalid."""
    raw = _packed6(text) if ":" in text else _packed4(text)
    if raw is None:
        raise Invalid(f"{text!r} is not an internet address, such as 10.0.0.2 or fd00::2")
    return raw


def split(text: str) -> tuple[bytes, int]:
    """The bytes and the prefix length of `10.0.0.2/24`; an address alone is all of it. Raises Invalid."""
    address, slash, length = text.partition("/")
    raw = packed(address)
    bits = 8 * len(raw)
    if not slash:
        return raw, bits
    prefix = _decimal(length, bits)
    if prefix is None:
        raise Invalid(f"{text!r} is not an address with a prefix length of 0 to {bits}, such as 10.0.0.2/24")
    return raw, prefix


def text(raw: bytes) -> str:
    """An address as people write it. Raises Invalid where it has neither 4 nor 16 bytes."""
    if len(raw) == 4:
        return ".".join(map(str, raw))
    if len(raw) == 16:
        return _text6(raw)
    raise Invalid(f"an internet address has 4 or 16 bytes, this one has {len(raw)}")


def broadcast(raw: bytes, prefix: int) -> bytes:
    """The last address of the IPv4 subnet; none for /31 and /32, which have no broadcasts (RFC 3021)."""
    if prefix > 30:
        return b""
    return (int.from_bytes(raw, "big") | (1 << 32 - prefix) - 1).to_bytes(4, "big")


def subnet(cidr: str) -> str:
    """`10.1.2.0/24` for `10.1.2.1/24`. Raises Invalid."""
    raw, prefix = split(cidr)
    host_bits = 8 * len(raw) - prefix
    first = int.from_bytes(raw, "big") >> host_bits << host_bits
    return f"{text(first.to_bytes(len(raw), 'big'))}/{prefix}"


def is_within(address: str, cidr: str) -> bool:
    """Whether `address` (of a CIDR its address) lies in `cidr`; never in one of the other family. Raises Invalid."""
    raw, _ = split(address)
    net, prefix = split(cidr)
    host_bits = 8 * len(raw) - prefix
    return len(raw) == len(net) and int.from_bytes(raw, "big") >> host_bits == int.from_bytes(net, "big") >> host_bits


def eui64(prefix: str, mac: str) -> str:
    """The address that an interface with this MAC address gives itself below a /64: RFC 4291, appendix A."""
    raw = bytes.fromhex(mac.replace(":", ""))
    return text(split(prefix)[0][:8] + bytes([raw[0] ^ 2, *raw[1:3], 0xFF, 0xFE, *raw[3:]]))


def canonical(address: str) -> str:
    """An address, or one with a prefix length, in its one spelling. Raises Invalid."""
    raw, prefix = split(address)
    return f"{text(raw)}/{prefix}" if "/" in address else text(raw)


def _decimal(digits: str, most: int) -> int | None:
    """A number from 0 to `most` without a leading zero, which some read as octal."""
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 3) or (digits[0] == "0" and digits != "0"):
        return None
    return int(digits) if int(digits) <= most else None


def _packed4(text: str) -> bytes | None:
    numbers = [_decimal(part, 255) for part in text.split(".")]
    if len(numbers) != 4 or None in numbers:
        return None
    return bytes(number for number in numbers if number is not None)


def _packed6(text: str) -> bytes | None:
    """One `::` stands for as many zeros as are missing, at least one group; the end may be written as IPv4."""
    head, gap, tail = text.partition("::")
    before, after = _groups(head, is_last=not gap), _groups(tail, is_last=True)
    if before is None or after is None:
        return None
    missing = 16 - len(before) - len(after)
    if missing < 2 if gap else missing != 0:
        return None
    return before + bytes(missing) + after


def _groups(text: str, *, is_last: bool) -> bytes | None:
    """Groups between colons, of one side of `::`; no text is no group."""
    raw = b""
    groups = text.split(":") if text else []
    for at, group in enumerate(groups):
        if "." in group and is_last and at == len(groups) - 1:
            four = _packed4(group)
            if four is None:
                return None
            raw += four
        elif 1 <= len(group) <= 4 and all(digit in "0123456789abcdefABCDEF" for digit in group):
            raw += int(group, 16).to_bytes(2, "big")
        else:
            return None
    return raw


def _text6(raw: bytes) -> str:
    """`::` for the first of the longest runs of two zero groups or more; a mapped IPv4 address with its dots."""
    if raw[:12] == bytes(10) + b"\xff\xff":
        return f"::ffff:{text(raw[12:])}"
    groups = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, 16, 2)]
    begin, length = _longest_zeros(groups)
    if length < 2:
        return ":".join(f"{group:x}" for group in groups)
    before, after = groups[:begin], groups[begin + length :]
    return ":".join(f"{group:x}" for group in before) + "::" + ":".join(f"{group:x}" for group in after)


def _longest_zeros(groups: list[int]) -> tuple[int, int]:
    best, begin = (0, 0), 0
    for at, group in enumerate(groups):
        if group:
            begin = at + 1
        elif at + 1 - begin > best[1]:
            best = (begin, at + 1 - begin)
    return best

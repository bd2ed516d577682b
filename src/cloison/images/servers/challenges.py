"""What a server asks for when it answers 401: the header `WWW-Authenticate`, as values.

Pure. Source: RFC 9110, section 11.6.1; distribution's "Token Authentication Specification".
"""

import re

import msgspec

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s+|$)")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


class Challenge(msgspec.Struct, frozen=True):
    """One way in: its scheme in lower case, and its parameters."""

    scheme: str
    parameters: dict[str, str]


def parse(headers: list[str]) -> tuple[Challenge, ...]:
    """All challenges of an answer. What cannot be read ends the header it is in."""
    found = []
    for header in headers:
        place = 0
        while match := _SCHEME.match(header, place):
            place = match.end()
            parameters = {}
            while parameter := _PARAMETER.match(header, place):
                quoted, plain = parameter.group(2), parameter.group(3)
                parameters[parameter.group(1).lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                place = parameter.end()
            found.append(Challenge(match.group(1).lower(), parameters))
    return tuple(found)

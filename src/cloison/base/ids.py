"""Names and numbers by which things are known: instances, and the users behind them.

Source: RFC 1123, section 2.1.
"""

import os
from typing import Final

from cloison.base.errors import Invalid

RANGE: Final = 65536  # ids of one container: what a distribution expects, `nobody` (65534) included

_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_NAME_LENGTH: Final = 63


def new_id() -> str:
    """A new id: twelve hexadecimal digits. Among a million of them, two are equal in one case of 560."""
    return os.urandom(6).hex()


def check_name(name: str, *, what: str = "an instance") -> str:
    """`name`, which is to become a host name: a label of RFC 1123, in either case. Raises Invalid."""
    is_label = 1 <= len(name) <= _NAME_LENGTH and _NAME_CHARACTERS.issuperset(name)
    if not is_label or name[0] == "-" or name[-1] == "-":
        raise Invalid(
            f'"{name}" is no name for {what}; write 1 to {_NAME_LENGTH} letters, digits and hyphens,'
            " with no hyphen first or last",
            name=name,
        )
    return name

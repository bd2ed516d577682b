"""Names and numbers by which things are known: instances, and the users behind them.

An id map is a value here; a step of a plan writes it.
Source: user_namespaces(7), "User and group ID mappings"; RFC 1123, section 2.1.
"""

import itertools
import os
from typing import Final, NewType

import msgspec

from cloison.base.errors import Invalid

HostId = NewType("HostId", int)  # as the host sees the owner
GuestId = NewType("GuestId", int)  # as the instance sees it

MAX_EXTENTS: Final = 340  # lines the kernel accepts, since Linux 4.15
LAST_ID: Final = 0xFFFFFFFE  # one above it is (uid_t) -1, "no such user" for the kernel
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


class Extent(msgspec.Struct, frozen=True):
    """`count` consecutive ids, starting at `guest` inside and `host` outside."""

    guest: GuestId
    host: HostId
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.guest < 0 or self.host < 0:
            raise Invalid(f"an id map begins at 0 or above and holds one id or more, not {self}")
        if max(self.guest, self.host) + self.count - 1 > LAST_ID:
            raise Invalid(f"an id is at most {LAST_ID}, and this id map goes on behind it: {self}")

    def __str__(self) -> str:
        return f"{self.guest}:{self.host}:{self.count}"


class IdMap(msgspec.Struct, frozen=True):
    """Which host id is behind each id of an instance; what is in no extent is nobody's."""

    extents: tuple[Extent, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.extents) <= MAX_EXTENTS:
            raise Invalid(f"an id map has 1 to {MAX_EXTENTS} extents, this one has {len(self.extents)}")
        _refuse_overlap(sorted(self.extents, key=lambda extent: extent.guest), "guest")
        _refuse_overlap(sorted(self.extents, key=lambda extent: extent.host), "host")

    def to_host(self, guest: GuestId) -> HostId | None:
        """The host id behind `guest`; None where the map has a hole."""
        for extent in self.extents:
            if extent.guest <= guest < extent.guest + extent.count:
                return HostId(extent.host + guest - extent.guest)
        return None

    def to_guest(self, host: HostId) -> GuestId | None:
        """The id that `host` has inside; None where it has none, and is seen as `nobody`."""
        for extent in self.extents:
            if extent.host <= host < extent.host + extent.count:
                return GuestId(extent.guest + host - extent.host)
        return None

    def lines(self) -> str:
        """What is written to uid_map and gid_map."""
        return "".join(f"{extent.guest} {extent.host} {extent.count}\n" for extent in self.extents)


def simple_map(host: int, count: int = RANGE) -> IdMap:
    """The map of nearly every container: ids from 0 inside, from `host` outside."""
    return IdMap((Extent(GuestId(0), HostId(host), count),))


def _refuse_overlap(extents: list[Extent], side: str) -> None:
    for before, after in itertools.pairwise(extents):
        if getattr(before, side) + before.count > getattr(after, side):
            raise Invalid(f"two extents of an id map share an id of the {side}: {before} and {after}")

"""What files of control groups are made of: lines, numbers, and the hierarchy that has them. Pure.

Source: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst, bfq-iosched.rst.
"""

from typing import Final, NamedTuple

from cloison.base.errors import Invalid, Unsupported
from cloison.plan.inputs import CgroupPlace

UNLIMITED: Final = -1
DEFAULT_PERIOD_US: Final = 100_000
DEFAULT_SHARES: Final = 1024
DEFAULT_WEIGHT: Final = 100
MAX_WEIGHT: Final = 10_000
BFQ_MAX_WEIGHT: Final = 1000
_EXPONENTS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}


class Line(NamedTuple):
    """What is written to a file: `item` with `value` behind it. A file of one value has no items; those of block
    devices have one for each device ("8:0 "), or several ("8:0 rbps=")."""

    file: str
    value: str
    item: str = ""


def world(places: tuple[CgroupPlace, ...]) -> str:
    """The name of this host's world, for people."""
    versions = {place.version for place in places}
    return "hybrid cgroups" if len(versions) > 1 else f"cgroup v{versions.pop()}" if versions else "no cgroups"


def place_of(places: tuple[CgroupPlace, ...], *controllers: str) -> CgroupPlace | None:
    """The hierarchy that has one of `controllers`; None where there is none."""
    for place in places:
        if any(controller in place.controllers for controller in controllers):
            return place
    return None


def without_controller(places: tuple[CgroupPlace, ...], what: str, controllers: tuple[str, ...]) -> Unsupported:
    """The error for a limit that no hierarchy of this host can hold."""
    names = " or ".join(dict.fromkeys(controllers))
    return Unsupported(
        f"this host has no {names} control group ({world(places)}), so {what} cannot be limited",
        hint="do without that limit, or enable the controller; `cloison check` says which there are",
        controller=controllers[0],
    )


def size_of(limit: int) -> str:
    """A number as v2 writes it."""
    return "max" if limit == UNLIMITED else str(limit)


def amount(value: str) -> float | None:
    """The number in a file or for it, with the kernel's suffixes (lib/cmdline.c, memparse); infinite for "no limit",
    None where it is no number."""
    text = value.strip()
    if text in ("max", "-1"):
        return float("inf")
    digits = text.rstrip("KMGTPEkmgtpe")
    suffix = text[len(digits) :].upper()
    if not digits.isdecimal() or suffix not in _EXPONENTS:
        return None
    return int(digits) << _EXPONENTS[suffix]


def weight_of_shares(shares: int) -> int:
    """The v2 weight for v1 shares: 1024 shares are a weight of 100, on both sides the usual."""
    return min(max(round(shares * DEFAULT_WEIGHT / DEFAULT_SHARES), 1), MAX_WEIGHT)


def shares_of_weight(weight: int) -> int:
    """The v1 shares for a v2 weight."""
    return min(max(round(weight * DEFAULT_SHARES / DEFAULT_WEIGHT), 2), 262_144)


def weight_line(place: CgroupPlace, weight: int) -> Line:
    """The weight of block I/O, in the one file that this kernel has for it, if any (`CgroupPlace.weight_file`).

    Raises Unsupported where it has none, and Invalid where the file takes no number so large."""
    if not place.weight_file:
        raise Unsupported(
            f"this kernel has no weight of block I/O (io.weight) in its cgroup v{place.version}",
            hint="limit rates instead, with limits.io.<device>.read_bps and its like; or load the bfq scheduler",
            controller="io",
        )
    if "bfq" in place.weight_file and not 1 <= weight <= BFQ_MAX_WEIGHT:
        raise Invalid(
            f"io.weight={weight}: the bfq scheduler of this host ({place.weight_file}) takes 1 to {BFQ_MAX_WEIGHT}",
            hint="100 is the usual weight",
        )
    return Line(place.weight_file, str(weight), "default " if place.version == 2 else "")

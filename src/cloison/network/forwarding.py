"""Forwarding, switched on for as few interfaces as will do, and given back when nobody needs it.

IPv4 looks at the switch of the interface that a packet comes in by (net.ipv4.conf.*.forwarding): those of our bridges,
and of the interfaces by which answers come. IPv6 has had the same since Linux 6.17 (force_forwarding); before, there is
one switch for all, and an interface that is to go on hearing router advertisements has to be told so (accept_ra=2).

Who has switched what on is written down before it is done, for all installations of this host together, by network, or
by the interface on which instances are routed (`cloison.network.ground`):

    /run/cloison-forwarding/<network namespace>/<table>.<network>   lines of: <former value> <value> <interface> <path>
    /run/cloison-forwarding/<network namespace>/lock                held while one of them changes

A switch that was on already is nobody's business. One that is in a file is given back with the last of its files.
Between two interfaces that were both closed nothing is let through: opened4 and opened6 of `cloison.network.table`.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

import msgspec

from cloison.base.errors import Busy
from cloison.kernel import inventory, locks
from cloison.network.network import Network

BOOK = "/run/cloison-forwarding"
_PATIENCE_S = 30.0
_ON, _ACCEPT_ALWAYS = "1", "2"
Wanted = tuple[str, str, str]  # a parameter, the interface that it is of, the value that it is to have


class Switch(msgspec.Struct, frozen=True):
    """One kernel parameter that was changed: its `path`, whose it is, what it was, and what it is to be."""

    path: str
    device: str
    former: str
    value: str


class Book:
    """What is switched on for whom, in the caller's network namespace; only inside `opened`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def read(self) -> dict[str, tuple[Switch, ...]]:
        """The switches by holder."""
        names = [name for name in sorted(os.listdir(self._directory)) if name != "lock"]
        return {name: self._of(name) for name in names}

    def write(self, holder: str, switches: tuple[Switch, ...]) -> None:
        """Note what a holder needs; nothing is no file."""
        path = f"{self._directory}/{holder}"
        if not switches:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.writelines(f"{each.former} {each.value} {each.device} {each.path}\n" for each in switches)
        os.rename(f"{path}.new", path)

    def _of(self, name: str) -> tuple[Switch, ...]:
        with open(f"{self._directory}/{name}", encoding="utf-8") as file:
            lines = [line.split(maxsplit=3) for line in file.read().splitlines()]
        return tuple(Switch(path, device, former, value) for former, value, device, path in lines)


@contextlib.contextmanager
def opened(namespace: int, base: str = BOOK) -> Iterator[Book]:
    """The book of a network namespace, given by its cookie, for one at a time."""
    directory = f"{base}/{namespace}"
    try:
        with locks.exclusive_in(directory, timeout_s=_PATIENCE_S):
            yield Book(directory)
            if os.listdir(directory) == ["lock"]:
                os.unlink(f"{directory}/lock")
                for each in (directory, base):
                    with contextlib.suppress(OSError):
                        os.rmdir(each)
    except BlockingIOError:
        raise Busy("another command has been changing what this host forwards for too long", hint="try again") from None


def look(namespace: int, base: str = BOOK) -> dict[str, tuple[Switch, ...]]:
    """The switches by holder, without waiting for whoever is changing them."""
    directory = f"{base}/{namespace}"
    try:
        return Book(directory).read()
    except FileNotFoundError:
        return {}


def has_force_forwarding() -> bool:
    """Whether one interface alone can forward IPv6: since Linux 6.17."""
    return inventory.setting(_parameter("ipv6", "lo", "force_forwarding")) is not None


def holder(of: Network) -> str:
    """The name under which a network is in the book."""
    return f"{of.table}.{of.name}"


def wanted(of: Network, uplinks: tuple[str, ...]) -> tuple[Wanted, ...]:
    """What a network needs of the interfaces by which answers come."""
    if of.is_internal or not of.is_own:
        return ()
    return (*(_ipv4(uplinks) if of.ipv4 else ()), *(_ipv6(uplinks) if of.ipv6 else ()))


def wanted_routed(parent: str, uplinks: tuple[str, ...], *, is_v6: bool) -> tuple[Wanted, ...]:
    """What instances need that are routed on an interface of the host: also that it answers for them there, which the
    kernel does in IPv4 (arp_process) and IPv6 (ndisc_recv_ns) only on an interface that forwards."""
    devices = tuple(dict.fromkeys((*((parent,) if parent else ()), *uplinks)))
    if not is_v6:
        return tuple(_ipv4(devices))
    found = list(_ipv6(devices))
    if parent:
        if has_force_forwarding() and inventory.setting(_parameter("ipv6", "all", "forwarding")) != _ON:
            found.append((_parameter("ipv6", parent, "accept_ra"), parent, _ACCEPT_ALWAYS))
            found.append((_parameter("ipv6", parent, "forwarding"), parent, _ON))
        found.append((_parameter("ipv6", parent, "proxy_ndp"), parent, _ON))
    return tuple(found)


def is_on(these: Iterable[Wanted]) -> bool:
    """Whether all of it forwards; what this kernel does not have is not asked for, nor whom an interface hears, which
    depends on who has switched forwarding on."""
    return not any(_is_off(inventory.setting(path), value) for path, _, value in these if value != _ACCEPT_ALWAYS)


def needed(who: str, these: Iterable[Wanted], book: dict[str, tuple[Switch, ...]]) -> tuple[Switch, ...]:
    """What of `these` is off, or on for the sake of somebody in the book; `who` is the holder that wants it."""
    listed = {each.path: each for name, switches in book.items() if name != who for each in switches}
    mine = {each.path: each for each in book.get(who, ())}
    is_router = _is_router("ipv6", {*mine, *listed})
    found = []
    for path, device, value in these:
        if is_router and value == _ACCEPT_ALWAYS:
            continue
        now = inventory.setting(path)
        if path in mine or path in listed:
            found.append(mine.get(path) or listed[path])
        elif _is_off(now, value):
            found.append(Switch(path, device, now or "", value))
    return tuple(found)


def given_back(who: str, book: dict[str, tuple[Switch, ...]], *, kept: tuple[Switch, ...] = ()) -> tuple[Switch, ...]:
    """What nobody needs when this holder is gone, or needs no more than `kept`; last one first. What somebody else has
    set meanwhile stays."""
    others = {each.path for name, switches in book.items() if name != who for each in switches}
    others |= {each.path for each in kept}
    mine = [each for each in book.get(who, ()) if each.path not in others]
    ours = {each.path for switches in book.values() for each in switches}
    is_router = {family: _is_router(family, ours) for family in ("ipv4", "ipv6")}
    return tuple(
        each
        for each in reversed(mine)
        if inventory.setting(each.path) == each.value and not is_router[each.path.split("/")[4]]
    )


def closed_before(switches: Iterable[Switch], family: str) -> tuple[str, ...]:
    """The interfaces that forward only because cloison has switched it on; `family` is ipv4 or ipv6."""
    own = [each for each in switches if each.path.startswith(f"/proc/sys/net/{family}/") and _opens(each)]
    return tuple(dict.fromkeys(each.device for each in own if each.device != "all"))


def of_table(book: dict[str, tuple[Switch, ...]], table: str) -> tuple[Switch, ...]:
    """The switches of all holders of one installation."""
    return tuple(each for name, switches in book.items() if name.startswith(f"{table}.") for each in switches)


def _opens(switch: Switch) -> bool:
    return switch.value == _ON and switch.path.rsplit("/", 1)[-1] in ("forwarding", "force_forwarding")


def _ipv4(devices: tuple[str, ...]) -> Iterator[Wanted]:
    for device in devices:
        yield _parameter("ipv4", device, "forwarding"), device, _ON


def _ipv6(devices: tuple[str, ...]) -> Iterator[Wanted]:
    if has_force_forwarding():
        if inventory.setting(_parameter("ipv6", "all", "forwarding")) != _ON:
            for device in devices:
                yield _parameter("ipv6", device, "force_forwarding"), device, _ON
        return
    for device in devices:
        yield _parameter("ipv6", device, "accept_ra"), device, _ACCEPT_ALWAYS
    yield _parameter("ipv6", "all", "forwarding"), "all", _ON


def _is_off(now: str | None, value: str) -> bool:
    """Whether a switch has to be changed; an interface that hears no router advertisements is left alone."""
    return now == "1" if value == _ACCEPT_ALWAYS else now not in (None, value)


def _is_router(family: str, ours: set[str]) -> bool:
    """Whether somebody else has made a router of the whole host: then every interface stays as it is. `ours` is all
    that the book has, of every network."""
    path = _parameter(family, "all", "forwarding")
    return inventory.setting(path) == _ON and path not in ours


def _parameter(family: str, device: str, name: str) -> str:
    return f"/proc/sys/net/{family}/conf/{device}/{name}"

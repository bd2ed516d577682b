"""Forwarding, switched on for as few interfaces as will do, and given back when nobody needs it.

IPv4 looks at the switch of the interface that a packet comes in by (net.ipv4.conf.*.forwarding): those of our bridges,
and of the interfaces by which answers come. IPv6 has had the same since Linux 6.17 (force_forwarding); before, there is
one switch for all, and an interface that is to go on hearing router advertisements has to be told so (accept_ra=2).

Who has switched what on is written down before it is done, by network, for all installations of this host together:

    /run/cloison-forwarding/<network namespace>/<table>.<network>      lines of: <former value> <interface> <path>
    /run/cloison-forwarding/<network namespace>/lock                   held while one of them changes

A switch that was on already is nobody's business. One that is in a file is given back with the last of its files.
Between two interfaces that were both closed nothing is let through: opened4 and opened6 of `cloison.network.table`.
"""

import contextlib
import os
from collections.abc import Iterator

import msgspec

from cloison.base.errors import Busy
from cloison.kernel import inventory, locks
from cloison.network.network import Network

BOOK = "/run/cloison-forwarding"
_PATIENCE_S = 30.0
_ON, _ACCEPT_ALWAYS = "1", "2"


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
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
    except BlockingIOError:
        raise Busy("another command has been changing what this host forwards for too long", hint="try again") from None


def has_force_forwarding() -> bool:
    """Whether one interface alone can forward IPv6: since Linux 6.17."""
    return inventory.setting(_parameter("ipv6", "lo", "force_forwarding")) is not None


def holder(of: Network) -> str:
    """The name under which a network is in the book."""
    return f"{of.table}.{of.name}"


def needed(of: Network, uplinks: tuple[str, ...], book: dict[str, tuple[Switch, ...]]) -> tuple[Switch, ...]:
    """What has to be on for a network, and is either off or on for the sake of others in the book."""
    if of.is_internal or not of.is_own:
        return ()
    listed = {each.path: each for name, switches in book.items() if name != holder(of) for each in switches}
    mine = {each.path: each for each in book.get(holder(of), ())}
    found = []
    for path, device, value in _wanted(of, uplinks, {*mine, *listed}):
        now = inventory.setting(path)
        if path in mine or path in listed:
            found.append(mine.get(path) or listed[path])
        elif _is_off(now, value):
            found.append(Switch(path, device, now or "", value))
    return tuple(found)


def given_back(of: Network, book: dict[str, tuple[Switch, ...]]) -> tuple[Switch, ...]:
    """What nobody needs when this network is gone, last one first. What somebody else has set meanwhile stays."""
    others = {each.path for name, switches in book.items() if name != holder(of) for each in switches}
    mine = [each for each in book.get(holder(of), ()) if each.path not in others]
    ours = {each.path for switches in book.values() for each in switches}
    is_router = {family: _is_router(family, ours) for family in ("ipv4", "ipv6")}
    return tuple(
        each
        for each in reversed(mine)
        if inventory.setting(each.path) == each.value and not is_router[each.path.split("/")[4]]
    )


def closed_before(switches: tuple[Switch, ...], family: str) -> tuple[str, ...]:
    """The interfaces that forward only because cloison has switched it on; `family` is ipv4 or ipv6."""
    own = [each for each in switches if each.path.startswith(f"/proc/sys/net/{family}/") and each.value == _ON]
    return tuple(dict.fromkeys(each.device for each in own if each.device != "all"))


def _wanted(of: Network, uplinks: tuple[str, ...], ours: set[str]) -> Iterator[tuple[str, str, str]]:
    if of.ipv4:
        for device in uplinks:
            yield _parameter("ipv4", device, "forwarding"), device, _ON
    if not of.ipv6:
        return
    if has_force_forwarding():
        if inventory.setting(_parameter("ipv6", "all", "forwarding")) != _ON:
            for device in uplinks:
                yield _parameter("ipv6", device, "force_forwarding"), device, _ON
        return
    if _is_router("ipv6", ours):
        return
    for device in uplinks:
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

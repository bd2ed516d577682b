"""Keeping a network up: quick where it is up already, under a lock where something has to be done.

    <run>/up         what was there when it was brought up: boot, index of the bridge, handles of chains, options
    <run>/network    the network itself, for who has to take it down when nobody knows it any more
    <run>/lock       held by who brings it up or takes it down

`<run>` is the network's own directory. The lock is taken before that of `cloison.network.forwarding`, never after.
"""

import contextlib
import functools
import os
import pwd
import socket
import zlib
from collections.abc import Callable, Container, Iterator

import msgspec

from cloison.base.errors import Busy, Conflict, NotFound
from cloison.kernel import inventory, locks, nftables, programs, rtnetlink
from cloison.network import bridge, dnsmasq, firewalls, forwarding, host, table
from cloison.network.network import Network, alias_of
from cloison.network.programs import DNSMASQ, NFT, expect_programs
from cloison.plan.inputs import CgroupPlace
from cloison.plan.plan import Plan

Runner = Callable[[Plan], object]
_PATIENCE_S = 30.0


class Marker(msgspec.Struct, frozen=True):
    """What has to be the same for a network to be up. `digest` is of the options that it was brought up with,
    `rules` of its rules of access alone."""

    boot: str
    index: int
    handle: int
    digest: int
    docker: int = 0
    rules: int = 0


def ensure(of: Network, run: Runner, places: Callable[[], tuple[CgroupPlace, ...]]) -> int:
    """Bring a network up unless it is; gives the index of the interface that instances are attached to.

    `run` carries a plan of host steps out. Raises Unsupported where a program is missing, Conflict where a foreign
    interface has the bridge's name, NotFound where the parent is missing, and what `run` raises."""
    index = index_if_up(of)
    if index:
        return index
    with _lock(of, "bring it up"):
        if not is_up(of):
            if is_up(of, whatever_rules=True):
                _exchange_rules(of, run)
            else:
                _bring_up(of, run, places)
        return _index(of)


def follow(of: Network, run: Runner) -> None:
    """Have the packet rules of a network that is up be its own."""
    if is_up(of, whatever_rules=True):
        with _lock(of, "change its rules"):
            if is_up(of, whatever_rules=True) and not is_up(of):
                _exchange_rules(of, run)


def index_if_up(of: Network) -> int:
    """The index of the interface that instances are attached to; 0 where the network is not up."""
    return _index(of) if is_up(of) else 0


def is_up(of: Network, *, whatever_rules: bool = False) -> bool:
    """Whether all of it is there, or all but its rules of access; asks the kernel, and changes nothing."""
    try:
        with open(f"{of.run}/up", "rb") as file:
            marker = msgspec.json.decode(file.read(), type=Marker)
    except (FileNotFoundError, msgspec.MsgspecError):
        return False
    if (marker.index, marker.digest, marker.boot) != (_index(of), _digest(of), _boot()) or not marker.index:
        return False
    if not whatever_rules and marker.rules != _digest_of_rules(of):
        return False
    if of.is_own:
        if not marker.handle or _handles(of) != (marker.handle, marker.docker):
            return False
        if not forwarding.is_on(forwarding.wanted(of, _ways_out(of))):
            return False
    return not of.is_served or is_serving(of)


def was_up(of: Network) -> bool:
    """Whether something of it may be on this host: it has been brought up, and not been taken down since."""
    return os.path.exists(f"{of.run}/network")


def _ways_out(of: Network) -> tuple[str, ...]:
    """The interfaces that a packet to the outside may leave by now, asked for at every start: quick, and not all."""
    if of.is_internal:
        return ()
    families = [family for own, family in ((of.ipv4, 4), (of.ipv6, 6)) if own]
    return tuple(name for name in host.ways_out(*families) if name != of.bridge)


def plan(of: Network, places: tuple[CgroupPlace, ...]) -> Plan:
    """The plan that would bring a network up now. Nothing is touched."""
    return bridge.plan_up(of, _seen(of, host.look(), forwarding.look(rtnetlink.namespace_cookie())), places)


def is_serving(of: Network) -> bool:
    """Whether its dnsmasq runs."""
    pid = inventory.setting(dnsmasq.pid_file(of))
    return bool(pid and pid.isdecimal()) and dnsmasq.conf_file(of) in (inventory.setting(f"/proc/{pid}/cmdline") or "")


def down(of: Network, run: Runner, *, is_last: bool) -> None:
    """Take a network down, however much of it is there; `is_last`: the installation has no other that is up, and no
    instance with rules of its own runs."""
    import shutil

    with _lock(of, "take it down"), forwarding.opened(rtnetlink.namespace_cookie()) as book:
        entries = book.read()
        link = host.interface(of.bridge)
        is_ours = link is not None and link.alias == alias_of(of)
        seen = bridge.Seen(
            index=link.index if link and is_ours else 0,
            switches=forwarding.given_back(forwarding.holder(of), entries),
            nft=programs.which(NFT[0]) or "",
            foreign=firewalls.no_exceptions(of) if of.is_own else (),
        )
        run(bridge.plan_down(of, seen, is_last=is_last))
        book.write(forwarding.holder(of), ())
        shutil.rmtree(of.run, ignore_errors=True)  # the lock with it: who waits for it makes a new one
    for each in (of.data, os.path.dirname(of.run)):  # the latter with the last network
        with contextlib.suppress(OSError):
            os.rmdir(each)


def leftovers(run: str, known: Container[str]) -> tuple[Network, ...]:
    """The networks with something on this host whose names are not `known`, to be taken down; `run` is the directory
    of all networks' own."""
    found = []
    for name in sorted(os.listdir(run)) if os.path.isdir(run) else ():
        if name not in known:
            with contextlib.suppress(OSError, msgspec.MsgspecError), open(f"{run}/{name}/network", "rb") as file:
                found.append(msgspec.json.decode(file.read(), type=Network))
    return tuple(found)


def _bring_up(of: Network, run: Runner, places: Callable[[], tuple[CgroupPlace, ...]]) -> None:
    expect_programs(of)
    with forwarding.opened(rtnetlink.namespace_cookie()) as book:
        facts = host.look()
        entries = book.read()
        seen = _seen(of, facts, entries)
        os.makedirs(os.path.dirname(of.data), mode=0o700, exist_ok=True)
        _write(f"{of.run}/network", msgspec.json.encode(of))
        book.write(
            forwarding.holder(of), (*seen.switches, *seen.dropped)
        )  # before it is done: whoever dies, it is known
        run(bridge.plan_up(of, seen, places()))
        book.write(forwarding.holder(of), seen.switches)
    _mark(of)


def _exchange_rules(of: Network, run: Runner) -> None:
    """In one transaction, and without a word to its dnsmasq. Where there is no bridge of its own, nics have them."""
    if of.is_own:
        run(bridge.plan_rules(of, programs.needed(NFT[0], package=NFT[1])))
    _write(f"{of.run}/network", msgspec.json.encode(of))
    _mark(of)


def _seen(of: Network, facts: host.Host, entries: dict[str, tuple[forwarding.Switch, ...]]) -> bridge.Seen:
    link = facts.interface(of.bridge)
    if not of.is_own:
        parent = facts.interface(of.parent)
        if parent is None:
            raise NotFound(f"network {of.name!r}: this host has no interface {of.parent!r}", hint="ip link lists them")
        return bridge.Seen(index=link.index if link else 0, parent_index=parent.index)
    if link is not None and link.alias != alias_of(of):
        raise Conflict(
            f"network {of.name!r} cannot have its bridge: this host has another interface {of.bridge!r}",
            hint="remove that one, or give the network another name",
            interface=of.bridge,
        )
    own = tuple(cidr for index, cidr in facts.addresses if link and index == link.index)
    wanted = forwarding.wanted(of, facts.uplinks(without=(of.bridge,)))
    switches = forwarding.needed(forwarding.holder(of), wanted, entries)
    return bridge.Seen(
        index=link.index if link else 0,
        addresses=own,
        has_ipv6=host.has_ipv6(),
        has_force_forwarding=forwarding.has_force_forwarding(),
        switches=switches,
        dropped=forwarding.given_back(forwarding.holder(of), entries, kept=switches),
        opened=forwarding.of_table(entries, of.table),
        nft=programs.needed(NFT[0], package=NFT[1]),
        dnsmasq=programs.needed(DNSMASQ[0], package=DNSMASQ[1]) if of.is_served else "",
        user=_user(),
        foreign=firewalls.exceptions(of),
    )


def _mark(of: Network) -> None:
    """Note what there is now: the last thing that is done."""
    handle, docker = _handles(of) if of.is_own else (0, 0)
    marker = Marker(_boot(), _index(of), handle, _digest(of), docker, _digest_of_rules(of))
    _write(f"{of.run}/up", msgspec.json.encode(marker))


def _write(path: str, data: bytes) -> None:
    with open(f"{path}.new", "wb") as file:
        file.write(data)
    os.rename(f"{path}.new", path)


@contextlib.contextmanager
def _lock(of: Network, doing: str) -> Iterator[None]:
    try:
        with locks.exclusive_in(of.run, timeout_s=_PATIENCE_S):
            yield
    except BlockingIOError:
        raise Busy(
            f"network {of.name!r}: another command has been changing it for {_PATIENCE_S:.0f} s; cannot {doing}",
            hint="wait for it, or try again",
        ) from None


def _handles(of: Network) -> tuple[int, int]:
    """What tells whether packet rules are still the same: our table's handle, 0 where one of our tables is missing,
    and Docker's chain."""
    own = (nftables.Chain(table.INET, of.table), nftables.Chain(table.NETDEV, of.table))
    inet, netdev, *docker = nftables.handles(*own, *firewalls.DOCKER)
    return (inet or 0) if netdev is not None else 0, firewalls.docker_chain(docker)


def _index(of: Network) -> int:
    try:
        return socket.if_nametoindex(of.bridge)  # unlike /sys, of the caller's own network namespace for certain
    except OSError:
        return 0


def _digest(of: Network) -> int:
    return zlib.crc32(msgspec.json.encode(msgspec.structs.replace(of, rules=())))


def _digest_of_rules(of: Network) -> int:
    return zlib.crc32(msgspec.json.encode(of.rules))


@functools.cache
def _boot() -> str:
    return inventory.setting("/proc/sys/kernel/random/boot_id") or ""


def _user() -> str:
    """Whom dnsmasq becomes: Debian's own user for it, or nobody."""
    for name in ("dnsmasq", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return "root"

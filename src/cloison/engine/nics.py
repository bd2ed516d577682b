"""The nics and the forwarded ports of one instance, each as a whole: added, changed, removed, listed.

What they are is in its configuration, and `Instance.set` changes it; here is what becomes of a nic or of a port in
assignments, and what stands in the way: one that is there already, or is not.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from cloison.base.errors import Exists, Invalid, NotFound
from cloison.engine.results import Change, NicInfo
from cloison.spec import config as configuration
from cloison.spec.config import Config
from cloison.spec.nic_keys import host_ports, interface_name
from cloison.spec.nics import BRIDGED, Target, ports_text

if TYPE_CHECKING:
    from cloison.engine.instance import Instance

Configs = tuple[Config, ...]  # those that are to be changed: what is stored, what is in force, or both
Words = Callable[[Configs], Sequence[str]]  # the assignments that change them


class PortInfo(msgspec.Struct, frozen=True):
    """Ports of the host that lead to an instance: `host` is such as 192.0.2.1:8000-8010/tcp, `inside` such as 80. An
    empty `nic` is the first one. `stored`: at its next start; `in_force`: now."""

    instance: str
    host: str
    inside: str
    nic: str
    stored: bool
    in_force: bool


class Nics:
    """The interfaces of an instance."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance

    def add(self, name: str, *settings: str, scope: str = "both") -> Change:
        """Give it one more, `settings` being such as `network=lan`. Raises Exists, and what `Instance.set` raises."""
        interface_name(name)
        return self._instance.change(lambda configs: list(_nic_added(configs, name, settings)), scope=scope)

    def set(self, name: str, *settings: str, scope: str = "both") -> Change:
        """Change one. Raises NotFound, and what `Instance.set` raises."""
        return self._instance.change(lambda configs: list(_nic_changed(configs, name, settings)), scope=scope)

    def remove(self, name: str, *, scope: str = "both") -> Change:
        """Take one away. Raises NotFound, and what `Instance.set` raises."""
        return self._instance.change(lambda configs: _nic_removed(configs, name), scope=scope)

    def list(self) -> tuple[NicInfo, ...]:
        """All of them, as they are now; those that are only stored or only in force included."""
        return self._instance.nic_infos()


class Ports:
    """The ports of the host that lead to an instance."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance

    def add(self, *forwards: str, nic: str = "", scope: str = "both") -> Change:
        """Forward ports, written as 8080:80/tcp. Raises Exists, and what `Instance.set` raises."""
        return self._instance.change(
            lambda configs: [_port_added(configs, each, nic) for each in forwards], scope=scope
        )

    def remove(self, *ports: str, scope: str = "both") -> Change:
        """Forward them no longer; written as 8080/tcp, or as they were added. Raises NotFound."""
        return self._instance.change(lambda configs: [_port_removed(configs, each) for each in ports], scope=scope)

    def list(self) -> tuple[PortInfo, ...]:
        """All of them, those that are only stored or only in force included."""
        stored, live = self._instance.configs()
        found = [*stored.ports, *(live.ports if live else ())]
        return tuple(
            info for text in dict.fromkeys(found) for info in _port_infos(self._instance.name, text, stored, live)
        )


def forwarded(text: str, nic: str = "") -> str:
    """The assignment for [ADDRESS:]PORT[-PORT]:PORT[-PORT][/tcp|udp]: `8080:80` is `ports.8080/tcp=80`. Raises
    Invalid."""
    where, slash, protocol = text.partition("/")
    host, colon, inside = where.rpartition(":")
    if not colon or not host or not inside or host.endswith("]"):
        raise Invalid(
            f"{text!r} says no port of the host and one inside",
            hint="write [ADDRESS:]PORT:PORT[/tcp|udp], such as 8080:80, 192.0.2.1:53:53/udp or 8000-8010:9000-9010",
        )
    return f"ports.{host_ports(host + slash + protocol)}={inside}{'@' if nic else ''}{nic}"


# --- nics ------------------------------------------------------------------------------------------------------------


def _nic_added(configs: Configs, name: str, settings: Sequence[str]) -> Iterator[str]:
    if any(name in config.nics for config in configs):
        raise Exists(f"nics.{name}: it has such a nic already", hint="choose another name, or set that one", name=name)
    said = {key: text for key, text in map(configuration.split, settings) if text}
    for key, text in ({"type": BRIDGED} | said).items():  # even one about which nothing is said is there
        yield f"nics.{name}.{key}={text}"


def _nic_changed(configs: Configs, name: str, settings: Sequence[str]) -> Iterator[str]:
    _expect_nic(configs, name)
    for key, text in map(configuration.split, settings):
        yield f"nics.{name}.{key}={text or (BRIDGED if key == 'type' else '')}"  # without its type it could be gone


def _nic_removed(configs: Configs, name: str) -> list[str]:
    _expect_nic(configs, name)
    head, last = f"nics.{name}.", f"nics.{name}.type"  # with its type goes the nic, when that is all that is left
    keys = [key for config in configs for key, _text in configuration.items(config) if key.startswith(head)]
    return [f"{key}=" for key in dict.fromkeys((*(key for key in keys if key != last), last))]


def _expect_nic(configs: Configs, name: str) -> None:
    known = sorted({nic for config in configs for nic in config.nics})
    if name not in known:
        listed = f"its nics are {', '.join(known)}" if known else "it has none"
        raise NotFound(f"there is no nic {name!r}: {listed}", hint="`cloison nic ls` lists them", name=name)


# --- ports -----------------------------------------------------------------------------------------------------------


def _port_added(configs: Configs, text: str, nic: str) -> str:
    assignment = forwarded(text, nic)
    key, _value = configuration.split(assignment)
    present = next((config.ports[_item(key)] for config in configs if _item(key) in config.ports), None)
    if present is not None:
        raise Exists(
            f"{assignment}: it leads to {_inside(present)} already",
            hint="remove that one first, or choose another port of the host",
            key=key,
        )
    return assignment


def _port_removed(configs: Configs, text: str) -> str:
    key = f"ports.{host_ports(text)}" if _is_of_host(text) else configuration.split(forwarded(text))[0]
    if not any(_item(key) in config.ports for config in configs):
        raise NotFound(f"{key}: it is not forwarded", hint="`cloison port ls` lists what is", key=key)
    return f"{key}="


def _is_of_host(text: str) -> bool:
    try:
        host_ports(text)
    except Invalid:
        return False
    return True


def _item(key: str) -> str:
    return key.removeprefix("ports.")


def _port_infos(instance: str, text: str, stored: Config, live: Config | None) -> Iterator[PortInfo]:
    """One, or two where it leads elsewhere after the next start."""
    later, now = stored.ports.get(text), live.ports.get(text) if live else None
    for target in dict.fromkeys(each for each in (now, later) if each is not None):
        yield PortInfo(
            instance, text, ports_text(target.first, target.last), target.nic, target == later, target == now
        )


def _inside(target: Target) -> str:
    return ports_text(target.first, target.last) + (f" on {target.nic}" if target.nic else "")

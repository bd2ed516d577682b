"""What of an instance's nics and ports this host cannot give, judged where it is set.

It is part of each `create`, so what asks the kernel is imported where something is asked.
"""

from typing import TYPE_CHECKING

from cloison.base.errors import Conflict, Exists, Invalid
from cloison.engine import claims
from cloison.engine.wiring import Networks
from cloison.spec.config import Config
from cloison.spec.key import refuse
from cloison.spec.nic_keys import host_ports
from cloison.spec.nics import BRIDGED, PHYS, Nic, Target

if TYPE_CHECKING:
    from cloison.engine.engine import Engine


def accept(engine: "Engine", config: Config, *, before: Config) -> None:
    """Raise Invalid, Exists, Conflict or NotFound for nics and ports that cannot be, or not on this host. Afterwards
    the default network exists, if it is needed."""
    claims.expect_possible(config)
    _check(engine, config, before=before)
    networks = Networks(engine)
    networks.needed((config,))
    for name, nic in config.nics.items():
        if nic.on and nic.on not in {each.on for each in before.nics.values()}:
            networks.expect_possible(nic.on, f"nics.{name}.network")


def _check(engine: "Engine", config: Config, *, before: Config) -> None:
    """Raise Invalid or Exists for nics and ports that this host cannot give; what `before` had is not asked again."""
    rules = Networks(engine)
    for name, nic in config.nics.items():
        if nic != before.nics.get(name):
            rules.expect_known(nic.rules, f"nics.{name}.rules")
            if nic.parent:
                expect_parent(name, nic, is_held=before.nics.get(name, Nic()).parent == nic.parent)
    for text, target in config.ports.items():
        if text not in before.ports:
            expect_unheard(text, target)


def expect_parent(name: str, nic: Nic, *, is_held: bool) -> None:
    """Raise Invalid, Exists or Conflict where a nic's parent is not there, or not to be had. `is_held`: the nic has it
    already."""
    if nic.kind == PHYS and is_held:
        return  # it may be inside at this moment
    from cloison.network import host

    facts = host.look()
    found, key = facts.interface(nic.parent), f"nics.{name}.parent"
    if found is None:
        raise Invalid(
            f"{key}={nic.parent}: this host has no interface {nic.parent!r}", hint="`ip link` lists them", key=key
        )
    if nic.kind == BRIDGED and found.kind != "bridge":
        refuse(key, nic.parent, "this is no bridge; the type macvlan or ipvlan shares any interface")
    if nic.kind != PHYS:
        return
    if found.master:
        raise Exists(
            f"{key}={nic.parent}: it is in use, as a port of {facts.name_of(found.master)}",
            hint=f"ip link set {nic.parent} nomaster",
            key=key,
        )
    if not nic.force and found.name in facts.default_devices():
        raise Conflict(
            f"{key}={nic.parent}: it carries the default route of this host, which would be cut off",
            hint="lend another interface; to do it all the same, use --force (nics.*.force=true)",
            key=key,
        )


def expect_unheard(text: str, target: Target) -> None:
    """Raise Exists for a port on which a program of the host listens."""
    from cloison.network import host

    wanted = host_ports(text)
    found = host.listening(wanted.protocol, wanted.first, wanted.last, wanted.address)
    if found is not None:
        port, who = found
        raise Exists(
            f"ports.{text}={target.first}: port {port} of this host is in use by {who}",
            hint="choose another port, or end that program"
            + ("" if wanted.address else f"; or say which of the host's addresses is meant: ADDRESS:{text}"),
            key=f"ports.{text}",
        )

"""What `cloison check` says about the networks of this host: what of it is in their way, and what would help.

Whether the kernel has bridges, veths and packet rules is tried elsewhere (`cloison.runtime.findings`); here is what the
host's own set-up does to instances. `look` asks, `findings` judges and is pure.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from cloison.kernel import process, programs
from cloison.network import firewalls, host, upkeep
from cloison.network.firewalls import Foreign
from cloison.network.network import Network
from cloison.network.nft import Document, forward_to
from cloison.network.table import NETDEV
from cloison.spec.finding import Finding

TOPIC: Final = "Networks"
_DNS: Final = 53
_PARAMETERS: Final = "/proc/sys/net/ipv4/conf/default/forwarding"


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the host. `uplinks` carry default routes. `dns` is who answers DNS on all addresses,
    empty for nobody. `silent` are networks that are up and whose dnsmasq has died; `foreign` are chains in the way
    of a network, with its name. `fwd` is what nft says against leading packets through another interface, empty for
    nothing; None where nobody could ask."""

    uplinks: tuple[str, ...]
    can_forward: bool
    dns: str = ""
    silent: tuple[str, ...] = ()
    foreign: tuple[tuple[str, Foreign], ...] = ()
    fwd: str | None = None


def look(networks: Iterable[Network]) -> Survey:
    """Look at this host; `networks` are those of the installation."""
    known = tuple(networks)
    up = [network for network in known if os.path.exists(f"{network.run}/up")]
    return Survey(
        uplinks=host.look().default_devices(),
        can_forward=os.access(_PARAMETERS, os.W_OK) and not _is_read_only("/proc/sys"),
        dns=_resolver(),
        silent=tuple(network.name for network in up if network.is_served and not upkeep.is_serving(network)),
        foreign=tuple(
            (of.name, each) for of in known for each in firewalls.look(of) if of in up or not _is_dockers(each)
        ),
        fwd=_tried_fwd(),
    )


def findings(survey: Survey) -> Iterator[Finding]:
    """All of them."""
    yield _uplink(survey)
    yield _forwarding(survey)
    yield _names(survey)
    yield from _firewall(survey)
    if survey.fwd is not None:
        yield _fwd(survey.fwd)
    for name in survey.silent:
        detail, hint = "its dnsmasq has died", "the next start of an instance on it brings it back"
        yield Finding(TOPIC, f"network {name}", "limited", "for names and leases on it", detail, hint)


def _uplink(survey: Survey) -> Finding:
    name, needed = "way outside", "for networks with NAT"
    if survey.uplinks:
        return Finding(TOPIC, name, "ok", needed, f"by {', '.join(survey.uplinks)}")
    return Finding(TOPIC, name, "limited", needed, "this host has no default route", "ip route add default via ADDRESS")


def _forwarding(survey: Survey) -> Finding:
    name, needed = "forwarding", "for networks"
    if survey.can_forward:
        detail = "switched on for as few interfaces as will do, while a network is up"
        return Finding(TOPIC, name, "ok", needed, detail)
    hint = "mount -o remount,rw /proc/sys; in a container: let it have that writable"
    return Finding(TOPIC, name, "missing", needed, "/proc/sys/net cannot be written", hint)


def _names(survey: Survey) -> Finding:
    name, needed = "port 53", "for names of instances, and leases"
    if not survey.dns:
        return Finding(TOPIC, name, "ok", needed, "free on the addresses of bridges")
    detail = f"{survey.dns} has it on every address of this host"
    hint = "let that listen on addresses of its own alone; or make networks with dns=false"
    return Finding(TOPIC, name, "missing", needed, detail, hint)


def _firewall(survey: Survey) -> Iterator[Finding]:
    name, needed = "other firewalls", "for what comes from networks and goes to them"
    if not survey.foreign:
        yield Finding(TOPIC, name, "ok", needed, "none drops what networks let pass")
    for network, each in survey.foreign:
        what = "is forwarded for it" if each.hook == "forward" else "its instances ask this host: names and leases"
        detail = f"{each.where} drops what {what}"
        yield Finding(TOPIC, f"network {network}", "limited", needed, detail, "; ".join(each.remedy))


def _fwd(said: str) -> Finding:
    name, needed = "nft fwd", "for limits.egress"
    if not said:
        return Finding(TOPIC, name, "ok", needed, "takes packets to where they wait their turn")
    hint = "modprobe nft_fwd_netdev, or use a kernel with CONFIG_NFT_FWD_NETDEV; some put it in an extra package"
    return Finding(TOPIC, name, "missing", needed, said, hint)


def _tried_fwd() -> str | None:
    """The kernel looks at the rule, and keeps nothing of it."""
    program = programs.which("nft")
    if program is None or os.geteuid():
        return None
    document = Document("cloison_check")
    document.table(NETDEV)
    document.base_chain(NETDEV, "try", "ingress", 0, device="lo")
    document.rule(NETDEV, "try", forward_to("lo"))
    done = process.run([program, "--check", "--json", "-f", "-"], stdin=document.text().encode(), timeout_s=30.0)
    if done.code == 0:
        return ""
    return " ".join(done.stderr.decode("utf-8", "replace").split()) or f"nft ends with exit code {done.code}"


def _is_dockers(each: Foreign) -> bool:
    """Whether it will let pass what a network needs as soon as that is up: Docker has a chain for exceptions."""
    return each.table == "filter" and each.chain == "FORWARD" and firewalls.docker_chain() != 0


def _resolver() -> str:
    """Who listens on port 53 of every address; ours listen on those of their bridges."""
    for protocol in ("tcp", "udp"):
        found = host.listening(protocol, _DNS, _DNS, host.ANYWHERE[0])
        if found:
            return found[1]
    return ""


def _is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)

"""Bridges, pairs of interfaces and network namespaces of the bench's own, made by ip(8); all are removed at the end."""

from bench.ground import Ground, wire_mark
from bench.processes import ENVIRONMENT, Failed, found, output


def bridge(ground: Ground, number: int, address: str = "") -> str:
    """A bridge that is up; its name. `address` is the host's own on it."""
    name = f"{wire_mark(ground.mark)}b{number}"
    _ip("link", "add", name, "type", "bridge")
    ground.later.callback(_ip, "link", "del", name)
    if address:
        _ip("address", "add", address, "dev", name)
    _ip("link", "set", name, "up")
    return name


def namespace(ground: Ground, number: int, bridge_name: str, address: str) -> list[str]:
    """A network namespace that is wired to a bridge; the beginning of a command that is to run in it."""
    name, end = f"{wire_mark(ground.mark)}n{number}", f"{wire_mark(ground.mark)}v{number}"
    _ip("netns", "add", name)
    ground.later.callback(_ip, "netns", "del", name)
    _ip("link", "add", end, "type", "veth", "peer", "eth0", "netns", name)
    _ip("link", "set", end, "master", bridge_name, "up")
    for words in (
        ("address", "add", address, "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("link", "set", "lo", "up"),
    ):
        _ip("-n", name, *words)
    return [found("ip"), "netns", "exec", name]


def _ip(*words: str) -> None:
    try:
        output([found("ip"), *words], ENVIRONMENT)
    except Failed as problem:
        raise Failed(f"{problem} (ip {' '.join(words)})") from problem

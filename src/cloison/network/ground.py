"""What nics need of the host that are on no network of cloison's own: tables of packet rules, and forwarding.

A network is up or down as a whole; here nothing has a state of its own. What is needed is asked for at each start, and
what no instance needs any more is given back when one of them is deleted or loses such a nic. Who holds what is in the
book of `cloison.network.forwarding`: <table>.@<interface>.<4 or 6> for what is routed there, in which family.
"""

import json
from collections.abc import Container, Iterable

import msgspec

from cloison.kernel import nftables, programs, rtnetlink
from cloison.network import bridge, forwarding, host, table
from cloison.network.forwarding import Switch, closed_before
from cloison.network.nft import Document
from cloison.network.programs import NFT
from cloison.network.upkeep import Runner
from cloison.plan.builder import Builder
from cloison.plan.network import compile_port
from cloison.plan.network_steps import Run
from cloison.plan.steps import NO_SLOT, Write
from cloison.spec.network import Interface
from cloison.spec.nics import BRIDGED


class Ground(msgspec.Struct, frozen=True):
    """Where instances are routed: `parent` is the interface of the host that their addresses are looked for on, empty
    where nobody looks for them. `table` is the name of the installation's tables."""

    table: str
    parent: str
    is_v6: bool

    @property
    def holder(self) -> str:
        """Its name in the book."""
        return f"{self.table}.@{self.parent}.{6 if self.is_v6 else 4}"


def ensure_rules(name: str, run: Runner) -> bool:
    """Have the installation's tables, with what is held of them against interfaces that were opened. Whether they were
    made now: then the rules of networks and interfaces are missing there."""
    if has_tables(name):
        return False
    with forwarding.opened(rtnetlink.namespace_cookie()) as book:
        opened = forwarding.of_table(book.read(), name)
        build = Builder("make the tables of packet rules")
        _rules(build, name, opened)
        run(build.plan())
    return True


def ensure(ground: Ground, run: Runner) -> None:
    """Have the host forward what is routed there, and answer for it. Raises Unsupported without nft, Busy, and what
    `run` raises."""
    with forwarding.opened(rtnetlink.namespace_cookie()) as book:
        entries = book.read()
        wanted = forwarding.wanted_routed(ground.parent, host.look().uplinks(), is_v6=ground.is_v6)
        switches = forwarding.needed(ground.holder, wanted, entries)
        is_known = entries.get(ground.holder, ()) == switches and (not switches or has_tables(ground.table))
        if is_known and forwarding.is_on(wanted):
            return
        dropped = forwarding.given_back(ground.holder, entries, kept=switches)  # there is another way outside now
        book.write(ground.holder, (*switches, *dropped))  # before it is done: whoever dies, it is known
        build = Builder(f"forward what is routed on {ground.parent or 'this host'}")
        _rules(build, ground.table, (*forwarding.of_table(entries, ground.table), *switches))
        build.chapter("forwarding, where it is needed and was not on")
        for each in switches:
            build.host(Write(NO_SLOT, each.path, each.value), undo=(Write(NO_SLOT, each.path, each.former),))
        for each in dropped:
            build.host(Write(NO_SLOT, each.path, each.former), optional=True)
        run(build.plan())
        book.write(ground.holder, switches)


def held(name: str) -> tuple[str, ...]:
    """The holders of an installation's, `name` being that of its tables: networks and grounds."""
    with forwarding.opened(rtnetlink.namespace_cookie()) as book:
        return tuple(each for each in book.read() if each.startswith(f"{name}."))


def release(name: str, run: Runner, *, known: Container[str]) -> tuple[str, ...]:
    """Give back what holders of an installation have that are not `known`; gives their names."""
    with forwarding.opened(rtnetlink.namespace_cookie()) as book:
        gone = [each for each in book.read() if each.startswith(f"{name}.") and each not in known]
        for holder in gone:
            switches = forwarding.given_back(holder, book.read())
            run(_plan_release(holder, name, switches).plan())
            book.write(holder, ())
    return tuple(gone)


def remove_rules(name: str, run: Runner) -> bool:
    """Take the installation's tables away, which nobody needs any more. Whether there were any."""
    nft = programs.which(NFT[0])
    if not nft or not any(nftables.table_handle(family, name) is not None for family in (table.INET, table.NETDEV)):
        return False
    build = Builder("take the tables of packet rules away")
    build.host(bridge.nft(nft, table.remove_installation(name)))
    run(build.plan())
    return True


def _plan_release(holder: str, name: str, switches: tuple[Switch, ...]) -> Builder:
    build = Builder(f"no more forwarding for {holder}")
    nft = programs.which(NFT[0])
    if nft and switches and nftables.table_handle(table.INET, name) is not None:
        document = Document(name)
        table.close(document, closed_before(switches, "ipv4"), closed_before(switches, "ipv6"))
        if document.text():
            build.host(bridge.nft(nft, document))
    for each in switches:
        build.host(Write(NO_SLOT, each.path, each.former), optional=True)
    return build


def _rules(build: Builder, name: str, opened: tuple[Switch, ...]) -> None:
    build.chapter("packet rules")
    nft = programs.needed(NFT[0], package=NFT[1])
    build.host(bridge.nft(nft, table.installation(name)))
    document = Document(name)
    table.open_(document, closed_before(opened, "ipv4"), closed_before(opened, "ipv6"))
    if document.text():
        build.host(bridge.nft(nft, document))


def plug(interfaces: Iterable[Interface], run: Runner) -> bool:
    """Have the host's ends be ports of their bridges, one of which may have been made anew. Whether one was not."""
    is_done = False
    for each in interfaces:
        link = host.interface(each.host_name) if each.type == BRIDGED and each.master_index else None
        if link is not None and link.master != each.master_index:
            run(compile_port(f"make {each.host_name} a port of {each.master}", each, link.index))
            is_done = True
    return is_done


def has_chains(name: str, documents: str) -> bool:
    """Whether the chains are there that documents for nft, one a line, would make in an installation's tables."""
    commands = (each for line in documents.splitlines() for each in json.loads(line)["nftables"])
    made = {
        (each["add"]["chain"]["family"], each["add"]["chain"]["name"])
        for each in commands
        if "chain" in each.get("add", {})
    }
    return all(nftables.chain_handle(family, name, chain) is not None for family, chain in made)


def carry_out(documents: Iterable[str], what: str, run: Runner) -> None:
    """Have nft take documents, each of one or more lines; every line is a transaction of its own."""
    build = Builder(f"make {what}")
    build.chapter(what)
    nft = programs.needed(NFT[0], package=NFT[1])
    for line in "\n".join(documents).splitlines():
        build.host(Run((nft, "--json", "-f", "-"), line))
    run(build.plan())


def has_tables(name: str) -> bool:
    """Whether an installation's tables are there."""
    return all(nftables.table_handle(family, name) is not None for family in (table.INET, table.NETDEV))

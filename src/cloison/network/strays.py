"""What is on this host of networks and instances that no record knows, and no file in its place tells of.

What died halfway is known by its journal, or by <run>/<network>/network, and is taken back by those. Here is the rest,
found by its own names: somebody has removed our files, or the store is older than the host. Everything that is taken
away is this installation's own: the alias of a bridge, a comment, a table have its name, paths lie below its directory.
"""

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator

import msgspec

from cloison.kernel import netlink, nftables, procfs, programs, rtnetlink
from cloison.network import bridge, counters, firewalls, table
from cloison.network.programs import NFT
from cloison.network.upkeep import Runner
from cloison.plan.builder import Builder
from cloison.plan.network_steps import Netlink, Run, Terminate, WriteFile
from cloison.plan.plan import Plan
from cloison.plan.steps import NO_SLOT, Step, Unlink
from cloison.spec.network import queue_of

_END = re.compile("v([0-9a-f]{8})n[0-9]+")  # the host's end of an instance's nic, with the beginning of its id


class Known(msgspec.Struct, frozen=True):
    """Whom there is, asked when it matters: networks by name, instances by the first 8 digits of the id."""

    has_network: Callable[[str], bool]
    has_instance: Callable[[str], bool]

    def has_end(self, name: str) -> bool:
        """Whether an instance may have this end of a nic."""
        found = _END.fullmatch(name)
        return found is not None and self.has_instance(found[1])


def clear(name: str, run: str, data: str, known: Known, carry_out: Runner) -> tuple[str, ...]:
    """Take away what nobody knows. `name` is that of the installation's tables, `run` and `data` are the directories
    that have one of each network's own. Gives what it was, in words; raises what `carry_out` raises."""
    found = [*_links(name, known), *_daemons(run, known), *_docker(name, known), *_rules(name, known)]
    for what, steps in found:
        carry_out(_plan(what, steps))
    return (*(what for what, _steps in found), *_files(run, data, known))


def _plan(what: str, steps: tuple[Step, ...]) -> Plan:
    build = Builder(f"take away what is left: {what}")
    build.chapter("nobody knows it any more")
    for step in steps:
        build.host(step)
    return build.plan()


Found = tuple[str, tuple[Step, ...]]


def _links(name: str, known: Known) -> Iterator[Found]:
    with rtnetlink.connect() as connection:
        links = connection.links()
    for each in links:
        if each.alias.startswith(f"{name} network ") and not known.has_network(each.alias.rpartition(" ")[2]):
            yield f"interface {each.name}", (_no_link(each.name),)


def _no_link(name: str) -> Step:
    batch = netlink.batch(netlink.delete_link(name))
    return Netlink(f"link delete {name}", NO_SLOT, NO_SLOT, 0, batch.data, bridge.ENODEV, 0)


def _daemons(run: str, known: Known) -> Iterator[Found]:
    """A dnsmasq of a network that is not known, or one that its network has lost: its number is in no file."""
    path = re.compile(f"--conf-file={re.escape(run.rstrip('/'))}/([^/]+)/dnsmasq[.]conf")
    for pid, argv in procfs.command_lines("dnsmasq"):
        told = next((match for word in argv if (match := path.fullmatch(word))), None)
        if told is not None and not known.has_network(told[1]) and procfs.is_in_our_network(pid):
            scratch = f"{run.rstrip('/')}/stray.pid"
            stop = (WriteFile(scratch, 0o600, f"{pid}\n".encode()), Terminate(scratch, told[0]), Unlink(scratch))
            yield f"dnsmasq of {told[1]} (process {pid})", stop


def _docker(name: str, known: Known) -> Iterator[Found]:
    for program, line in firewalls.docker_lines():
        words = shlex.split(line)
        comment = words[words.index("--comment") + 1] if "--comment" in words else ""
        if comment.startswith(f"{name} network ") and not known.has_network(comment.rpartition(" ")[2]):
            yield f"rule of Docker's for {comment}", (Run((program, "-w", "-D", *words[1:]), ""),)


def _rules(name: str, known: Known) -> Iterator[Found]:
    nft = programs.which(NFT[0])
    if not nft or not any(nftables.table_handle(family, name) is not None for family in (table.INET, table.NETDEV)):
        return
    listed = counters.listing(name)
    document = counters.stale(listed, name, known.has_end, known.has_network)
    if document:
        queues = (queue_of(end) for end in counters.rated(listed) if not known.has_end(end))
        yield "packet rules", (Run((nft, "--json", "-f", "-"), document), *map(_no_link, queues))


def _files(run: str, data: str, known: Known) -> Iterator[str]:
    for directory in (run, data):
        for name in _listed(directory):
            if not known.has_network(name):
                shutil.rmtree(f"{directory}/{name}", ignore_errors=True)
                yield f"files of the network {name}"
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    for name in _listed(run):
        for kind in ("names", "leases"):
            for end in _listed(f"{run}/{name}/served/{kind}"):
                if not known.has_end(end):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{run}/{name}/served/{kind}/{end}")
                        yield f"{kind} of {end} on the network {name}"


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []

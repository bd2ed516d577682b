"""A command that changes the nics of what runs, and is killed halfway: the next one, or repair, takes it back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloison import Engine, Instance
from cloison.engine import rewiring
from tests.integration.network import netlab
from tests.integration.network.conftest import Nicked
from tests.integration.network.netlab import HERE

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]

# Dies before or after the plan number NUMBER of the change has been carried out.
KILLED = """
import os, signal, sys
import cloison
from cloison.runtime import host_steps

_root, when, number, *words = sys.argv[1:]
run, done = host_steps.run, []

def counted(plan, inherited=()):
    is_it = "eth0" in plan.title or "late" in plan.title or "packet rules" in plan.title
    done.append(plan) if is_it else None
    if is_it and len(done) == int(number) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = run(plan, inherited)
    if is_it and len(done) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

host_steps.run = counted
cloison.open().get("web").set(*words)
"""
CHANGES = {
    "add": (1, ("nics.late.network=back", "nics.late.rules=deny in tcp 81", "nics.late.limits.egress=10Mbit")),
    "rules": (1, ("nics.eth0.rules=deny in tcp 81", "nics.eth0.limits.ingress=10Mbit")),
    "remove": (1, ("nics.eth0.type=",)),
    "exchange": (2, ("nics.eth0.type=bridged", "nics.eth0.mtu=1300")),
    "several": (3, ("nics.late.network=back", "nics.eth0.mtu=1300")),
}


def seen(web: Instance) -> list[str]:
    """What is in force, by what the kernel has."""
    links = {name: netlab.link(web, name) for name in netlab.link_names(web)}
    inside = {name: (each["address"], each["mtu"], "UP" in each["flags"]) for name, each in links.items()}
    addresses = {name: netlab.addresses(web, name) for name in inside}
    routes, ends, rules = sorted(netlab.routes(web)), sorted(netlab.link_names(HERE)), sorted(set(netlab.rules()))
    return [str(inside), str(addresses), str(routes), str(ends), *rules]


@pytest.mark.parametrize("settled", ["repair", "the next command"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_killed_change_is_taken_back(
    change: str, when: str, settled: str, engine: Engine, nicked: Nicked, root: Path
) -> None:
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none"])
    engine.networks.up("back")
    web = nicked()
    count, words = CHANGES[change]
    before = seen(web)
    for number in range(1, count + 1):
        environment = {**os.environ, "CLOISON_ROOT": str(root)}
        done = subprocess.run([sys.executable, "-c", KILLED, str(root), when, str(number), *words], env=environment)
        assert done.returncode == -signal.SIGKILL
        assert Path(web.directory, "rewiring").exists()
        if settled == "repair":
            assert ("instance", "web") in [(each.what, each.where) for each in engine.repair()]
        else:
            web.set("limits.processes=500")
        assert set(seen(web)) ^ set(before) == set()
        assert not Path(web.directory, "rewiring").exists()
    assert engine.repair() == ()
    with netlab.serving(web):
        assert "E" not in netlab.asks(HERE, netlab.address(web))
    web.set(*words)
    web.stop(force=True)


def test_a_change_that_was_stored_stays(engine: Engine, nicked: Nicked) -> None:
    web = nicked()
    engine.networks.create("back", ["ipv4=10.55.0.1/24", "ipv6=none"])
    web.reload()
    old = web.record
    web.set("nics.late.network=back")
    web.reload()
    rewiring.note(engine, old, web.record)  # as if it had died just before it forgot about it
    engine.repair()
    assert "late" in netlab.link_names(web)
    assert not Path(web.directory, "rewiring").exists()

"""Each test has an installation of its own, on a host with an outside (netlab.py), and leaves that as it was.

One host serves the tests of a module, one after the other, so that what one leaves is seen."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance
from tests.integration import conftest as above
from tests.integration.conftest import PAYLOAD, eventually
from tests.integration.network import netlab

INIT = (f"init.command={PAYLOAD} init", "boot.stop_signal=SIGTERM")  # one that ends at once, with no nic of its own
Nicked = Callable[..., Instance]


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[netlab.Lab]:
    """The host; this process is on it until the last test of the module."""
    lab = netlab.Lab()
    try:
        with lab.entered():
            yield lab
    finally:
        lab.end()


@pytest.fixture
def outside(lab: netlab.Lab) -> netlab.World:
    return lab.outside


@pytest.fixture
def engine(lab: netlab.Lab, root: Path) -> Iterator[Engine]:
    """An installation; when its instances and networks are deleted, the host is as it was."""
    before = netlab.state()
    with above.installation(root) as engine:
        yield engine
        delete_all(engine)
        eventually(lambda: not netlab.difference(before, netlab.state()), 5)
        assert netlab.difference(before, netlab.state()) == {}


@pytest.fixture
def routing(lab: netlab.Lab) -> Iterator[None]:
    """The host forwards what comes from the outside, and answers there for others in IPv6."""
    names = (
        f"net.ipv4.conf.{netlab.UPLINK}.forwarding net.ipv6.conf.all.forwarding net.ipv6.conf.{netlab.UPLINK}.proxy_ndp"
    )
    for value in (1, 0):
        lab.host.do(f"for name in {names}; do sysctl -qw $name={value}; done")
        if value:
            yield


def delete_all(engine: Engine) -> None:
    """Every instance, then every network."""
    for instance in engine.instances():
        instance.delete(force=True)
    for network in engine.networks.all():
        engine.networks.delete(network.name)


@pytest.fixture
def nicked(engine: Engine) -> Nicked:
    """Start an instance with an init that ends at once: `nicked("web", "nics.eth0.mtu=1400")`. It has one nic on
    cloison0 unless something else is said of nics."""

    def launched(name: str = "web", *config: str) -> Instance:
        nics = () if any(each.startswith("nics.") for each in config) else ("nics.eth0.type=bridged",)
        return engine.launch("busybox", name, config=(*INIT, *nics, *config))

    return launched

"""Hosts that have a firewall already: Docker's, and one of the administrator's own that drops."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine
from tests.integration.conftest import Cli, eventually, inside
from tests.integration.network import netlab
from tests.integration.network.conftest import Nicked
from tests.integration.network.netlab import HERE, World
from tests.patience import patient

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]


@contextlib.contextmanager
def docker(directory: Path) -> Iterator[None]:
    """A dockerd of its own on this host, with what it has of rules and bridges; ended by its process number."""
    log = (directory / "log").open("w")
    daemon = subprocess.Popen(
        [
            "dockerd",
            f"--data-root={directory}/data",
            f"--exec-root={directory}/exec",
            f"--pidfile={directory}/pid",
            f"--host=unix://{directory}/sock",
            "--storage-driver=vfs",
        ],
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        said = directory / "log"
        assert eventually(lambda: "API listen on" in said.read_text() or daemon.poll() is not None, 60), (
            said.read_text()
        )
        assert daemon.poll() is None, said.read_text()
        assert "DOCKER-USER" in netlab.rule_texts()
        yield
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        log.close()


def clean_docker(lab: netlab.Lab) -> None:
    """Docker leaves its rules and its bridge; the host is to be as it was."""
    lab.host.do("iptables-nft -F; ip link delete docker0 || true; nft flush ruleset")
    subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"], check=True)


class Docker:
    """Docker's own client of a daemon, with an image that has nothing but the tests' program."""

    def __init__(self, directory: Path) -> None:
        self._client = ["docker", f"--host=unix://{directory}/sock"]
        archive = directory / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(netlab.PROGRAM, "payload")
        self._do("import", str(archive), "payload")

    def _do(self, *words: str) -> str:
        done = subprocess.run([*self._client, *words], capture_output=True, text=True, timeout=patient(60))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def asks(self, target: str, port: int = 80) -> str:
        """What `payload ask` of a new container says."""
        return self._do("run", "--rm", "payload", "/payload", "ask", "tcp", target, str(port), "3000").partition(" ")[0]

    @contextlib.contextmanager
    def serving(self, published: int) -> Iterator[str]:
        """A container with a server on port 80, which is that port of the host; gives its address."""
        options = ["--detach", "--rm", f"--publish={published}:80", "payload"]
        name = self._do("run", *options, "/payload", "serve", "tcp", "::", "80")
        try:
            yield self._do("inspect", "--format={{.NetworkSettings.IPAddress}}", name)
        finally:
            self._do("kill", name)


def dockers() -> list[str]:
    """The rules that Docker has made, and those in its chains."""
    return [each for each in netlab.rules() if "DOCKER" in each or "docker0" in each]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")
def test_beside_docker(nicked: Nicked, engine: Engine, lab: netlab.Lab, outside: World, tmp_path: Path) -> None:
    """Docker's policy for what is forwarded is DROP. The outside is reached all the same, and ports are, and Docker's
    own containers notice nothing; its rules are as they were when the network is gone."""
    try:
        with docker(tmp_path):
            docked, theirs = Docker(tmp_path), dockers()
            web = nicked("web", "ports.8080/tcp=80")
            assert dockers() != theirs  # the exceptions
            with netlab.serving(outside), netlab.serving(web), docked.serving(8090) as container:
                assert netlab.asks(web, netlab.FAR4) == netlab.HOST4
                assert netlab.asks(outside, netlab.HOST4, 8080) == netlab.OUTSIDE4
                # Docker's way outside and its ports, and how both meet through the host.
                assert docked.asks(netlab.FAR4) == netlab.HOST4
                assert netlab.asks(outside, netlab.HOST4, 8090) == netlab.OUTSIDE4
                assert "E" not in netlab.asks(web, netlab.HOST4, 8090)
                assert "E" not in docked.asks(netlab.HOST4, 8080)
                assert netlab.asks(HERE, container) == netlab.address(HERE, "docker0")
            web.delete(force=True)
            engine.networks.delete("cloison0")
            assert dockers() == theirs
            with netlab.serving(outside):
                assert docked.asks(netlab.FAR4) == netlab.HOST4
    finally:
        clean_docker(lab)


DROPPING = "nft add table inet wall; nft add chain inet wall f '{ type filter hook forward priority 10; policy drop; }'"


def test_a_policy_of_drop_is_explained_and_left_alone(
    nicked: Nicked, lab: netlab.Lab, outside: World, cli: Cli
) -> None:
    """Nothing that cloison accepts can lift it: `check` names the chain and the rule that would help; that helps."""
    lab.host.do(DROPPING)
    try:
        web = nicked()
        with netlab.serving(outside):
            assert netlab.cannot_reach(web, netlab.FAR4)
            said = cli("check").stdout
            assert "inet wall" in said, said
            remedy = next(line for line in said.splitlines() if "nft " in line and "wall" in line)
            command = remedy[remedy.index("nft ") :].strip("`'\" .")
            lab.host.do(command.replace("`", ""))
            bridge = netlab.bridge_of(web)
            assert bridge in command
            assert eventually(lambda: netlab.asks(web, netlab.FAR4) == netlab.HOST4, 5)
        assert json.loads(cli("check", "--json").stdout)
    finally:
        lab.host.do("nft delete table inet wall")


CLOSED = """
nft add table inet wall
nft add chain inet wall i '{ type filter hook input priority 10; policy drop; }'
nft add rule inet wall i iif lo accept
nft add rule inet wall i ct state established,related accept
nft add rule inet wall i meta l4proto ipv6-icmp accept
"""


def test_a_host_that_lets_nobody_in_is_told_what_instances_ask_it(nicked: Nicked, lab: netlab.Lab, cli: Cli) -> None:
    """Names and leases come from the host itself; an instance reaches others all the same."""
    lab.host.do(CLOSED)
    try:
        web, db = nicked("web", "nics.eth0.type=bridged", "nics.eth0.addresses=dhcp"), nicked("db")
        ask = ["udhcpc", "-i", "eth0", "-n", "-q", "-t", "3", "-T", "1", "-s", "/bin/true"]
        resolve = ["nslookup", "db.cloison", netlab.address(HERE, netlab.bridge_of(db))]
        assert web.exec(ask).code != 0
        assert db.exec(resolve).code != 0
        [remedy] = [line for line in cli("check").stdout.splitlines() if "nft " in line and "inet wall" in line]
        lab.host.do(remedy[remedy.index("nft ") :].replace("`", ""))
        assert web.exec(ask).code == 0
        assert netlab.address(db) in inside(db, *resolve)
        assert "inet wall" not in cli("check").stdout
    finally:
        lab.host.do("nft delete table inet wall")


def test_hosts_without_forwarding_forward_only_for_cloison(nicked: Nicked, outside: World) -> None:
    """What the host did not forward before, it does not forward now: from the outside to another of its networks."""
    subprocess.run(
        "ip link add side type veth peer name side1; ip address add 10.99.0.1/24 dev side", shell=True, check=True
    )
    side = netlab.World("--net")
    try:
        subprocess.run(f"ip link set side up; ip link set side1 netns {side.pid}", shell=True, check=True)
        side.do("ip address add 10.99.0.2/24 dev side1; ip link set side1 up; ip route add default via 10.99.0.1")
        outside.do(f"ip route add 10.99.0.0/24 via {netlab.HOST4}")
        nicked()
        with netlab.serving(side):
            assert "E" not in netlab.asks(HERE, "10.99.0.2")
            assert netlab.cannot_reach(outside, "10.99.0.2")
    finally:
        outside.do("ip route del 10.99.0.0/24 || true")
        side.end()
        subprocess.run(["ip", "link", "delete", "side"], check=False)

"""A network brought up and taken down on the real kernel, in namespaces that stand for the host. The witnesses are
ip(8), nft(8), and the processes and files that there are."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloison.network.network import table_of
from tests.kernel.namespaces import Namespace, new_namespace
from tests.patience import patient

pytestmark = [pytest.mark.needs_root]


COOKIE = "from cloison.kernel import rtnetlink; import sys; sys.stdout.write(str(rtnetlink.namespace_cookie()))"


class Host:
    """A namespace with one way out, `up0`, and a directory for the network's files."""

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        self.namespace, self.directory = namespace, directory
        self.table = table_of(str(directory))
        self.conf = f"{directory}/run/lab/dnsmasq.conf"
        for command in ("link set lo up", "link add up0 type veth peer name up1", "link set up0 up", "link set up1 up"):
            namespace.run("ip", *command.split())
        namespace.run("ip", "addr", "add", "192.0.2.2/24", "dev", "up0")
        namespace.run("ip", "route", "add", "default", "via", "192.0.2.1")

    def do(self, *words: str) -> list[Any]:
        """What came of each word (see `network_child`), and last the titles of the plans that were run."""
        said = self.namespace.run(sys.executable, "-m", "tests.kernel.network_child", str(self.directory), *words)
        return [json.loads(line) for line in said.splitlines()]

    def starting(self, *words: str) -> "subprocess.Popen[str]":
        program = [sys.executable, "-m", "tests.kernel.network_child", str(self.directory), *words]
        command = ["nsenter", f"--net=/proc/self/fd/{self.namespace.fd}", *program]
        return subprocess.Popen(command, pass_fds=[self.namespace.fd], stdout=subprocess.PIPE, text=True)

    def dnsmasq(self) -> list[int]:
        """The processes of its dnsmasq that run."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    words = (entry / "cmdline").read_bytes().decode().split("\0")
                except OSError:
                    continue
                found += [int(entry.name)] if f"--conf-file={self.conf}" in words else []
        return found

    def forwarding(self, name: str) -> str:
        return self.namespace.run("cat", f"/proc/sys/net/ipv4/conf/{name}/forwarding").strip()

    def state(self) -> tuple[Any, ...]:
        """All that a network could leave behind."""
        links = sorted(each["ifname"] for each in self.namespace.json("ip", "-json", "link"))
        rules = [
            each
            for each in self.namespace.json("nft", "--json", "list", "ruleset")["nftables"]
            if "metainfo" not in each
        ]
        ways = self.namespace.json("ip", "-json", "route"), self.namespace.json("ip", "-json", "-6", "route")
        switches = [
            self.namespace.run(
                "sh", "-c", "cat /proc/sys/net/ipv*/conf/*/*forwarding /proc/sys/net/ipv6/conf/up*/accept_ra"
            )
        ]
        files = sorted(path for path in self.directory.rglob("*") if not path.is_dir() and path.suffix != ".pyc")
        return links, rules, ways, switches, files, self.dnsmasq(), self.book().exists()

    def book(self) -> Path:
        """Where it is noted what forwards for whom."""
        return Path("/run/cloison-forwarding", self.namespace.run(sys.executable, "-c", COOKIE).strip())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with new_namespace() as namespace:
        found = Host(namespace, tmp_path)
        yield found
        shutil.rmtree(found.book(), ignore_errors=True)
        for pid in found.dnsmasq():
            os.kill(pid, signal.SIGKILL)


def test_up_makes_all_of_it_and_down_leaves_nothing(host: Host) -> None:
    before = host.state()
    index, _plans = host.do("up")
    link = host.namespace.link("lab")
    addresses = {each["local"] for each in host.namespace.json("ip", "-json", "addr", "show", "lab")[0]["addr_info"]}
    assert (link["ifindex"], link["linkinfo"]["info_kind"]) == (index, "bridge")
    assert {"10.1.2.1", "fd01::1"} <= addresses and link["ifalias"] == f"{host.table} network lab"
    assert (host.forwarding("lab"), host.forwarding("up0"), host.forwarding("lo")) == ("1", "1", "0")
    (pid,) = host.dnsmasq()
    assert os.getsid(pid) != os.getsid(0)
    assert Path(f"/proc/{pid}/status").read_text().split("\nUid:\t")[1].split()[0] != "0"
    assert host.do("down")[0] is None
    assert host.state() == before


def test_what_is_up_is_not_touched(host: Host) -> None:
    first, plans = host.do("up")
    assert plans == ["bring the network lab up"]
    assert host.do("up", "is_up") == [first, True, []]


@pytest.mark.parametrize("loss", ["dnsmasq", "rules", "bridge"])
def test_what_was_lost_is_brought_back(host: Host, loss: str) -> None:
    host.do("up")
    match loss:
        case "dnsmasq":
            (pid,) = host.dnsmasq()
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not host.dnsmasq())
        case "rules":
            host.namespace.run("nft", "flush", "ruleset")
            host.namespace.run("nft", "add", "table", "inet", host.table)
        case _:
            host.namespace.run("ip", "link", "delete", "lab")
    assert host.do("is_up", "up", "is_up")[::2] == [False, True]
    assert len(host.dnsmasq()) == 1 and host.namespace.link("lab")
    assert "chain from_lab" in host.namespace.run("nft", "list", "ruleset")


def test_other_options_take_the_place_of_the_former(host: Host) -> None:
    host.do("up")
    host.do('up:{"ipv4": "10.9.9.1/24", "ipv6": "", "mtu": 1400, "is_dns": false}')
    link = host.namespace.json("ip", "-json", "addr", "show", "lab")[0]
    assert link["mtu"] == 1400 and [each["local"] for each in link["addr_info"]] == ["10.9.9.1"]
    assert "port=0" in Path(host.conf).read_text().splitlines() and len(host.dnsmasq()) == 1


def test_a_death_after_any_step_leaves_nothing_that_down_does_not_take(host: Host) -> None:
    before = host.state()
    for steps in range(100):
        done = host.do(f"until:{steps}", "down")
        assert host.state() == before, steps
        if done[0] != "interrupted":
            break
    assert steps > 15


def test_a_death_after_any_step_is_made_good_by_the_next_up(host: Host) -> None:
    for steps in range(0, 100, 4):
        first, second, is_up, down, _plans = host.do(f"until:{steps}", "up", "is_up", "down")
        assert (isinstance(second, int), is_up, down) == (True, True, None), steps
        if first != "interrupted":
            break


def test_who_comes_at_the_same_time_finds_one_network(host: Host) -> None:
    running = [host.starting("up") for _ in range(4)]
    said = [[json.loads(line) for line in each.communicate()[0].splitlines()] for each in running]
    assert len({index for index, _plans in said}) == 1
    assert sum(len(plans) for _index, plans in said) == 1 and len(host.dnsmasq()) == 1


def test_an_interface_of_somebody_else_is_left_alone(host: Host) -> None:
    host.namespace.run("ip", "link", "add", "lab", "type", "bridge")
    said, plans = host.do("up")
    assert said.startswith("Conflict: network 'lab' cannot have its bridge") and plans == []
    host.do("down")
    assert host.namespace.link("lab")


def test_forwarding_that_was_on_stays_and_goes_with_the_last_that_needs_it(host: Host) -> None:
    other = '{"name": "two", "bridge": "two", "ipv4": "10.2.0.1/16", "ipv6": "fd02::1/64"}'
    host.namespace.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/up1/forwarding")
    host.do("up")
    host.do(f"up:{other}")
    host.do("down")
    assert (host.forwarding("up0"), host.forwarding("up1")) == ("1", "1")
    host.do(f"down:{other}")
    assert (host.forwarding("up0"), host.forwarding("up1")) == ("0", "1")


def test_a_router_stays_one(host: Host) -> None:
    host.do("up")
    host.namespace.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    host.do("down")
    assert host.forwarding("up0") == "1"


def test_an_internal_network_opens_nothing(host: Host) -> None:
    host.do('up:{"is_internal": true}')
    assert (host.forwarding("lab"), host.forwarding("up0")) == ("0", "0")


def test_a_parent_is_used_as_it_is(host: Host) -> None:
    host.namespace.run("ip", "link", "add", "br7", "type", "bridge")
    before = host.state()
    options = '{"parent": "br7", "bridge": "br7", "ipv4": "", "ipv6": ""}'
    assert host.do(f"up:{options}", f"is_up:{options}")[:2] == [host.namespace.link("br7")["ifindex"], True]
    assert host.dnsmasq() == [] and "table" not in host.namespace.run("nft", "list", "ruleset")
    host.do(f"down:{options}")
    assert host.state() == before


def test_a_parent_that_is_missing_is_named(host: Host) -> None:
    said, _plans = host.do('up:{"parent": "br7", "bridge": "br7"}')
    assert said == "NotFound: network 'lab': this host has no interface 'br7'"


def test_docker_gets_exceptions_where_it_leaves_room_for_them(host: Host) -> None:
    for program in ("iptables", "ip6tables"):
        for command in ("-N DOCKER-USER", "-P FORWARD DROP", "-I FORWARD -j DOCKER-USER"):
            host.namespace.run(program, *command.split())
    before = host.state()
    host.do("up")
    for program in ("iptables", "ip6tables"):
        rules = host.namespace.run(program, "-S", "DOCKER-USER").splitlines()[1:]
        said = f'-m comment --comment "{host.table} network lab" -j ACCEPT'
        assert sorted(rules) == [f"-A DOCKER-USER -i lab {said}", f"-A DOCKER-USER -o lab {said}"]
    assert host.do("up")[1] == []
    host.namespace.run("iptables", "-F", "FORWARD")
    host.namespace.run("iptables", "-F", "DOCKER-USER")
    host.namespace.run("iptables", "-X", "DOCKER-USER")
    host.namespace.run("iptables", "-N", "DOCKER-USER")  # as a Docker does that is started anew
    host.do("up")
    assert len(host.namespace.run("iptables", "-S", "DOCKER-USER").splitlines()) == 3
    host.namespace.run("iptables", "-I", "FORWARD", "-j", "DOCKER-USER")
    host.do("down")
    assert names_of(host.state()) == names_of(before)


def names_of(state: tuple[Any, ...]) -> list[str]:
    """The chains and how many rules are in each."""
    found = [f"{each['chain']['family']} {each['chain']['name']}" for each in state[1] if "chain" in each]
    return sorted(
        found + [f"{each['rule']['family']} {each['rule']['chain']} rule" for each in state[1] if "rule" in each]
    )


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + patient(10)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

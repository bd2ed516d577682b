"""The commands about networks, in a network namespace that stands for the host."""

import ipaddress
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import PAYLOAD, PROGRAM, eventually, refused
from tests.kernel.namespaces import Namespace, new_namespace

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]
There = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with new_namespace() as namespace:
        namespace.run("ip", "link", "set", "lo", "up")
        yield namespace


@pytest.fixture
def there(root: Path, namespace: Namespace) -> Iterator[There]:
    """A command of cloison on that host; at the end no interface, rule or process is left on it."""

    def run(*words: str, without: str = "", **changed: str) -> subprocess.CompletedProcess[str]:
        hide = (
            ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', without] if without else []
        )
        enter = ["nsenter", f"--net=/proc/self/fd/{namespace.fd}"]
        return subprocess.run(
            [*enter, *hide, PROGRAM, "-q", *words],
            capture_output=True,
            text=True,
            env={**os.environ, "CLOISON_ROOT": str(root), **changed},
            stdin=subprocess.DEVNULL,
            pass_fds=[namespace.fd],
            timeout=60,
        )

    yield run
    taken_down(run)
    assert namespace.names() == {"lo"}
    assert "cloison" not in namespace.run("nft", "list", "ruleset")
    assert subprocess.run(["pgrep", "-f", f"dnsmasq.*{root}"], stdout=subprocess.DEVNULL).returncode == 1


def taken_down(run: There, **changed: str) -> None:
    """Delete every instance and every network of an installation."""
    for name in run("ls", "-q", **changed).stdout.split():
        run("delete", "--force", name, **changed)
    known = json.loads(run("network", "ls", "--json", **changed).stdout)
    if known:
        fine(run("network", "delete", *(each["name"] for each in known), **changed))


def fine(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_network_comes_up_with_its_first_instance_and_is_told_with_it(there: There) -> None:
    fine(there("network", "create", "lan", "ipv4=10.9.0.1/24", "rules=deny in tcp 22"))
    assert json.loads(fine(there("network", "info", "lan", "--json")))["is_up"] is False
    fine(there("launch", "busybox", "web", "--network", "lan", "--port", "8080:80"))
    info = json.loads(fine(there("network", "info", "lan", "--json")))
    assert (info["is_up"], info["is_serving"]) == (True, True)
    assert [(each["instance"], each["nic"], each["is_running"]) for each in info["members"]] == [("web", "eth0", True)]
    assert any("dport 22" in rule["text"] and rule["packets"] == 0 for rule in info["rules"])
    [nic] = json.loads(fine(there("nic", "ls", "web", "--json")))
    assert nic["mac"] == info["members"][0]["mac"]
    assert nic["addresses"][0].startswith("10.9.0.")
    assert fine(there("port", "ls")).splitlines()[1].split() == ["8080/tcp", "web", "80", "-", "now"]


def test_a_network_that_somebody_is_on_stays_and_a_port_that_somebody_has_is_refused(there: There) -> None:
    fine(there("network", "create", "lan"))
    fine(there("create", "busybox", "web", "--network", "lan", "--port", "8080:80"))
    fine(there("create", "busybox", "db", "--network", "lan"))
    refused(there("network", "delete", "lan"), 4, "'lan' cannot be deleted", "db, web")
    refused(there("port", "add", "db", "8080:80"), 4, "ports.8080/tcp=80", "'web'")
    refused(there("port", "add", "web", "8080:81"), 4, "it leads to 80 already")
    refused(there("nic", "add", "web", "eth0"), 4, "nics.eth0: it has such a nic already")
    refused(there("nic", "remove", "web", "eth0"), 2, "ports.8080/tcp=80")
    fine(there("port", "remove", "web", "8080"))
    fine(there("nic", "remove", "web", "eth0"))
    assert json.loads(fine(there("nic", "ls", "web", "--json"))) == []


@pytest.mark.parametrize("shape", ["policy drop; }", "policy accept; } ; add rule inet strict forward counter drop"])
def test_a_firewall_that_drops_what_is_forwarded_is_named_with_what_helps(
    there: There, namespace: Namespace, shape: str
) -> None:
    fine(there("network", "create", "lan"))
    bridge = json.loads(fine(there("network", "info", "lan", "--json")))["bridge"]
    namespace.run(
        "nft", f"add table inet strict; add chain inet strict forward {{ type filter hook forward priority 0; {shape}"
    )
    found = [each for each in json.loads(there("check", "--json").stdout) if each["topic"] == "Networks"]
    [finding] = [each for each in found if each["name"] == "network lan"]
    assert "inet strict forward drops" in finding["detail"]
    for command in finding["hint"].split("; "):
        assert bridge in command
        namespace.run(*command.split())
    after = [each["name"] for each in json.loads(there("check", "--json").stdout) if each["topic"] == "Networks"]
    assert "network lan" not in after


def test_a_resolver_on_every_address_is_named(there: There, namespace: Namespace) -> None:
    script = "import socket,sys; s = socket.create_server(('0.0.0.0', 53)); print(flush=True); sys.stdin.read()"
    enter = ["nsenter", f"--net=/proc/self/fd/{namespace.fd}", "/usr/bin/env", "python3", "-c", script]
    with subprocess.Popen(enter, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[namespace.fd]) as program:
        assert program.stdin is not None and program.stdout is not None
        program.stdout.readline()
        found = {each["name"]: each for each in json.loads(there("check", "--json").stdout)}
        program.stdin.close()
    assert found["port 53"]["status"] == "missing"
    assert f"(process {program.pid})" in found["port 53"]["detail"]


def test_what_runs_follows_or_stays_as_it_was(there: There, namespace: Namespace) -> None:
    for name in ("web", "other"):
        fine(there("launch", "busybox", name, "--network", "cloison0"))
    fine(there("port", "add", "other", "9090:90"))
    fine(there("port", "add", "web", "8080:80", "8081:81"))
    assert "8080" in namespace.run("nft", "list", "ruleset")
    refused(there("set", "web", "ports.7070/tcp=70", "ports.9090/tcp=90"), 4, "'other'")
    assert "7070" not in namespace.run("nft", "list", "ruleset")

    fine(there("port", "remove", "web", "8080"))
    fine(there("port", "add", "other", "8080:80"))  # and the end of web leaves it there
    fine(there("nic", "add", "web", "eth1", "network=cloison0"))
    assert "inet " in fine(there("exec", "web", "--", "ip", "-4", "addr", "show", "eth1"))
    seen = json.loads(fine(there("nic", "ls", "web", "--json")))
    assert [each["in_force"] and each["received_bytes"] is not None for each in seen] == [True, True]
    fine(there("nic", "set", "web", "eth1", "rules=deny in tcp 4321"))
    assert "4321" in namespace.run("nft", "list", "ruleset")
    fine(there("nic", "remove", "web", "eth1"))
    assert "4321" not in namespace.run("nft", "list", "ruleset")
    assert there("exec", "web", "--", "ip", "addr", "show", "eth1").returncode != 0

    fine(there("stop", "--force", "web"))
    rules = namespace.run("nft", "list", "ruleset")
    assert "8081" not in rules
    assert "tcp . 8080" in rules


def test_repair_takes_down_a_network_that_no_record_knows(there: There, root: Path, namespace: Namespace) -> None:
    fine(there("launch", "busybox", "kept", "--network", "cloison0"))
    fine(there("network", "create", "lan", "ipv4=10.9.0.1/24"))
    fine(there("launch", "busybox", "web", "--network", "lan"))
    fine(there("delete", "--force", "web"))
    assert "10.9.0.1" in namespace.run("ip", "-4", "addr")
    with sqlite3.connect(root / "lib" / "state.db") as store:
        store.execute("DELETE FROM kv WHERE key = 'networks/lan'")
    assert "lan" in fine(there("repair"))
    assert "10.9.0.1" not in namespace.run("ip", "-4", "addr")
    assert "10.9.0.0" not in namespace.run("nft", "list", "ruleset")
    assert json.loads(fine(there("network", "info", "cloison0", "--json")))["is_up"] is True


def test_the_rules_of_a_network_on_a_bridge_of_the_host_are_those_of_its_nics(
    there: There, namespace: Namespace
) -> None:
    namespace.run("ip", "link", "add", "br9", "up", "type", "bridge")
    fine(there("network", "create", "lan", "parent=br9", "rules=deny out tcp 4321"))
    fine(there("launch", "busybox", "web", "--network", "lan"))
    assert "4321" in namespace.run("nft", "list", "ruleset")
    fine(there("delete", "--force", "web"))
    assert "4321" not in namespace.run("nft", "list", "ruleset")
    namespace.run("ip", "link", "delete", "br9")


# --- what an instance has about which nothing is said ----------------------------------------------------------------


def addresses(there: There, name: str, nic: str = "eth0", **changed: str) -> list[Any]:
    """What ip(8) sees on a nic inside."""
    pid = json.loads(fine(there("info", name, "--json", **changed)))[0]["pid"]
    command = ["nsenter", "--net", "--target", str(pid), "ip", "-json", "addr", "show", "dev", nic]
    [link] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert link["operstate"] == "UP"
    return [ipaddress.ip_address(each["local"]) for each in link["addr_info"] if each["scope"] == "global"]


def subnets(there: There, network: str = "cloison0", **changed: str) -> list[Any]:
    """Those of a network, IPv4 first."""
    info = json.loads(fine(there("network", "info", network, "--json", **changed)))
    return [ipaddress.ip_network(info[family], strict=False) for family in ("ipv4", "ipv6")]


def links(there: There, name: str) -> dict[str, list[str]]:
    """The interfaces inside, as ip(8) sees them, each with its flags."""
    pid = json.loads(fine(there("info", name, "--json")))[0]["pid"]
    command = ["nsenter", "--net", "--target", str(pid), "ip", "-json", "link"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {each["ifname"]: each["flags"] for each in found}


def test_an_instance_about_which_nothing_is_said_is_on_the_default_network(there: There, namespace: Namespace) -> None:
    fine(there("create", "busybox", "web"))
    assert fine(there("get", "web")) == "nics.eth0.type=bridged\n"
    assert namespace.names() == {"lo"}, "nothing is on the host before it starts"
    fine(there("start", "web"))
    inside = addresses(there, "web")
    assert [address in subnet for address, subnet in zip(inside, subnets(there), strict=True)] == [True, True]
    for address in inside:
        namespace.run("busybox", "ping", "-c1", "-W5", str(address))
    fine(there("launch", "busybox", "db"))
    assert str(inside[0]) in fine(there("exec", "db", "--", "nslookup", "web.cloison"))
    fine(there("exec", "db", "--", "ping", "-c1", "-W5", "web.cloison"))


def test_the_default_network_stays_until_it_is_deleted(there: There, namespace: Namespace) -> None:
    fine(there("launch", "busybox", "web"))
    fine(there("delete", "--force", "web"))
    bridge = json.loads(fine(there("network", "info", "cloison0", "--json")))["bridge"]
    assert namespace.names() == {"lo", bridge}
    fine(there("network", "delete", "cloison0"))
    assert namespace.names() == {"lo"}
    fine(there("launch", "busybox", "web"))
    assert addresses(there, "web")


def test_who_wants_no_network_says_so(there: There, namespace: Namespace) -> None:
    for kind in ("none", "empty"):
        fine(there("launch", "busybox", kind, "--network", kind, "--set", f"init.command={PAYLOAD} init"))
        assert fine(there("get", kind)).splitlines()[0] == f"nics.eth0.type={kind}"
    assert links(there, "none").keys() == links(there, "empty").keys() == {"lo"}
    assert ("UP" in links(there, "none")["lo"], "UP" in links(there, "empty")["lo"]) == (False, True)
    assert namespace.names() == {"lo"}
    assert json.loads(fine(there("network", "ls", "--json"))) == []


def test_several_networks_are_for_several_nics(there: There) -> None:
    fine(there("network", "create", "lan", "ipv4=10.9.0.1/24", "ipv6=none"))
    fine(there("launch", "busybox", "web", "--network", "cloison0", "--network", "lan"))
    assert addresses(there, "web", "eth1")[0] in ipaddress.ip_network("10.9.0.0/24")
    assert addresses(there, "web", "eth0")[0] in subnets(there)[0]
    refused(there("create", "busybox", "db", "--network", "lan", "--network", "none"), 2, "nics.eth1.type=none")
    refused(there("create", "busybox", "db", "--network", "nowhere"), 3, "nics.eth0.network=nowhere", "network ls")


def test_a_port_needs_no_word_about_networks(there: There) -> None:
    fine(there("create", "busybox", "web", "--port", "8080:80"))
    assert fine(there("get", "web")).splitlines() == ["nics.eth0.type=bridged", "ports.8080/tcp=80"]


def test_two_installations_on_one_host_do_not_meet(there: There, root: Path, tmp_path: Path) -> None:
    other = {"CLOISON_ROOT": str(tmp_path / "other")}
    (tmp_path / "other" / "lib").mkdir(parents=True)
    (tmp_path / "other" / "lib" / "images").symlink_to((root / "lib" / "images").resolve())
    try:
        fine(there("launch", "busybox", "web"))
        fine(there("launch", "busybox", "web", **other))
        one, two = subnets(there), subnets(there, **other)
        assert not any(mine.overlaps(theirs) for mine, theirs in zip(one, two, strict=True))
        assert addresses(there, "web")[0] in one[0]
        assert addresses(there, "web", **other)[0] in two[0]
        taken_down(there)
        fine(there("exec", "web", "--", "ping", "-c1", "-W5", str(two[0][1]), **other))
        fine(there("exec", "web", "--", "nslookup", "web.cloison", **other))
    finally:
        taken_down(there, **other)
    assert subprocess.run(["pgrep", "-f", f"dnsmasq.*{tmp_path}"], stdout=subprocess.DEVNULL).returncode == 1


@pytest.mark.parametrize(("program", "package"), [("nft", "nftables"), ("dnsmasq", "dnsmasq-base")])
def test_a_program_that_is_missing_is_named_with_its_package_and_the_way_without(
    there: There, namespace: Namespace, program: str, package: str
) -> None:
    missing = shutil.which(program)
    assert missing is not None
    said = f"'cloison0' takes the program '{program}'", f"apt-get install --no-install-recommends {package}"
    refused(there("launch", "busybox", "web", without=missing), 6, *said, "--network none", "[unsupported]")
    assert fine(there("ls", "-q")) == ""
    fine(there("launch", "busybox", "alone", "--network", "none", without=missing))

    fine(there("create", "busybox", "web"))  # and the program goes before it starts
    refused(there("start", "web", without=missing), 6, *said)
    assert namespace.names() == {"lo"}
    fine(there("start", "web"))


def test_a_nic_stays_when_the_last_that_was_said_of_it_is_taken_back(there: There) -> None:
    fine(there("launch", "busybox", "web", "--set", "nics.eth0.limits.ingress=100Mbit"))
    before = addresses(there, "web")
    fine(there("set", "web", "nics.eth0.limits.ingress="))
    assert fine(there("get", "web")) == "nics.eth0.type=bridged\n"
    assert addresses(there, "web") == before


def test_name_servers_of_what_runs_wait_for_its_next_start(there: There) -> None:
    fine(there("launch", "busybox", "web"))
    before = fine(there("exec", "web", "--", "cat", "/etc/resolv.conf"))
    fine(there("set", "web", "nics.eth0.dns=192.0.2.53"))
    refused(there("set", "--live", "web", "nics.eth0.dns=192.0.2.53"), 2, "nics.eth0.dns", "--next-start")
    fine(there("nic", "add", "web", "eth1", "dns=192.0.2.54"))
    assert addresses(there, "web", "eth1")
    fine(there("nic", "remove", "web", "eth1"))
    assert links(there, "web").keys() == {"lo", "eth0"}
    assert fine(there("exec", "web", "--", "cat", "/etc/resolv.conf")) == before
    fine(there("restart", "--force", "web"))
    assert "nameserver 192.0.2.53" in fine(there("exec", "web", "--", "cat", "/etc/resolv.conf"))


def test_a_name_ends_with_its_instance_though_its_lease_lasts(there: There) -> None:
    for name in ("web", "db"):
        fine(there("launch", "busybox", name))
    fine(there("exec", "web", "--", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-s", "/bin/true"))
    address = str(addresses(there, "web")[0])
    assert address in fine(there("exec", "db", "--", "nslookup", "web.cloison"))
    assert address in fine(there("exec", "db", "--", "nslookup", "web.leases.cloison"))  # or nothing is shown below
    fine(there("stop", "--force", "web"))
    assert eventually(lambda: there("exec", "db", "--", "nslookup", "web.cloison").returncode != 0, 5)
    assert address in fine(there("exec", "db", "--", "nslookup", "web.leases.cloison"))
    assert address not in there("exec", "db", "--", "nslookup", "web").stdout

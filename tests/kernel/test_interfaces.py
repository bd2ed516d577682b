"""The interfaces of a process, seen from outside, with ip(8) as the witness."""

import subprocess
from collections.abc import Iterator

import pytest

from cloison.runtime.interfaces import interfaces

pytestmark = [pytest.mark.needs_root]
MAC = "02:c1:05:00:00:07"


@pytest.fixture
def process() -> Iterator[int]:
    """One with a network of its own: a loopback, and one end of a pair with two addresses."""
    commands = (
        f"ip link add eth0 index 7 address {MAC} mtu 1400 type veth peer name beyond",
        "ip address add 192.0.2.2/24 dev eth0",
        "ip address add 2001:db8::2/64 dev eth0 nodad",
        "ip link set beyond up",
        "ip link set eth0 up",
        "echo > /dev/udp/192.0.2.9/9",  # whoever that is, it is asked for
        "echo ready",
        "exec cat",
    )
    words = ["unshare", "--net", "bash", "-ec", "; ".join(commands)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None and program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        yield program.pid
        program.stdin.close()


def test_all_but_the_loopback_are_seen_with_their_global_addresses(process: int) -> None:
    found = {each.name: each for each in interfaces(process)}
    eth0 = found["eth0"]
    assert set(found) == {"eth0", "beyond"}
    assert (eth0.index, eth0.mac, eth0.mtu, eth0.is_up) == (7, MAC, 1400, True)
    assert sorted(eth0.addresses) == ["192.0.2.2/24", "2001:db8::2/64"]
    assert found["beyond"].addresses == ()


def test_what_an_interface_has_counted_is_what_ip_says(process: int) -> None:
    enter = ["nsenter", f"--net=/proc/{process}/ns/net"]
    before = next(each for each in interfaces(process) if each.name == "beyond")
    lines = subprocess.run([*enter, "cat", "/proc/thread-self/net/dev"], capture_output=True, text=True, check=True)
    beyond = next(line.split() for line in lines.stdout.splitlines() if line.strip().startswith("beyond:"))
    assert 0 < before.received_bytes <= int(beyond[1])


def test_of_a_process_that_has_ended_there_is_none() -> None:
    with subprocess.Popen(["true"]) as program:
        program.wait()
    assert interfaces(program.pid) == ()

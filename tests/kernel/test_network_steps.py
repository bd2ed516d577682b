"""The steps that networks are made of, each alone in a plan, with ip(8), files and processes as witnesses."""

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import CloisonError
from cloison.kernel import netlink
from cloison.kernel.abi import OPEN_TREE_CLONE
from cloison.kernel.netlink import NETNS_LATER, Batch, Link
from cloison.plan.codec import encode
from cloison.plan.mount_steps import MoveMount, OpenTree, Umount
from cloison.plan.network_steps import (
    Netlink,
    NetlinkIn,
    NetlinkOn,
    RenameLink,
    Run,
    Terminate,
    UndoLater,
    WriteFile,
)
from cloison.plan.plan import Action, Plan
from cloison.plan.steps import MISSING, NO_SLOT, Create, Step, Unlink, Where
from cloison.runtime import host_steps
from tests.kernel.namespaces import Namespace, new_namespace
from tests.patience import patient

pytestmark = [pytest.mark.needs_root]

OBSTINATE = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
time.sleep(1000)
"""


def run(*steps: Step, inherited: tuple[int, ...] = ()) -> None:
    names = tuple(f"descriptor {number}" for number in inherited)
    host_steps.run(Plan("try", tuple(Action(step, Where.HOST) for step in steps), names), inherited)


def send(batch: Batch, *, ns: int = 0, fd: int = NO_SLOT, ignore: int = 0, patience_ms: int = 0) -> Netlink:
    return Netlink("try it", ns, fd, max(batch.netns_at, 0), batch.data, ignore, patience_ms)


@pytest.fixture
def here() -> Iterator[Namespace]:
    with new_namespace() as found:
        yield found


@pytest.fixture
def there() -> Iterator[Namespace]:
    with new_namespace() as found:
        yield found


def refused(*steps: Step, inherited: tuple[int, ...] = ()) -> CloisonError:
    with pytest.raises(CloisonError) as caught:
        run(*steps, inherited=inherited)
    return caught.value


# --- netlink ---------------------------------------------------------------------------------------------


def test_a_batch_is_carried_out_in_a_namespace(here: Namespace) -> None:
    batch = netlink.batch(
        netlink.add_bridge(Link(name="b0", index=7, is_up=True)),
        netlink.add_address(7, "10.1.2.3/24"),
        netlink.set_link("lo", is_up=True),
    )
    run(send(batch), inherited=(here.fd,))
    assert here.json("ip", "-json", "-4", "addr", "show", "dev", "b0")[0]["addr_info"][0]["local"] == "10.1.2.3"
    assert "UP" in here.link("lo")["flags"]


def test_a_descriptor_is_put_into_its_place(here: Namespace, there: Namespace) -> None:
    pair = netlink.add_veth(Link(name="v0", index=70), Link(name="eth0", index=2, netns=NETNS_LATER))
    run(send(netlink.batch(netlink.add_bridge(Link(name="b0")), pair), fd=1), inherited=(here.fd, there.fd))
    assert here.names() == {"lo", "b0", "v0"}
    assert there.link("eth0")["ifindex"] == 2


def test_the_launcher_is_back_where_it_was(here: Namespace) -> None:
    """A step without a namespace is of the launcher's own, though another one before it was not."""
    run(
        send(netlink.batch(netlink.add_bridge(Link(name="b0")))),
        send(netlink.batch(netlink.delete_link("b0")), ns=NO_SLOT, ignore=errno.ENODEV),
        inherited=(here.fd,),
    )
    assert "b0" in here.names()


def test_the_first_refused_message_is_told_by_its_number(here: Namespace) -> None:
    batch = netlink.batch(
        netlink.add_bridge(Link(name="b0")),
        netlink.add_bridge(Link(name="b0")),
        netlink.delete_link("nobody"),
        netlink.add_bridge(Link(name="b1")),
    )
    problem = refused(send(batch), inherited=(here.fd,))
    assert "try it: message 1: File exists" in str(problem)
    assert problem.facts["errno"] == "EEXIST"
    assert "b1" in here.names()  # the kernel has gone on: whoever undoes must know


def test_an_error_that_is_ignored_hides_no_other(here: Namespace) -> None:
    gone, taken = netlink.delete_link("nobody"), netlink.add_bridge(Link(name="lo"))
    run(send(netlink.batch(gone, gone), ignore=errno.ENODEV), inherited=(here.fd,))
    problem = refused(send(netlink.batch(gone, taken, gone), ignore=errno.ENODEV), inherited=(here.fd,))
    assert "message 1: File exists" in str(problem)


def test_an_interface_that_is_to_come_is_waited_for(here: Namespace) -> None:
    script = ["nsenter", f"--net=/proc/self/fd/{here.fd}", "sh", "-c", "sleep 0.3; ip link add late type bridge"]
    with subprocess.Popen(script, pass_fds=[here.fd]):
        run(send(netlink.batch(netlink.set_link("late", mtu=1400)), patience_ms=10_000), inherited=(here.fd,))
    assert here.link("late")["mtu"] == 1400


@pytest.mark.parametrize("ignore", [0, errno.ENODEV])
def test_patience_comes_to_an_end(here: Namespace, ignore: int) -> None:
    step = send(netlink.batch(netlink.set_link("never", mtu=1400)), patience_ms=50, ignore=ignore)
    if ignore:
        run(step, inherited=(here.fd,))
    else:
        assert refused(step, inherited=(here.fd,)).facts["errno"] == "ENODEV"


@pytest.mark.parametrize("length", [0, 15, 17, 1 << 20], ids=["none", "short", "uneven", "long"])
def test_bytes_that_are_no_messages_are_refused(here: Namespace, length: int) -> None:
    batch = netlink.batch(netlink.set_link("lo", is_up=True))
    damaged = Batch(struct.pack("=I", length) + batch.data[4:], 1)
    assert refused(send(damaged), inherited=(here.fd,)).facts["errno"] == "EINVAL"
    assert "UP" not in here.link("lo")["flags"]


@pytest.mark.parametrize("at", [-1, 1 << 40])
def test_a_place_outside_the_messages_is_refused(here: Namespace, at: int) -> None:
    batch = netlink.batch(netlink.set_link("lo", is_up=True))
    step = Netlink("try it", 0, 0, at, batch.data, 0, 0)
    assert refused(step, inherited=(here.fd,)).facts["errno"] == "EINVAL"


def test_what_is_deleted_may_be_missing(here: Namespace) -> None:
    route = netlink.Route(to="10.9.0.0/16", device=1)
    gone = netlink.batch(
        netlink.delete_link("nobody"),
        netlink.delete_proxy(1, "10.0.0.1"),
        netlink.delete_route(route),
        netlink.delete_address(1, "10.0.0.1/8"),
        netlink.delete_qdisc(1),
    )
    run(send(gone, ignore=MISSING), inherited=(here.fd,))
    taken = netlink.batch(netlink.add_bridge(Link(name="lo")))
    assert refused(send(taken, ignore=MISSING), inherited=(here.fd,)).facts["errno"] == "EEXIST"


# --- by a mounted namespace ------------------------------------------------------------------------------


@pytest.fixture
def held(here: Namespace, tmp_path: Path) -> Iterator[str]:
    """A file at which the namespace `here` is mounted."""
    path = f"{tmp_path}/net"
    run(OpenTree(1, 0, "", OPEN_TREE_CLONE), MoveMount(1, NO_SLOT, path, Create.FILE), inherited=(here.fd,))
    yield path
    run(Umount(path))
    assert not os.path.exists(path)


def test_a_batch_is_carried_out_in_a_mounted_namespace(here: Namespace, held: str) -> None:
    batch = netlink.batch(netlink.add_bridge(Link(name="b0")))
    run(NetlinkIn("try it", held, -1, batch.data, 0))
    assert "b0" in here.names()


def test_an_interface_is_fetched_from_a_mounted_namespace(here: Namespace, held: str) -> None:
    name = f"clt{os.getpid()}"
    here.run("ip", "link", "add", "x0", "index", "70", "type", "veth", "peer", "x1")
    batch = netlink.batch(netlink.set_link(70, name=name, netns=NETNS_LATER))
    run(NetlinkIn("try it", held, batch.netns_at, batch.data, 0))
    assert here.names() == {"lo", "x1"}
    subprocess.run(["ip", "link", "del", name], check=True)


@pytest.mark.parametrize("content", [None, ""], ids=["no file", "nothing mounted"])
def test_a_namespace_that_is_gone_needs_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "net").write_text(content)
    run(NetlinkIn("try it", f"{tmp_path}/net", -1, netlink.batch(netlink.delete_link("lo")).data, 0))
    run(Umount(f"{tmp_path}/net"), Umount(f"{tmp_path}/net"))
    assert not (tmp_path / "net").exists()


def test_a_refusal_there_is_told(held: str) -> None:
    batch = netlink.batch(netlink.delete_link("nobody"))
    assert refused(NetlinkIn("try it", held, -1, batch.data, 0)).facts["errno"] == "ENODEV"
    run(NetlinkIn("try it", held, -1, batch.data, MISSING))


# --- rename_link -----------------------------------------------------------------------------------------


def test_an_interface_is_renamed_by_another_name_of_it() -> None:
    first, alt, last = (f"{word}{os.getpid()}" for word in ("clf", "cla", "cll"))
    subprocess.run(["ip", "link", "add", first, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "property", "add", "dev", first, "altname", alt], check=True)
    try:
        run(RenameLink(alt, last, 0), RenameLink(alt, last, 0))
        subprocess.run(["ip", "link", "show", "dev", last], check=True, capture_output=True)
    finally:
        subprocess.run(["ip", "link", "del", alt], check=True)


def test_an_interface_that_does_not_come_back_is_no_error() -> None:
    began = time.monotonic()
    run(RenameLink("cl-nobody-0", "eth9", 50))
    assert time.monotonic() - began >= 0.049  # it counts whole milliseconds


# --- netlink_on ------------------------------------------------------------------------------------------


def test_messages_are_about_an_interface_by_any_of_its_names() -> None:
    first, alt = (f"{word}{os.getpid()}" for word in ("clf", "cla"))
    subprocess.run(["ip", "link", "add", first, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "property", "add", "dev", first, "altname", alt], check=True)
    messages = (
        netlink.set_link(1, mtu=1400, mac="02:00:00:00:00:77"),
        netlink.add_address(1, "10.0.0.1/24"),
        netlink.add_address(1, "10.0.0.1/24"),
        netlink.add_address(1, "2001:db8::1/64"),
    )
    blob = b"".join(netlink.batch(each).data for each in messages)
    try:
        facts = refused(NetlinkOn("try it", alt, blob, MISSING)).facts
        assert facts["errno"] == "EEXIST"  # the third, and the fourth was sent all the same
        done = subprocess.run(["ip", "-json", "address", "show", "dev", first], capture_output=True, check=True)
        (found,) = json.loads(done.stdout)
        assert (found["mtu"], found["address"]) == (1400, "02:00:00:00:00:77")
        assert {each["local"] for each in found["addr_info"]} == {"10.0.0.1", "2001:db8::1"}
        run(NetlinkOn("try it", alt, blob, errno.EEXIST))
    finally:
        subprocess.run(["ip", "link", "del", first], check=True)


def test_messages_about_nobody_are_not_sent() -> None:
    run(NetlinkOn("try it", "cl-nobody-0", netlink.batch(netlink.set_link(1, mtu=1400)).data, 0))
    damaged = NetlinkOn("try it", "lo", struct.pack("=I", 1 << 20) + bytes(20), 0)
    assert refused(damaged).facts["errno"] == "EINVAL"


# --- undo_later ------------------------------------------------------------------------------------------


def later(path: Path, *undo: Step) -> str:
    path.write_bytes(encode(Plan("later", (Action(UndoLater(str(path)), Where.HOST, undo=undo),))))
    return str(path)


def test_the_undo_steps_of_another_plan_are_run_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = later(tmp_path / "later", Unlink(f"{tmp_path}/file"), WriteFile(f"{tmp_path}/done", 0o600, b""))
    run(UndoLater(path), UndoLater(path))
    assert os.listdir(tmp_path) == ["done"]


def test_one_that_could_not_be_taken_back_stays_for_the_next_try(tmp_path: Path) -> None:
    path = later(tmp_path / "later", Unlink(str(tmp_path)), WriteFile(f"{tmp_path}/done", 0o600, b""))
    assert refused(UndoLater(path)).facts["errno"] == "EBUSY"
    assert sorted(os.listdir(tmp_path)) == ["done", "later"]


def test_one_that_names_itself_comes_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "later"
    assert refused(UndoLater(later(path, UndoLater(str(path))))).facts["errno"] == "EBUSY"


def test_what_is_no_plan_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "later").write_text("no plan")
    assert refused(UndoLater(f"{tmp_path}/later")).facts["errno"] == "EINVAL"
    assert (tmp_path / "later").exists()


# --- run -------------------------------------------------------------------------------------------------


def test_a_program_is_given_its_input_and_waited_for(tmp_path: Path) -> None:
    script = f'read line; sleep 0.1; echo "$line $1" >{tmp_path}/said'
    run(Run(("/bin/sh", "-c", script, "sh", "again"), "hello\nworld\n"))
    assert (tmp_path / "said").read_text() == "hello again\n"


def test_a_large_input_is_given_whole(tmp_path: Path) -> None:
    text = "0123456789abcdef" * 20_000
    run(Run(("/bin/sh", "-c", f"cat >{tmp_path}/said"), text))
    assert (tmp_path / "said").read_text() == text


def test_a_program_has_no_signal_blocked_and_nothing_open(tmp_path: Path) -> None:
    run(Run(("/bin/sh", "-c", f"cp /proc/self/status {tmp_path}/status; ls /proc/self/fd >{tmp_path}/fds"), ""))
    status = dict(line.split(":\t", 1) for line in (tmp_path / "status").read_text().splitlines() if ":\t" in line)
    assert {status[name].strip("0") for name in ("SigBlk", "SigIgn")} == {""}
    assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3"]  # the last is that of ls itself


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("/bin/sh", "-c", "exit 3"), "`/bin/sh -c exit 3` ended with exit code 3 and said nothing"),
        (("/bin/sh", "-c", "echo no such; echo '  thing\033'>&2; exit 3"), "ended with exit code 3: thing?"),
        (("/bin/sh", "-c", "seq 99999 >&2; exit 3"), "exit code 3: 1 2 3 4 5 "),
        (("/bin/sh", "-c", "kill -9 $$"), "ended by SIGKILL"),
        (("/nowhere/nft",), "cannot be run: No such file or directory"),
        (("/etc/passwd",), "cannot be run: Permission denied"),
        (("nft",), "Invalid argument"),
        ((), "Invalid argument"),
    ],
)
def test_a_program_that_fails_is_told_how(argv: tuple[str, ...], said: str) -> None:
    assert said in str(refused(Run(argv, "")))


# --- terminate -------------------------------------------------------------------------------------------


def alive(process: "subprocess.Popen[bytes]") -> bool:
    return process.poll() is None


@pytest.fixture
def daemon() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_a_daemon_is_ended_by_its_file(daemon: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{daemon.pid}\n")
    run(Terminate(str(tmp_path / "pid"), "1000"))
    assert daemon.wait(patient(5)) == -signal.SIGTERM


def test_a_process_of_another_kind_is_left_alone(daemon: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{daemon.pid}\n")
    run(Terminate(str(tmp_path / "pid"), "/run/cloison/dnsmasq.conf"))
    assert alive(daemon)


def test_a_daemon_that_does_not_hear_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OBSTINATE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        (tmp_path / "pid").write_text(str(process.pid))
        began = time.monotonic()
        run(Terminate(str(tmp_path / "pid"), "SIG_IGN"))
        assert time.monotonic() - began >= 1.9
        assert process.wait(patient(5)) == -signal.SIGKILL


@pytest.mark.parametrize("text", [None, "", "\n", "4194304\n"], ids=["no file", "empty", "a line", "nobody"])
def test_a_daemon_that_is_not_there_is_no_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "pid").write_text(text)
    run(Terminate(str(tmp_path / "pid"), ""))


def test_what_is_no_number_ends_nobody(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("-1\n")
    assert refused(Terminate(str(tmp_path / "pid"), "")).facts["errno"] == "EINVAL"


# --- write_file ------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    path, data = tmp_path / "hosts", os.urandom(100_000)
    path.write_text("before")
    before = path.stat().st_ino
    run(WriteFile(str(path), 0o640, data))
    assert (path.read_bytes(), path.stat().st_mode & 0o7777) == (data, 0o640)
    assert path.stat().st_ino != before  # who has the old one open reads it to its end
    assert os.listdir(tmp_path) == ["hosts"]


def test_a_half_written_one_of_before_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".hosts.new").write_text("half of it, and longer")
    (tmp_path / ".hosts.new").chmod(0o600)
    run(WriteFile(str(tmp_path / "hosts"), 0o644, b"all"))
    assert (tmp_path / "hosts").read_bytes() == b"all"
    assert (tmp_path / "hosts").stat().st_mode & 0o7777 == 0o644


def test_a_file_that_cannot_take_its_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    assert refused(WriteFile(str(tmp_path / "hosts"), 0o644, b"all")).facts["errno"] == "EISDIR"
    assert os.listdir(tmp_path) == ["hosts"]


def test_a_link_beside_it_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".hosts.new").symlink_to(tmp_path / "precious")
    assert refused(WriteFile(str(tmp_path / "hosts"), 0o644, b"all")).facts["errno"] == "ELOOP"
    assert not (tmp_path / "precious").exists()

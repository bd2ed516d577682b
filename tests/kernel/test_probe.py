"""The probe on the real kernel, with other programs as witnesses."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloison.kernel import inventory, probe
from cloison.kernel.probe import HostFacts

LINK_ARGUMENTS = {
    "veth": ("type", "veth"),
    "bridge": ("type", "bridge"),
    "dummy": ("type", "dummy"),
    "vxlan": ("type", "vxlan", "id", "7", "dstport", "4789"),
}


@pytest.fixture
def facts(tmp_path: Path) -> HostFacts:
    return probe.facts(str(tmp_path / "facts.json"), str(tmp_path))


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


def test_every_question_has_an_answer_where_namespaces_may_be_made(facts: HostFacts) -> None:
    unanswered = [name for name in facts.answers.__struct_fields__ if getattr(facts.answers, name) is None]
    needs_root = {"idmapped_overlay"} if facts.answers.idmapped_mounts else set()
    assert set(unanswered) == needs_root or facts.answers.user_namespace


def test_user_namespaces_are_as_unshare_finds_them(facts: HostFacts) -> None:
    assert (facts.answers.user_namespace == 0) == succeeds("unshare", "--user", "--map-root-user", "true")


def test_the_namespaces_are_those_of_proc(facts: HostFacts) -> None:
    assert all(Path("/proc/self/ns", name).exists() for name in facts.namespaces)
    assert {"mnt", "net", "pid", "user"} <= set(facts.namespaces)


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", sorted(LINK_ARGUMENTS))
def test_a_kind_of_interface_is_there_or_not_as_ip_finds_it(facts: HostFacts, kind: str) -> None:
    is_there = succeeds("unshare", "--net", "ip", "link", "add", "name", "x0", *LINK_ARGUMENTS[kind])
    assert (getattr(facts.answers, kind) == 0) == is_there


@pytest.mark.needs_root
def test_an_overlay_inside_a_user_namespace_is_as_mount_finds_it(facts: HostFacts) -> None:
    script = (
        "mount -t tmpfs none /mnt && cd /mnt && mkdir l u w m"
        " && mount -t overlay none m -o lowerdir=l,upperdir=u,workdir=w,userxattr && touch m/x"
    )
    is_there = succeeds("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script)
    assert (facts.answers.overlay_in_userns == 0) == is_there


def test_nothing_is_left_of_a_probe(tmp_path: Path) -> None:
    mounts, links = Path("/proc/self/mountinfo").read_text(), Path("/proc/self/net/dev").read_text()
    identity = (os.getresuid(), os.getcwd(), os.readlink("/proc/self/ns/user"), os.readlink("/proc/self/ns/mnt"))
    probe.facts(str(tmp_path / "facts.json"), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert [line.split(":")[0] for line in Path("/proc/self/net/dev").read_text().splitlines()] == [
        line.split(":")[0] for line in links.splitlines()
    ]
    assert identity == (
        os.getresuid(),
        os.getcwd(),
        os.readlink("/proc/self/ns/user"),
        os.readlink("/proc/self/ns/mnt"),
    )


@pytest.mark.needs_root
def test_ids_cannot_be_mapped_on_a_file_system_that_does_not_support_it() -> None:
    script = 'mount -t ramfs none /mnt && exec "$@" /mnt'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-I", "-S", probe._CHILD]
    answers = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert answers["idmapped_mounts"] == errno.EINVAL
    assert answers["overlay_in_userns"] == 0
    assert "idmapped_overlay" not in answers


@pytest.mark.needs_root
def test_user_namespaces_that_are_switched_off_are_found_missing(tmp_path: Path) -> None:
    # The ceiling is that of a new user namespace: the host's own stays as it is.
    script = 'mount -t proc none /proc && echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    namespaces = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
    child = [sys.executable, "-I", "-S", probe._CHILD, str(tmp_path)]
    result = subprocess.run([*namespaces, "sh", "-c", script, "sh", *child], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["user_namespace"] == errno.ENOSPC


def test_privileges_are_those_that_the_kernel_says_we_have() -> None:
    found = probe.privileges()
    status = Path("/proc/self/status").read_text()
    assert f"CapEff:\t{found.effective:016x}\n" in status
    assert f"CapBnd:\t{found.bounding:016x}\n" in status
    assert found.last == int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def test_the_type_of_a_file_system_is_as_stat_finds_it(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/shm"), Path("/proc")):
        witness = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", path], capture_output=True, text=True, check=True)
        assert inventory.space(str(path)).fstype == witness.stdout.split()[-1]

"""The host's own templates: LXC's, run as LXC runs them, and programs with the same arguments."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine
from cloison.base.errors import Host, Invalid
from tests.integration.conftest import ALONE, PROGRAM, installation
from tests.integration.test_recipes import said

LXC = Path("/usr/share/lxc/templates")
TINY = """#!/bin/sh
set -e
for word; do
    case $word in --rootfs=*) rootfs=${word#--rootfs=} ;; --path=*) path=${word#--path=} ;; esac
done
mkdir -p "$rootfs/bin" "$rootfs/etc"
cp "$(command -v busybox)" "$rootfs/bin/busybox"
ln -s busybox "$rootfs/bin/sh"
printf '%s\\n' "$@" >"$rootfs/etc/arguments"
grep -c . "$path/config" >"$rootfs/etc/lines"
echo "$$" >"$rootfs/etc/pid"
hostname changed-by-a-template
mkdir "$path/mounted" && mount -t tmpfs none "$path/mounted"
printf 'lxc.init.cmd = /bin/busybox sleep 1000\\nlxc.environment = A=b\\nlxc.hook.start = /x\\n' >>"$path/config"
setsid sleep 1000 &
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Engine]:
    with installation(tmp_path / "own") as engine:
        yield engine


def program(directory: Path, name: str, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.needs_root
def test_a_program_of_the_hosts_own_builds_images_by_its_name(own: Engine) -> None:
    program(Path(own.layout.templates), "tiny", TINY)
    before = (os.uname().nodename, Path("/proc/self/mountinfo").read_text())
    instance = own.create("tiny/3", "t", config=ALONE, options={"arguments": "--more 'a b'"})
    assert (os.uname().nodename, Path("/proc/self/mountinfo").read_text()) == before
    (image,) = own.images.images()
    assert image.names[0].startswith("tiny/3+")
    assert image.command == ("/bin/busybox", "sleep", "1000")
    assert "A=b" in image.env
    assert image.properties["warning"] == "not kept of the template's configuration: lxc.hook.start = /x"
    top = Path(image.layers[0])
    arguments = (top / "etc/arguments").read_text().splitlines()
    assert [word.partition("=")[0] for word in arguments] == [
        "--name",
        "--path",
        "--rootfs",
        "--release",
        "--more",
        "a b",
    ]
    assert (arguments[0], arguments[3]) == ("--name=tiny", "--release=3")
    assert (top / "etc/lines").read_text() == "1\n"
    assert int((top / "etc/pid").read_text()) < 20  # in a PID namespace of its own: nothing of it is left
    assert os.listdir(own.images.tmp_dir) == []
    instance.start()
    assert said(instance, "/bin/busybox cat /etc/pid; echo $A").endswith("b\n")


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("#!/bin/sh\necho E: something is wrong >&2; exit 4\n", r"broken failed \(4\): E: something is wrong"),
        ("#!/bin/sh\nexit 0\n", "has left the root file system empty"),
    ],
)
def test_a_program_that_fails_is_named_and_leaves_nothing(own: Engine, text: str, why: str, tmp_path: Path) -> None:
    path = program(tmp_path, "broken", text)
    with pytest.raises(Host, match=why):
        own.build("x", template=str(path))
    assert own.images.images() == ()
    assert os.listdir(own.images.tmp_dir) == []


@pytest.mark.needs_root
def test_templates_of_cloisons_own_take_no_arguments(own: Engine) -> None:
    with pytest.raises(Invalid, match="'busybox' has no option 'arguments'"):
        own.build("busybox", options={"arguments": "-x"})


@pytest.mark.needs_root
@pytest.mark.needs_cgroup
def test_the_busybox_template_of_lxc_makes_a_system_that_boots(own: Engine) -> None:
    words = [str(PROGRAM), "image", "build", "lxc/busybox", "--template", f"{LXC}/lxc-busybox"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("lxc/busybox\n", 0), done.stderr
    assert "not kept of the template's configuration: lxc.mount.entry = /lib" in done.stderr
    image = own.images.find("lxc/busybox")
    assert (image.stop_signal, image.command, image.is_system) == ("SIGUSR1", ("/sbin/init",), True)
    instance = own.launch("lxc/busybox", "b", config=ALONE)
    assert said(instance, "cat /proc/1/comm") == "init\n"
    instance.stop(timeout_s=20)


@pytest.mark.needs_root
@pytest.mark.debian
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_debian_template_of_lxc_makes_a_system_that_boots(
    own: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LXC_CACHE_PATH", str(tmp_path / "cache"))
    options = {"arguments": "--release=bookworm"}
    image = own.build("lxc/debian", template=f"{LXC}/lxc-debian", options=options)
    assert (image.os, image.release, image.architecture) == ("debian", "12", "amd64")
    assert stat.S_ISREG(Path(image.layers[0], "etc/debian_version").stat().st_mode)
    instance = own.launch("lxc/debian", "d", config=ALONE)
    assert said(instance, "cat /proc/1/comm") == "systemd\n"

"""Images built by the real tools, and what is left when they are interrupted."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import Busy, NoSpace
from cloison.images import Image, ImageStore, obtain
from cloison.kernel import process
from cloison.storage.trees import clean, remove

BUILDER = """
import sys
from cloison.images import ImageStore, obtain
def progress(stage, done, total):
    print(stage, flush=True)
print("image", obtain(ImageStore(sys.argv[1]), sys.argv[2], progress=progress).digest, flush=True)
"""

pytestmark = pytest.mark.needs_root


def until(fact: object, patience_s: float = 10.0) -> None:
    """Wait until `fact()`; fails when that takes too long."""
    assert callable(fact)
    deadline = time.monotonic() + patience_s
    while not fact():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def processes_with(text: str) -> list[int]:
    """The processes with `text` in their command line or environment, other than this one."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and int(name) != os.getpid():
                content = Path("/proc", name, "cmdline").read_bytes() + Path("/proc", name, "environ").read_bytes()
                found += [int(name)] if text.encode() in content else []
    return found


@contextlib.contextmanager
def mounted(*words: str, at: Path) -> Iterator[None]:
    subprocess.run(["mount", *words, f"{at}"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", f"{at}"], check=True)


# --- busybox


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return obtain(ImageStore(f"{tmp_path_factory.mktemp('busybox')}/images"), "busybox")


def test_busybox_runs_with_nothing_of_this_host(busybox: Image) -> None:
    (layer,) = busybox.layers
    said = subprocess.run(["chroot", layer, "/bin/sh", "-c", "cat /etc/shells; id -un"], capture_output=True, text=True)
    assert said.stdout == "/bin/sh\n/bin/ash\nroot\n", said.stderr
    assert busybox.is_system and busybox.release and busybox.size_bytes < 8 << 20


def test_every_command_of_busybox_is_there(busybox: Image) -> None:
    (layer,) = busybox.layers
    links = [path for path in Path(layer).rglob("*") if path.is_symlink()]
    assert len(links) > 100
    assert {os.readlink(path) for path in links} == {"/bin/busybox"}


def test_its_shell_understands_its_scripts(busybox: Image) -> None:
    (layer,) = busybox.layers
    for script in ("/etc/init.d/rcS", "/etc/init.d/rcK", "/etc/init.d/console", "/etc/udhcpc/default.script"):
        assert os.access(f"{layer}{script}", os.X_OK)
        assert subprocess.run(["chroot", layer, "/bin/sh", "-n", script], capture_output=True).stderr == b""


def test_all_of_it_is_roots_and_its_shadow_is_private(busybox: Image) -> None:
    (layer,) = busybox.layers
    found = [path.lstat() for path in Path(layer).rglob("*")]
    assert {(stat.st_uid, stat.st_gid, stat.st_mtime) for stat in found} == {(0, 0, 0)}
    assert Path(layer, "etc/shadow").stat().st_mode & 0o777 == 0o640
    assert os.access(f"{layer}/etc/init.d/rcS", os.X_OK)


def test_the_same_busybox_is_the_same_image_anywhere(busybox: Image, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        again = obtain(ImageStore(f"{tmp_path}/images"), "busybox")
    finally:
        os.umask(before)
    assert again.digest == busybox.digest


def test_a_full_disk_is_named_and_keeps_nothing(tmp_path: Path) -> None:
    store = ImageStore(f"{tmp_path}/images")
    with mounted("-t", "tmpfs", "-o", "size=1m", "none", at=tmp_path):
        with pytest.raises(NoSpace, match=store.root):
            obtain(store, "busybox")
        assert store.images() == ()
        assert os.listdir(store.tmp_dir) == os.listdir(store.layers_dir) == os.listdir(store.blobs_dir) == []


# --- the programs that build


def test_a_confined_program_leaves_no_process_and_no_mount(tmp_path: Path) -> None:
    script = f"mount -t tmpfs none {tmp_path}; setsid sleep 1001 & echo $$; echo ready; exec sleep 1002"
    with process.started(
        ["sh", "-c", script], env={"PATH": os.environ["PATH"], "M": f"{tmp_path}"}, is_confined=True
    ) as it:
        lines = it.lines()
        assert next(lines) == "1"
        assert next(lines) == "ready"
        assert len(processes_with(f"M={tmp_path}")) >= 2
        assert f"{tmp_path}" not in Path("/proc/self/mountinfo").read_text()
    assert processes_with(f"M={tmp_path}") == []


def test_a_confined_program_dies_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from cloison.kernel import process\n"
        "with process.started(['sh', '-c', 'sleep 1003 & echo; sleep 1004'], is_confined=True) as it:\n"
        "    print(next(it.lines()), flush=True)\n"
        "    it.wait()\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "M": f"{tmp_path}"}
    )
    with caller:
        assert caller.stdout is not None
        assert caller.stdout.readline()
        assert len(processes_with(f"M={tmp_path}")) >= 4
        caller.kill()
    until(lambda: not processes_with(f"M={tmp_path}"))


def test_a_program_that_ignores_sigterm_is_killed() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    with process.started(["sh", "-c", script], grace_s=0.1) as it:
        assert next(it.lines()) == "ready"
    assert it.popen.returncode == -signal.SIGKILL


# --- debian


@pytest.mark.debian
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_debian_survives_a_kill_and_two_builders_make_one_image(tmp_path: Path) -> None:
    store = ImageStore(f"{tmp_path}/images")
    killed_in_the_middle(store)
    builders = [builder(store), builder(store)]
    outputs = ["", ""]
    threads = [
        threading.Thread(target=lambda i=i: outputs.__setitem__(i, builders[i].communicate()[0])) for i in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    image = store.find("debian/12")
    assert [output.splitlines()[-1] for output in outputs] == [f"image {image.digest}"] * 2
    assert sorted(output.splitlines()[0] == "wait" for output in outputs) == [False, True]
    assert os.listdir(store.tmp_dir) == [] and store.clean() == ()
    assert_is_debian(Path(image.layers[0]))


def builder(store: ImageStore) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", BUILDER, store.root, "debian/12"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def killed_in_the_middle(store: ImageStore) -> None:
    with builder(store) as victim:
        assert victim.stdout is not None
        assert any(line == "base install\n" for line in victim.stdout)
        assert processes_with(store.root)
        victim.kill()
    until(lambda: not processes_with(store.root))
    assert store.images() == ()
    assert len(os.listdir(store.tmp_dir)) == 1
    assert store.root not in Path("/proc/self/mountinfo").read_text()


def assert_is_debian(layer: Path) -> None:
    """It is whole, boots systemd, and has nothing of this host."""
    audit = subprocess.run(["chroot", layer, "dpkg", "--audit"], capture_output=True, text=True)
    assert (audit.returncode, audit.stdout) == (0, "")
    assert (layer / "etc/debian_version").read_text().startswith("12")
    assert os.readlink(layer / "sbin/init").endswith("lib/systemd/systemd")
    assert (layer / "etc/machine-id").read_bytes() == b""
    assert not os.path.lexists(layer / "etc/hostname")
    assert (layer / "etc/resolv.conf").is_symlink()
    for empty in ("dev", "run", "tmp", "var/tmp", "var/lib/apt/lists", "home"):
        assert [path for path in (layer / empty).rglob("*") if not path.is_dir() and path.name != "lock"] == []
    assert not list(layer.glob("etc/ssh/ssh_host_*")) and not list(layer.glob("var/cache/apt/archives/*.deb"))
    assert "99mmdebstrap" not in os.listdir(layer / "etc/apt/apt.conf.d")


# --- storage


def test_a_mount_below_an_instance_is_neither_entered_nor_deleted(tmp_path: Path) -> None:
    instance = f"{tmp_path}/instances/web"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (tmp_path / "instances/web/upper/a/data").mkdir(parents=True)
    # Bound from the same filesystem, so that no device number tells it apart; it moves along with the directory.
    subprocess.run(["mount", "--bind", f"{precious}", f"{instance}/upper/a/data"], check=True)
    try:
        with pytest.raises(Busy, match="something is still mounted"):
            remove(instance)
        assert clean(f"{tmp_path}/instances") == ()
        assert (precious / "file").read_text() == "kept"
    finally:
        where = [
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{tmp_path}" in line
        ]
        for path in where:
            subprocess.run(["umount", path], check=True)
    assert len(clean(f"{tmp_path}/instances")) == 1
    assert (precious / "file").read_text() == "kept"

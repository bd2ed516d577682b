"""Mounts of an instance besides its own: from its start, and plugged in and out while it runs.

The witnesses are commands inside, stat(2) on the host, mountinfo, and nsenter(1).
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloison import Busy, CloisonError, Conflict, Engine, Exists, Instance, Invalid, NotFound, Unsupported
from tests.integration import traces
from tests.integration.conftest import ALONE, PROGRAM, QUICK, Cli, Launch, entered, eventually, refused
from tests.patience import patient

Mounted = Callable[..., Instance]


def sh(instance: Instance, script: str) -> str:
    done = instance.exec(["sh", "-c", script])
    assert done.code == 0, done
    return done.stdout.decode().strip()


def failed(instance: Instance, script: str) -> str:
    """What it says that fails inside."""
    done = instance.exec(["sh", "-c", script])
    assert done.code != 0, done
    return done.stderr.decode()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory of the host with a file of root's and one of user 1000's."""
    path = tmp_path / "shared"
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    for name, owner in (("root", 0), ("ana", 1000)):
        (path / name).write_text(name)
        os.chown(path / name, owner, owner)
    return path


@pytest.fixture(params=["from the start", "plugged in"])
def mounted(request: pytest.FixtureRequest, engine: Engine) -> Mounted:
    """`mounted("source=/x", "target=/srv")`: an instance with that mount."""

    def made(*settings: str, config: tuple[str, ...] = ()) -> Instance:
        words = [f"mounts.m.{setting}" for setting in settings]
        if request.param == "from the start":
            return engine.launch("busybox", "box", config=[*QUICK, *config, *words])
        box = engine.launch("busybox", "box", config=[*QUICK, *config])
        change = box.set(*words)
        assert not change.at_next_start
        return box

    return made


def mounts_of(instance: Instance, target: str) -> list[str]:
    """The lines of its mountinfo for a target."""
    lines = Path(f"/proc/{instance.observe().pid}/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4] == target]


# --- owners --------------------------------------------------------------------------------------------------


def test_files_of_the_host_are_of_nobody_unless_they_are_mapped(mounted: Mounted, shared: Path) -> None:
    box = mounted(f"source={shared}", "target=/srv/shared")
    assert sh(box, "cd /srv/shared; stat -c '%u' root ana") == "65534\n65534"


def test_with_idmap_ids_on_disk_are_those_inside(mounted: Mounted, shared: Path) -> None:
    box = mounted(f"source={shared}", "target=/srv", "idmap=true")
    assert sh(box, "cd /srv; stat -c %u root ana; echo x > new; chown 33:34 new; rm ana") == "0\n1000"
    assert ((shared / "new").stat().st_uid, (shared / "new").stat().st_gid) == (33, 34)
    assert not (shared / "ana").exists()


def test_one_user_of_the_host_can_be_root_inside(mounted: Mounted, shared: Path) -> None:
    os.chown(shared, 1000, 1000)
    shared.chmod(0o755)
    box = mounted(f"source={shared}", "target=/srv", "idmap=1000:1000")
    assert sh(box, "cd /srv; stat -c %u . ana root; echo x > new") == "0\n0\n65534"
    assert (shared / "new").stat().st_uid == 1000
    assert failed(box, "echo x > /srv/root")  # real root's own stays its own
    assert (shared / "root").read_text() == "root"


def test_one_user_of_the_host_can_be_another_inside(mounted: Mounted, shared: Path) -> None:
    os.chown(shared, 1000, 1000)
    box = mounted(f"source={shared}", "target=/srv", "idmap=1000:1000@33:34")
    assert sh(box, "stat -c '%u %g' /srv/ana") == "33 34"
    done = box.exec(["sh", "-c", "echo x > /srv/new"], user="33:34")
    assert done.code == 0, done
    assert ((shared / "new").stat().st_uid, (shared / "new").stat().st_gid) == (1000, 1000)


def test_a_privileged_instance_sees_the_ids_of_the_host(mounted: Mounted, shared: Path) -> None:
    box = mounted(f"source={shared}", "target=/srv", "idmap=true", config=("security.privileged=true",))
    assert sh(box, "cd /srv; stat -c %u root ana") == "0\n1000"


def test_what_cannot_be_mapped_says_which_file_system_and_what_to_do(cli: Cli, quick: Instance) -> None:
    """No kernel maps the ids of proc."""
    done = cli("mount", "add", "quick", "p", "source=/proc", "target=/srv", "idmap=true")
    refused(done, 6, "/proc", "proc", "idmap=false")
    assert quick.config.mounts == {}
    assert mounts_of(quick, "/srv") == []


# --- read-only -----------------------------------------------------------------------------------------------


def test_read_only_is_that_for_root_inside_whatever_he_mounts(mounted: Mounted, shared: Path) -> None:
    box = mounted(f"source={shared}", "target=/srv", "idmap=true", "ro=true")
    assert "Read-only" in failed(box, "echo x > /srv/new")
    failed(box, "mount -o remount,bind,rw /srv")
    failed(box, "mkdir -p /mnt/again; mount --bind /srv /mnt/again && mount -o remount,bind,rw /mnt/again")
    failed(box, "echo x > /srv/new")
    assert failed(box, "unshare -Urm sh -c 'mount -o remount,bind,rw /srv && echo x > /srv/new'")
    assert sorted(os.listdir(shared)) == ["ana", "root"]


def test_device_nodes_in_a_directory_of_the_host_are_none_inside(mounted: Mounted, shared: Path) -> None:
    os.mknod(shared / "zero", 0o666 | 0o020000, os.makedev(1, 5))
    box = mounted(f"source={shared}", "target=/srv", "idmap=true")
    assert failed(box, "head -c1 /srv/zero")
    failed(box, "mount -o remount,bind,dev /srv && head -c1 /srv/zero")


# --- what comes along ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_recursive", [False, True])
def test_what_is_mounted_in_it_comes_along_where_that_is_said(
    mounted: Mounted, shared: Path, *, is_recursive: bool
) -> None:
    (shared / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", shared / "sub"], check=True)
    try:
        (shared / "sub" / "deep").write_text("")
        box = mounted(f"source={shared}", "target=/srv", f"recursive={str(is_recursive).lower()}")
        assert sh(box, "ls /srv/sub") == ("deep" if is_recursive else "")
        if is_recursive:
            assert failed(box, "umount /srv/sub")  # nobody inside can look below it
    finally:
        eventually(lambda: subprocess.run(["umount", shared / "sub"], stderr=subprocess.DEVNULL).returncode == 0)


@pytest.mark.parametrize("propagation", ["private", "slave"])
def test_later_mounts_of_the_host_come_along_with_slave(mounted: Mounted, shared: Path, propagation: str) -> None:
    (shared / "later").mkdir()
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True)
        box = mounted(f"source={shared}", "target=/srv", "recursive=true", f"propagation={propagation}")
        subprocess.run(["mount", "-t", "tmpfs", "none", shared / "later"], check=True)
        (shared / "later" / "f").write_text("")
        assert sh(box, "ls /srv/later") == ("f" if propagation == "slave" else "")
        sh(box, "mkdir -p /srv/own; mount -t tmpfs none /srv/own")
        assert f"{shared}/own" not in Path("/proc/self/mountinfo").read_text()  # nothing comes back
        subprocess.run(["umount", shared / "later"], check=True)
    finally:
        subprocess.run(["umount", "-l", shared], check=True)


def test_a_single_file_can_be_mounted(mounted: Mounted, shared: Path) -> None:
    box = mounted(f"source={shared}/root", "target=/etc/app/conf", "idmap=true", "ro=true")
    assert sh(box, "cat /etc/app/conf; stat -c ' %F' /etc/app/conf") == "root regular file"
    assert failed(box, "echo x > /etc/app/conf")


def test_a_missing_directory_of_the_host_is_made_where_that_is_said(mounted: Mounted, tmp_path: Path) -> None:
    box = mounted(f"source={tmp_path}/new/dir", "target=/srv", "create=true", "idmap=1000:1000")
    found = (tmp_path / "new" / "dir").stat()
    assert (found.st_uid, found.st_gid) == (1000, 1000)
    sh(box, "touch /srv/x")
    assert (tmp_path / "new" / "dir" / "x").stat().st_uid == 1000


def test_a_tmpfs_holds_what_it_may(mounted: Mounted) -> None:
    box = mounted("type=tmpfs", "target=/scratch", "size=1M")
    failed(box, "head -c 2000000 /dev/zero > /scratch/x")
    assert sh(box, "stat -c %s /scratch/x") == str(1 << 20)
    assert "tmpfs" in entered(box, "df", "/scratch")


def test_mounts_in_each_other_are_mounted_in_their_order(engine: Engine, shared: Path) -> None:
    words = ["mounts.a.target=/data/in/side", "mounts.b.target=/data", "mounts.a.type=tmpfs", "mounts.b.type=tmpfs"]
    box = engine.launch("busybox", "box", config=[*QUICK, *words])
    assert len(mounts_of(box, "/data/in/side")) == 1
    sh(box, "echo x > /data/in/side/f")
    box.set(*[f"mounts.{name}.{key}=" for name in "ab" for key in ("type", "target")])
    assert mounts_of(box, "/data") == mounts_of(box, "/data/in/side") == []


# --- in and out ----------------------------------------------------------------------------------------------


def test_a_mount_comes_and_goes_while_it_runs(cli: Cli, quick: Instance, shared: Path) -> None:
    assert cli("mount", "add", "quick", "m", f"source={shared}", "target=/srv/deep/er").returncode == 0
    assert entered(quick, "cat", "/srv/deep/er/root") == "root"
    assert "/srv/deep/er" in cli("mount", "ls", "quick").stdout
    assert cli("mount", "remove", "quick", "m").returncode == 0
    assert mounts_of(quick, "/srv/deep/er") == []
    assert sorted(os.listdir(shared)) == ["ana", "root"]
    quick.restart(force=True)
    assert mounts_of(quick, "/srv/deep/er") == []


def test_what_is_plugged_in_for_the_time_being_is_gone_after_a_restart(quick: Instance, shared: Path) -> None:
    quick.mounts.add("m", f"source={shared}", "target=/srv", scope="live")
    assert len(mounts_of(quick, "/srv")) == 1
    assert [(each.stored, each.in_force) for each in quick.mounts.list()] == [(False, True)]
    quick.restart(force=True)
    assert mounts_of(quick, "/srv") == []
    assert quick.mounts.list() == ()


def test_a_directory_over_a_file_is_refused_with_what_to_do(cli: Cli, quick: Instance, shared: Path) -> None:
    (shared / "file").write_text("x")
    for source, target in ((shared, "/etc/hosts"), (shared / "file", "/tmp")):
        words = ("mount", "add", "quick", "m", f"source={source}", f"target={target}")
        refused(cli(*words), 2, f"mount {target}", "choose another target")
    assert quick.mounts.list() == ()


def test_what_is_stored_for_the_next_start_is_there_then(quick: Instance, shared: Path) -> None:
    quick.mounts.add("m", f"source={shared}", "target=/srv", scope="next-start")
    assert mounts_of(quick, "/srv") == []
    quick.restart(force=True)
    assert len(mounts_of(quick, "/srv")) == 1


def test_a_mount_in_use_is_not_taken_away_without_force(cli: Cli, quick: Instance, shared: Path) -> None:
    quick.mounts.add("m", f"source={shared}", "target=/srv")
    null = os.open("/dev/null", os.O_RDWR)
    with quick.spawn(["sh", "-c", "cd /srv; exec sleep 1000"], stdio=(null, null, null)) as user:
        assert eventually(lambda: "/srv" in sh(quick, "ls -l /proc/[0-9]*/cwd"))
        refused(cli("mount", "remove", "quick", "m"), 4, "used by sleep", "--force")
        assert len(mounts_of(quick, "/srv")) == 1
        assert quick.config.mounts
        assert cli("mount", "remove", "--force", "quick", "m").returncode == 0
        assert mounts_of(quick, "/srv") == []
        user.signal(9)
    os.close(null)


def test_a_mount_that_a_guest_has_taken_away_can_be_removed(quick: Instance, shared: Path) -> None:
    quick.mounts.add("m", f"source={shared}", "target=/srv")
    sh(quick, "umount /srv")
    quick.mounts.remove("m")
    assert quick.mounts.list() == ()


def test_a_mount_that_a_guest_has_covered_is_not_taken_for_ours(quick: Instance, shared: Path) -> None:
    quick.mounts.add("m", f"source={shared}", "target=/srv")
    sh(quick, "mount -t tmpfs none /srv")
    with pytest.raises(Conflict, match="over it"):
        quick.mounts.remove("m")
    sh(quick, "umount /srv")
    quick.mounts.remove("m")


def test_a_directory_that_the_host_has_deleted_meanwhile_can_be_removed(quick: Instance, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    quick.mounts.add("m", f"source={tmp_path}/gone", "target=/srv")
    (tmp_path / "gone").rmdir()
    quick.mounts.remove("m")
    assert mounts_of(quick, "/srv") == []


def test_a_change_of_two_mounts_is_made_whole_or_not_at_all(quick: Instance, shared: Path) -> None:
    quick.mounts.add("a", f"source={shared}", "target=/srv")
    with pytest.raises(Unsupported):
        quick.set("mounts.a.target=/opt/a", "mounts.b.source=/proc", "mounts.b.target=/opt/b", "mounts.b.idmap=true")
    assert len(mounts_of(quick, "/srv")) == 1
    assert mounts_of(quick, "/opt/a") == mounts_of(quick, "/opt/b") == []
    assert sorted(quick.config.mounts) == ["a"]


def test_a_target_that_is_a_link_stays_inside(quick: Instance, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    sh(quick, f"mkdir -p /real; ln -s /real /linked; ln -s {tmp_path}/victim /escape")
    quick.mounts.add("a", f"source={shared}", "target=/linked")
    assert len(mounts_of(quick, "/real")) == 1
    quick.mounts.remove("a")
    assert mounts_of(quick, "/real") == []
    quick.mounts.add("b", f"source={shared}", "target=/escape/in")
    assert f"{tmp_path}/victim" not in Path("/proc/self/mountinfo").read_text()
    assert os.listdir(tmp_path / "victim") == []


def test_what_is_left_of_a_killed_command_is_in_nobodys_way(root: Path, quick: Instance, shared: Path) -> None:
    """It is killed at different moments; afterwards the mount is there or not, and the same command works."""
    words = [str(PROGRAM), "mount", "add", "quick", "m", f"source={shared}", "target=/srv", "idmap=true"]
    environment = {**os.environ, "CLOISON_ROOT": str(root)}
    for delay_ms in range(60, 260, 20):
        with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as command:
            time.sleep(delay_ms / 1000)
            command.send_signal(signal.SIGKILL)
        quick.reload()
        if "m" not in quick.config.mounts:
            quick.mounts.add("m", f"source={shared}", "target=/srv", "idmap=true")
        assert len(mounts_of(quick, "/srv")) == 1
        quick.mounts.remove("m")
        assert mounts_of(quick, "/srv") == []


# --- bad input -----------------------------------------------------------------------------------------------


def test_mounts_that_cannot_be_are_refused_by_name(cli: Cli, stopped: Instance, shared: Path) -> None:
    def add(*settings: str) -> subprocess.CompletedProcess[str]:
        return cli("mount", "add", "quick", "m", *settings)

    refused(add("source=/nowhere/at/all", "target=/srv"), 3, "/nowhere/at/all", "create")
    refused(add("source=nothing", "target=/srv"), 3, "volume 'nothing'", "volume create")
    refused(add("source=other/nothing", "target=/srv"), 3, "other")
    refused(add(f"source={shared}"), 2, "target")
    refused(add("target=/srv"), 2, "source")
    refused(add(f"source={shared}", "target=srv"), 2, "absolute")
    refused(add(f"source={shared}", "target=/a/../b"), 2, "..")
    for taken in ("/", "/proc", "/sys/fs/cgroup", "/dev"):
        refused(add(f"source={shared}", f"target={taken}"), 2, "mounted already")
    refused(add(f"source={shared}", "target=/srv", "idmap=1000"), 2, "UID:GID")
    refused(add(f"source={shared}", "target=/srv", "idmap=0:0@65536:0"), 2, "65535")
    refused(add(f"source={shared}", "target=/srv", "propagation=shared"), 2, "slave")
    refused(add(f"source={shared}", "target=/srv", "size=1M"), 2, "tmpfs")
    refused(add("type=tmpfs", "target=/srv", f"source={shared}"), 2, "tmpfs")
    refused(add(f"source={shared}", "target=/srv", "colour=red"), 2, "no such key")
    (shared.parent / "link").symlink_to(shared)
    refused(add(f"source={shared.parent}/link", "target=/srv"), 2, "link", str(shared))
    refused(add(f"source={Path(stopped.directory).parent.parent}", "target=/srv"), 5, "cloison's own")
    refused(cli("mount", "remove", "quick", "m"), 3, "no such mount")
    refused(cli("mount", "set", "quick", "m", "ro=true"), 3, "no such mount")
    stopped.reload()
    assert stopped.config.mounts == {}


def test_two_mounts_cannot_have_one_name_or_target(stopped: Instance, shared: Path) -> None:
    stopped.mounts.add("m", f"source={shared}", "target=/srv")
    with pytest.raises(Exists, match=r"mounts\.m"):
        stopped.mounts.add("m", f"source={shared}", "target=/opt")
    with pytest.raises(Invalid, match=r"mounts\.m is there already"):
        stopped.mounts.add("n", f"source={shared}", "target=/srv/")


def test_a_source_that_is_gone_at_the_start_is_an_error_that_names_it(stopped: Instance, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    stopped.mounts.add("m", f"source={tmp_path}/gone", "target=/srv")
    (tmp_path / "gone").rmdir()
    with pytest.raises(NotFound, match="gone"):
        stopped.start()
    (tmp_path / "gone").symlink_to("/etc")
    with pytest.raises(Invalid, match="link"):
        stopped.start()


def test_what_is_mounted_already_inside_is_not_covered(quick: Instance, shared: Path) -> None:
    sh(quick, "mount -t tmpfs none /mnt; echo theirs > /mnt/f")
    with pytest.raises(Conflict, match="tmpfs is mounted there"):
        quick.mounts.add("m", f"source={shared}", "target=/mnt")
    assert sh(quick, "cat /mnt/f") == "theirs"


def test_a_mount_is_gone_from_the_host_when_its_instance_is(launch: Launch, tmp_path: Path) -> None:
    """Nothing holds the file system of a source any more: it can be unmounted."""
    point = tmp_path / "point"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
    try:
        box = launch(*QUICK, f"mounts.m.source={point}", "mounts.m.target=/srv", name="box")
        box.mounts.add("n", f"source={point}", "target=/opt/n", "ro=true")
        box.stop(force=True)
    finally:
        assert eventually(
            lambda: subprocess.run(["umount", point], stderr=subprocess.DEVNULL).returncode == 0, patient(10)
        )


def test_a_file_system_can_be_unmounted_on_the_host_while_what_had_it_runs_on(quick: Instance, tmp_path: Path) -> None:
    point = tmp_path / "point"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
    quick.mounts.add("m", f"source={point}", "target=/srv")
    quick.mounts.remove("m")
    assert eventually(lambda: subprocess.run(["umount", point], stderr=subprocess.DEVNULL).returncode == 0)


def test_alone_is_enough(engine: Engine, shared: Path) -> None:
    """With BusyBox's own init, too."""
    box = engine.launch("busybox", "box", config=[*ALONE, f"mounts.m.source={shared}", "mounts.m.target=/srv"])
    assert len(mounts_of(box, "/srv")) == 1
    with pytest.raises((Busy, Conflict, Invalid)):
        box.set("mounts.m.target=/proc/x")


# --- faults --------------------------------------------------------------------------------------------------

OURS = ("take hold of", "map the ids", "what is said of", "mount /srv", "mount /scratch", "enter the instance")


@pytest.mark.parametrize("hook", ["CLOISON_KILL_BEFORE", "CLOISON_KILL_AFTER"])
def test_a_start_killed_at_a_step_of_a_mount_leaves_nothing(
    engine: Engine, root: Path, shared: Path, launcher_test: Path, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    monkeypatch.setenv("CLOISON_LAUNCHER", str(launcher_test))
    words = (f"mounts.m.source={shared}", "mounts.m.target=/srv", "mounts.m.idmap=1000:1000", "mounts.m.ro=true")
    box = engine.create("busybox", "box", config=[*QUICK, *words, "mounts.t.type=tmpfs", "mounts.t.target=/scratch"])
    steps = [number for number, each in enumerate(box.explain().actions) if each.why.startswith(OURS)]
    assert len(steps) >= 7
    for step in steps:
        with monkeypatch.context() as patch:
            patch.setenv(hook, str(step))
            with pytest.raises(CloisonError):
                box.start()
        engine.repair()
        assert box.state == "stopped"
        assert eventually(lambda: not traces.left(root, [box.id], [box.record.id_base])), step
        assert str(shared) not in Path("/proc/self/mountinfo").read_text()
    box.start()
    assert sh(box, "cat /srv/ana") == "ana"


def test_a_mount_killed_at_any_step_is_there_or_not(
    quick: Instance, shared: Path, launcher_test: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOISON_LAUNCHER", str(launcher_test))
    words = (f"source={shared}", "target=/srv", "idmap=true", "ro=true")
    killed, step = 0, 0
    while step < 30:
        with monkeypatch.context() as patch:
            patch.setenv("CLOISON_KILL_AFTER", str(step))
            try:
                quick.mounts.add("m", *words)
            except CloisonError:
                killed += 1
        quick.reload()
        if "m" in quick.config.mounts:
            break
        quick.mounts.add("m", *words)
        assert len(mounts_of(quick, "/srv")) == 1
        quick.mounts.remove("m")
        assert mounts_of(quick, "/srv") == []
        step += 1
    assert killed >= 10

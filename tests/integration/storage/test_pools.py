"""Instances in pools of every driver that runs here: they start, keep their files, and leave nothing."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloison import CloisonError, Engine, Instance
from cloison.engine import creating
from cloison.kernel import loops
from tests.integration.conftest import QUICK, Cli, eventually, init_of, inside, refused
from tests.integration.storage.conftest import MEBIBYTE, MKFS, mounted, run

pytestmark = [pytest.mark.needs_root]
MAY_RESIZE = bool(int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16) & 1 << 24)
DRIVERS = ("overlay", "dir", "btrfs", "loop")
Made = Callable[..., Instance]


@contextmanager
def pool_in(engine: Engine, driver: str, where: Path) -> Iterator[str]:
    """A pool `p` of a driver; btrfs on a file system of its own."""
    if driver != "btrfs":
        engine.pools.create("p", driver, size="96M" if driver == "loop" else "")
        yield "p"
        return
    with mounted("btrfs", where) as point:
        engine.pools.create("p", driver, source=str(point))
        yield "p"
        for instance in engine.instances():
            instance.delete(force=True)
        engine.pools.remove("p")


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pool(engine: Engine, driver: str, tmp_path: Path) -> Iterator[str]:
    with pool_in(engine, driver, tmp_path) as name:
        yield name


@pytest.fixture
def made(engine: Engine, pool: str) -> Made:
    def make(*config: str, name: str = "web") -> Instance:
        return engine.create("busybox", name, config=(*QUICK, *config), storage=pool)

    return make


def test_it_keeps_its_files_and_leaves_nothing(made: Made, engine: Engine, pool: str, root: Path) -> None:
    web = made()
    web.start()
    assert inside(web, "/bin/cat", "/etc/hostname") == "web\n"
    inside(web, "/bin/sh", "-c", "echo kept > /root/file; chown 5:6 /root/file; rm /bin/vi; mkdir /srv")
    web.restart()
    assert inside(web, "/bin/cat", "/root/file") == "kept\n"
    assert inside(web, "/bin/ls", "-ln", "/root/file").split()[2:4] == ["5", "6"]
    assert web.exec(["/bin/ls", "/bin/vi"]).code != 0
    web.stop()
    disks = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{root}/run" in line]
    assert disks == []
    web.delete()
    assert engine.pools.driver(pool).names() == ()
    trees = f"{engine.pools.info(pool).path}/trees"
    assert eventually(lambda: not any(loops.devices(f"{trees}/{name}") for name in os.listdir(trees)))


def test_what_it_writes_is_on_the_disk_with_the_ids_it_has_inside(made: Made, engine: Engine) -> None:
    web = made()
    web.start()
    inside(web, "/bin/sh", "-c", "echo x > /root/mine; chown 1000:1000 /root/mine")
    status = Path(f"/proc/{init_of(web)}/status").read_text()
    assert f"Uid:\t{web._record.id_base}" in status
    web.stop()
    with engine.pools.driver(web.tree.pool).opened(web.tree) as fd:
        found = os.stat("root/mine", dir_fd=fd)
    assert (found.st_uid, found.st_gid) == (1000, 1000)


def test_a_device_in_its_files_leads_nowhere(made: Made, engine: Engine) -> None:
    web = made("limits.devices=allow b 7:* rwm")
    with engine.pools.driver(web.tree.pool).opened(web.tree) as fd:
        os.mknod("root/null", 0o020666, os.makedev(1, 3), dir_fd=fd)
        os.chmod(f"/proc/self/fd/{fd}/root/null", 0o666)
    web.start()
    found = web.exec(["/bin/sh", "-c", "cat /root/null"])
    assert found.code != 0 and b"ermission denied" in found.stderr, found
    assert web.exec(["/bin/sh", "-c", "cat /dev/null"]).code == 0


def test_programs_keep_what_they_may(made: Made, engine: Engine) -> None:
    web = made()
    with engine.pools.driver(web.tree.pool).opened(web.tree) as fd:
        for name in ("plain", "setuid", "capable"):
            shutil.copy(f"/proc/self/fd/{fd}/bin/payload", f"/proc/self/fd/{fd}/bin/{name}")
        os.chmod("bin/setuid", 0o4755, dir_fd=fd)
        # cap_dac_override=ep: capabilities(7), struct vfs_cap_data
        able = bytes.fromhex("0100000202000000000000000000000000000000")
        os.setxattr(f"/proc/self/fd/{fd}/bin/capable", "security.capability", able)
        os.mkdir("secret", 0o700, dir_fd=fd)
        for name in ("plain", "setuid", "capable"):
            os.close(os.open(f"secret/{name}", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
    web.start()
    for name in ("plain", "setuid", "capable"):
        web.exec([f"/bin/{name}", "write", f"/secret/{name}", name], user="nobody")
    assert inside(web, "/bin/sh", "-c", "cat /secret/*") == "capablesetuid"


def test_a_pool_that_is_used_stays_and_goes_afterwards(made: Made, engine: Engine, pool: str, cli: Cli) -> None:
    web = made()
    refused(cli("storage", "rm", pool), 4, "has the files of web")
    shown = json.loads(cli("storage", "info", pool, "--json").stdout)
    assert shown["instances"] == ["web"] and shown["trees"] == 1
    web.delete()
    assert engine.pools.info(pool).trees == 0


def test_an_instance_that_cannot_be_made_leaves_nothing(made: Made, engine: Engine, pool: str) -> None:
    made(name="first")
    before = engine.pools.driver(pool).names()
    with pytest.raises(CloisonError):
        creating.make(engine, engine.image("busybox"), "first", engine.get("first").config, pool, None)
    assert engine.pools.driver(pool).names() == before
    assert len(os.listdir(engine.layout.instances)) == 1


# --- by the command line ---------------------------------------------------------------------------------------------


def test_pools_by_the_command_line(engine: Engine, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    assert cli("storage", "create", "fast", "--driver", "dir", "--source", str(tmp_path / "place")).returncode == 0
    assert cli("create", "busybox", "web", "--storage", "fast").stdout == "web\n"
    listed = {each["name"]: each for each in json.loads(cli("storage", "ls", "--json").stdout)}
    assert set(listed) == {"default", "fast"} and listed["fast"]["instances"] == ["web"]
    assert listed["fast"]["path"] == str(tmp_path / "place") and os.listdir(tmp_path / "place/trees")
    assert "fast" in cli("storage", "ls").stdout and "Driver:        dir" in cli("storage", "info", "fast").stdout
    refused(cli("create", "busybox", "other", "--storage", "slow"), 3, "no storage pool 'slow'")
    refused(cli("storage", "create", "fast"), 4, "already a storage pool 'fast'")
    refused(cli("storage", "rm", "fast"), 4, "has the files of web")
    assert cli("delete", "web").returncode == cli("storage", "rm", "fast").returncode == 0
    refused(cli("storage", "info", "fast"), 3, "no storage pool 'fast'")


def test_a_btrfs_pool_in_a_file_comes_back_after_a_start_of_the_machine(engine: Engine, cli: Cli, root: Path) -> None:
    if subprocess.run(["sh", "-c", f"command -v {MKFS['btrfs'][0]}"], capture_output=True).returncode:
        pytest.skip("btrfs-progs is not installed")
    assert cli("storage", "create", "snaps", "--driver", "btrfs", "--size", "256M").returncode == 0
    try:
        web = engine.create("busybox", "web", config=QUICK, storage="snaps")
        subprocess.run(["umount", f"{root}/lib/storage/snaps/mount"], check=True)
        web.start()
        assert inside(web, "/bin/cat", "/etc/hostname") == "web\n"
        web.delete(force=True)
    finally:
        assert cli("storage", "rm", "snaps").returncode == 0
    assert not (root / "lib/storage/snaps").exists()


# --- limits ----------------------------------------------------------------------------------------------------------


def filesystem_bytes(instance: Instance) -> int:
    """What df says inside: where the name of a device is long, that has a line of its own."""
    return int(inside(instance, "/bin/df", "-k", "/").split()[-5]) * 1024


def test_a_disk_of_its_own_has_the_size_that_was_set_and_grows_while_it_runs(engine: Engine) -> None:
    engine.pools.create("disks", "loop", size="96M")
    web = engine.create("busybox", "web", config=[*QUICK, "limits.disk=64M", "limits.inodes=4096"], storage="disks")
    web.start()
    assert 40 * MEBIBYTE < filesystem_bytes(web) < 64 * MEBIBYTE
    full = web.exec(["/bin/sh", "-c", "dd if=/dev/zero of=/root/big bs=1M count=80"])
    assert full.code != 0 and b"No space left" in full.stderr
    inside(web, "/bin/rm", "/root/big")
    if not MAY_RESIZE:  # the same, while it does not run
        with pytest.raises(CloisonError, match="that needs CAP_SYS_RESOURCE"):
            web.set("limits.disk=128M")
        assert 40 * MEBIBYTE < filesystem_bytes(web) < 64 * MEBIBYTE and web.get("limits.disk") == "64M"
        web.stop()
    web.set("limits.disk=128M")
    if not MAY_RESIZE:
        web.start()
    assert 100 * MEBIBYTE < filesystem_bytes(web) < 128 * MEBIBYTE
    inside(web, "/bin/dd", "if=/dev/zero", "of=/root/big", "bs=1M", "count=80")
    with pytest.raises(CloisonError, match="cannot be made smaller while it runs"):
        web.set("limits.disk=64M")
    assert web.get("limits.disk") == "128M"
    web.stop()
    with pytest.raises(
        CloisonError, match=r"limits\.disk=64M is less than what is used: at least (8|9|1\d)\d(\.\d)?M "
    ):
        web.set("limits.disk=64M")
    web.start()
    inside(web, "/bin/rm", "/root/big")
    web.stop()
    web.set("limits.disk=64M")
    web.start()
    assert 40 * MEBIBYTE < filesystem_bytes(web) < 64 * MEBIBYTE
    assert inside(web, "/bin/cat", "/etc/hostname") == "web\n"
    web.delete(force=True)


def test_inodes_of_a_disk_of_its_own_are_limited(engine: Engine) -> None:
    engine.pools.create("disks", "loop", size="96M")
    web = engine.create("busybox", "web", config=[*QUICK, "limits.inodes=2048"], storage="disks")
    web.start()
    said = web.exec(["/bin/sh", "-c", "i=0; while [ $i -lt 3000 ]; do : > /root/$i || exit 7; i=$((i+1)); done"])
    assert said.code != 0 and b"No space left" in said.stderr
    with pytest.raises(CloisonError, match="settled when it is made"):
        web.set("limits.inodes=9000")
    web.delete(force=True)


def test_a_subvolume_is_limited_and_told_so(engine: Engine, tmp_path: Path) -> None:
    with pool_in(engine, "btrfs", tmp_path):
        web = engine.create("busybox", "web", config=[*QUICK, "limits.disk=48M"], storage="p")
        web.start()
        full = web.exec(["/bin/sh", "-c", "dd if=/dev/urandom of=/root/big bs=1M count=80 && sync"])
        assert full.code != 0 and b"uota exceeded" in full.stderr
        inside(web, "/bin/rm", "/root/big")
        web.set("limits.disk=128M")
        inside(web, "/bin/dd", "if=/dev/urandom", "of=/root/big", "bs=1M", "count=80")
        with pytest.raises(CloisonError, match="btrfs cannot limit inodes"):
            web.set("limits.inodes=1000")


def test_a_pool_that_cannot_limit_says_why_and_who_can(engine: Engine, cli: Cli) -> None:
    if not engine.pools.info("default").quota:
        pytest.skip("this file system has project quotas")
    done = cli("create", "busybox", "web", "--set", "limits.disk=1G")
    refused(done, 6, "cannot limit the disk: its file system has no project quotas", "prjquota", "driver loop")
    assert engine.instances() == ()
    web = engine.create("busybox", "web", config=QUICK)
    refused(cli("set", "web", "limits.disk=1G"), 6, "cannot limit the disk")
    assert web.get("limits.disk") == ""


def test_subvolumes_that_a_guest_has_made_go_with_its_instance(engine: Engine, tmp_path: Path) -> None:
    with pool_in(engine, "btrfs", tmp_path):
        web = engine.create("busybox", "web", config=["nics.eth0.type=empty"], storage="p")
        root = engine.pools.driver("p").root(web.tree).writable
        for name in ("outer", "outer/inner", "kept"):
            run("btrfs", "subvolume", "create", f"{root}/{name}")
        run("btrfs", "property", "set", "-ts", f"{root}/outer", "ro", "true")
        assert run("btrfs", "subvolume", "list", tmp_path / "btrfs").count("inner") == 1
        web.delete()
        engine.repair()
        left = run("btrfs", "subvolume", "list", tmp_path / "btrfs").splitlines()
        assert len(left) == 1  # the image
        assert "/images/" in left[0] or "path images/" in left[0]

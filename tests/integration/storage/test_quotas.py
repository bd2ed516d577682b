"""Limits that the file system keeps: project quotas below overlay and dir, users' quotas on a disk of one's own.

These kernels are few: the guest of `make test-vm` has one.
"""

import subprocess
from pathlib import Path

import pytest

from cloison import CloisonError, Engine
from tests.integration.conftest import QUICK, inside
from tests.integration.storage.conftest import MEBIBYTE
from tests.integration.storage.test_pools import filesystem_bytes

pytestmark = [pytest.mark.needs_root, pytest.mark.guest]


@pytest.mark.needs_project_quotas
@pytest.mark.parametrize("driver", ["overlay", "dir"])
def test_a_directory_is_limited_and_df_tells_it_inside(engine: Engine, driver: str) -> None:
    engine.pools.create("p", driver)
    found = engine.pools.info("p")
    assert (found.quota, found.inode_quota) == ("", "")
    web = engine.create("busybox", "web", config=[*QUICK, "limits.disk=32M", "limits.inodes=2000"], storage="p")
    web.start()
    assert filesystem_bytes(web) == 32 * MEBIBYTE
    full = web.exec(["/bin/sh", "-c", "dd if=/dev/zero of=/root/big bs=1M count=80"])
    assert full.code != 0 and (b"uota exceeded" in full.stderr or b"No space" in full.stderr)
    assert engine.pools.driver("p").used(web.tree).bytes <= 32 * MEBIBYTE
    inside(web, "/bin/rm", "/root/big")
    many = web.exec(["/bin/sh", "-c", "i=0; while [ $i -lt 2500 ]; do : > /root/$i || exit 7; i=$((i+1)); done"])
    assert many.code != 0
    assert inside(web, "/bin/df", "-i", "/").splitlines()[-1].split()[1] == "2000"
    inside(web, "/bin/sh", "-c", "cd /root && rm -rf *")
    assert set(web.set("limits.disk=64M", "limits.inodes=5000").live) == {"limits.disk", "limits.inodes"}
    assert filesystem_bytes(web) == 64 * MEBIBYTE
    inside(web, "/bin/dd", "if=/dev/zero", "of=/root/big", "bs=1M", "count=48")
    with pytest.raises(CloisonError, match=r"limits\.disk=32M is less than the"):
        web.set("limits.disk=32M")
    web.set("limits.disk=", "limits.inodes=")
    assert filesystem_bytes(web) > 128 * MEBIBYTE
    web.delete(force=True)
    engine.pools.remove("p")


@pytest.mark.needs_project_quotas
def test_the_limit_goes_on_behind_a_snapshot_and_nobody_inside_leaves_it(engine: Engine) -> None:
    web = engine.create("busybox", "web", config=[*QUICK, "limits.disk=32M"])
    web.start()
    inside(web, "/bin/dd", "if=/dev/zero", "of=/root/first", "bs=1M", "count=16")
    web.stop()
    web.snapshots.create("one")
    web.start()
    assert filesystem_bytes(web) == 32 * MEBIBYTE
    full = web.exec(["/bin/sh", "-c", "dd if=/dev/zero of=/root/second bs=1M count=24"])
    assert full.code != 0
    other = engine.create("busybox", "other", config=[*QUICK, "limits.disk=32M"])
    other.start()
    inside(other, "/bin/dd", "if=/dev/zero", "of=/root/mine", "bs=1M", "count=24")


@pytest.mark.needs_project_quotas
@pytest.mark.parametrize("driver", ["overlay", "dir"])
def test_a_volume_is_limited_for_all_who_have_it(engine: Engine, driver: str) -> None:
    engine.pools.create("p", driver)
    volume = engine.volumes.create("data", "p", size_bytes=32 * MEBIBYTE, inodes=100)
    words = [*QUICK, "mounts.m.source=p/data", "mounts.m.target=/srv"]
    one, two = (engine.launch("busybox", name, config=words) for name in ("one", "two"))
    assert int(inside(one, "/bin/df", "-k", "/srv").split()[-5]) == 32 * 1024
    inside(one, "/bin/dd", "if=/dev/zero", "of=/srv/first", "bs=1M", "count=20")
    full = two.exec(["/bin/dd", "if=/dev/zero", "of=/srv/second", "bs=1M", "count=20"])
    assert full.code != 0 and (b"uota exceeded" in full.stderr or b"No space" in full.stderr)
    many = two.exec(["/bin/sh", "-c", "i=0; while [ $i -lt 150 ]; do : > /srv/$i || exit 7; i=$((i+1)); done"])
    assert many.code != 0
    inside(two, "/bin/sh", "-c", "rm /srv/*")
    assert engine.volumes.set(volume, size_bytes=64 * MEBIBYTE, inodes=0).size.inodes is None
    inside(two, "/bin/dd", "if=/dev/zero", "of=/srv/large", "bs=1M", "count=48")
    with pytest.raises(CloisonError, match=r"^--size 32M is less than the 48M"):
        engine.volumes.set(engine.volumes.get("p/data"), size_bytes=32 * MEBIBYTE)
    inside(two, "/bin/dd", "if=/dev/zero", "of=/root/own", "bs=1M", "count=80")  # the instance's own is not limited
    for each in (one, two):
        each.delete(force=True)
    engine.volumes.remove(engine.volumes.get("p/data"))
    engine.pools.remove("p")


@pytest.mark.needs_project_quotas
def test_users_on_a_disk_of_its_own_have_quotas(engine: Engine, root: Path) -> None:
    engine.pools.create("disks", "loop", size="96M", options=["user_quotas=true"])
    web = engine.create("busybox", "web", config=QUICK, storage="disks")
    web.start()
    inside(web, "/bin/sh", "-c", "mkdir -m 1777 /srv && echo 'ana:x:1000:1000::/srv:/bin/sh' >> /etc/passwd")
    disk = f"{root}/run/{web.id}/disk"
    subprocess.run(["setquota", "-u", "1000", "0", "4096", "0", "0", disk], check=True)
    full = web.exec(["/bin/dd", "if=/dev/zero", "of=/srv/big", "bs=1M", "count=16"], user="ana")
    assert full.code != 0 and b"uota exceeded" in full.stderr
    inside(web, "/bin/dd", "if=/dev/zero", "of=/srv/roots", "bs=1M", "count=16")
    told = subprocess.run(["repquota", "-u", "-n", disk], check=True, capture_output=True, text=True).stdout
    assert "#1000" in told and "4096" in told
    web.restart()
    again = web.exec(["/bin/dd", "if=/dev/zero", "of=/srv/big", "bs=1M", "count=16"], user="ana")
    assert again.code != 0


def test_a_kernel_without_quotas_says_so(engine: Engine) -> None:
    engine.pools.create("disks", "loop", options=["user_quotas=true"])
    try:
        engine.create("busybox", "web", config=QUICK, storage="disks")
    except CloisonError as refused:
        assert "this kernel has no quotas" in str(refused) and "user_quotas=false" in refused.hint
        assert engine.instances() == () and engine.pools.driver("disks").names() == ()
        engine.pools.set("disks", "user_quotas=false")
        engine.create("busybox", "web", config=QUICK, storage="disks")

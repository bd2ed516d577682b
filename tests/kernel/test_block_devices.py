"""Disks by any name, with lsblk and stat as witnesses."""

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.base.errors import Invalid
from cloison.kernel.block_devices import whole_disk


def numbers(device: str) -> tuple[int, int]:
    found = os.stat(device).st_rdev
    return os.major(found), os.minor(found)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A loop device of its own, with one partition."""
    image = tmp_path_factory.mktemp("disk") / "image"
    # A partition table as DOS wrote it: type 0x83, from sector 2048, of 4096 sectors (16 bytes from byte 446).
    entry = bytes((0, 0, 0, 0, 0x83, 0, 0, 0)) + struct.pack("<II", 2048, 4096)
    image.write_bytes(bytes(446) + entry + bytes(48) + b"\x55\xaa")
    os.truncate(image, 16 << 20)
    made = subprocess.run(["losetup", "--find", "--show", "--partscan", image], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no loop device to be had: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.needs_root
def test_a_disk_is_found_by_name_node_and_numbers(disk: str) -> None:
    major, minor = numbers(disk)
    names = (disk, disk.removeprefix("/dev/"), f"{major}:{minor}")
    assert [whole_disk(name) for name in names] == [(major, minor)] * 3


@pytest.mark.needs_root
def test_a_link_to_a_node_is_followed(disk: str, tmp_path: Path) -> None:
    (tmp_path / "by-label").symlink_to(disk)
    assert whole_disk(str(tmp_path / "by-label")) == numbers(disk)


@pytest.mark.needs_root
def test_of_a_partition_the_disk_is_meant(disk: str) -> None:
    name = disk.rsplit("/", 1)[1]
    parts = [path for path in Path(f"/sys/block/{name}").glob(f"{name}p*") if (path / "partition").exists()]
    if not parts:
        pytest.skip("this kernel reads no partitions of loop devices")
    assert whole_disk((parts[0] / "dev").read_text().strip()) == numbers(disk)


def test_a_partition_is_known_by_its_place_in_sysfs(tmp_path: Path) -> None:
    part = tmp_path / "devices" / "sda" / "sda1"
    part.mkdir(parents=True)
    (part / "partition").write_text("1\n")
    (part.parent / "dev").write_text("8:0\n")
    links = tmp_path / "dev" / "block"
    links.mkdir(parents=True)
    (links / "8:1").symlink_to("../../devices/sda/sda1")
    assert whole_disk("8:1", sys=str(tmp_path)) == (8, 0)


def test_a_path_stands_for_the_disk_under_it(tmp_path: Path) -> None:
    found = os.stat("/usr").st_dev
    if not os.major(found):
        pytest.skip("the file system of /usr has no block device")
    witness = subprocess.run(["findmnt", "-no", "MAJ:MIN", "-T", "/usr"], capture_output=True, text=True).stdout.strip()
    parent = Path(f"/sys/dev/block/{witness}/partition")
    expected = (parent.parent / ".." / "dev").read_text().strip() if parent.exists() else witness
    assert "{}:{}".format(*whole_disk("/usr")) == expected


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nonesuch", "no device or path 'nonesuch'"),
        ("/nonesuch", "no device or path '/nonesuch'"),
        ("/dev/null", "/dev/null is no block device"),
        ("null", "null is no block device"),
        ("4095:7", r"4095:7 \(4095:7\) is no block device of this host"),
        ("/proc", "/proc is on proc, which has no block device"),
    ],
)
def test_what_is_no_disk_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refused:
        whole_disk(name)
    assert refused.value.hint


def test_a_file_system_in_memory_has_no_disk() -> None:
    with pytest.raises(Invalid, match="is on tmpfs, which has no block device"):
        whole_disk("/dev/shm")


@pytest.mark.needs_root
def test_the_upper_layer_of_an_overlay_is_where_it_writes(tmp_path: Path) -> None:
    if not os.major(os.stat(tmp_path).st_dev):
        pytest.skip("the temporary directory has no block device")
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "none", "-o", options, tmp_path / "merged"], check=True)
    try:
        assert whole_disk(str(tmp_path / "merged")) == whole_disk(str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path / "merged"], check=True)

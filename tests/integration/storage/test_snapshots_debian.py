"""A Debian that runs, with a process in it that writes and syncs records while snapshots are made."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance
from tests.integration.conftest import ALONE, booted, empty_installation, eventually, inside, installation

pytestmark = [
    pytest.mark.debian,
    pytest.mark.guest,
    pytest.mark.needs_root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
# bash appends a line with one write(2); sync(1) with a file is fsync(2). Only then is the number told.
RECORDS = "i=0; while :; do i=$((i+1)); echo $i >> /root/records; sync /root/records; echo $i; done"
SNAPSHOTS = 5


@pytest.fixture
def engine(tmp_path: Path, debian_images: Path) -> Iterator[Engine]:
    with installation(empty_installation(tmp_path / "root", debian_images)) as engine:
        yield engine


@pytest.fixture
def debian(engine: Engine) -> Instance:
    instance = engine.launch("debian/12", "deb", config=ALONE)
    assert eventually(lambda: booted(instance), 60)
    return instance


def told(reader: int, before: bytes) -> bytes:
    """What has been written so far."""
    try:
        while piece := os.read(reader, 65536):
            before += piece
    except BlockingIOError:
        pass
    return before


def test_every_record_that_was_acknowledged_before_a_snapshot_is_in_it(debian: Instance) -> None:
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    os.set_blocking(reader, False)
    acknowledged = []
    said = b""
    with debian.spawn(["bash", "-c", RECORDS], stdio=(null, writer, null)) as execution:
        os.close(writer)
        for number in range(SNAPSHOTS):
            time.sleep(0.3)
            said = told(reader, said)
            acknowledged.append(said.count(b"\n"))
            debian.snapshots.create(f"s{number}")
        execution.signal(9)
    os.close(reader)
    os.close(null)
    assert acknowledged[0] > 0
    assert sorted(set(acknowledged)) == acknowledged  # it went on after each of them
    for number, least in reversed(list(enumerate(acknowledged))):
        debian.snapshots.restore(f"s{number}", force=True)
        found = inside(debian, "cat", "/root/records").split()
        assert found == [str(each) for each in range(1, len(found) + 1)]
        assert len(found) >= least
    assert eventually(lambda: booted(debian), 60)
    assert [each.path for each in debian.snapshots.diff("s0", "s1") if each.path == "/root/records"]

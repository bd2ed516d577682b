"""What groups can be limited by, with groups made by hand as the witness."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.kernel import cgroup_world, limit_files

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]


@contextlib.contextmanager
def group(top: str) -> Iterator[Path]:
    path = Path(top) / f"witness-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


def test_what_a_new_group_has_is_found() -> None:
    world = cgroup_world.detect()
    found = limit_files.look(world)
    for hierarchy in world.hierarchies:
        with group(hierarchy.mountpoint) as path:
            assert {name.name for name in path.iterdir()} <= found.names


def test_nothing_is_left_of_looking() -> None:
    world = cgroup_world.detect()
    tops = [hierarchy.mountpoint for hierarchy in world.hierarchies]
    limit_files.look(world)
    assert not [name for top in tops for name in os.listdir(top) if name == f"cloison-{os.getpid()}"]


def test_a_disk_is_weighed_where_its_scheduler_is_bfq() -> None:
    found = limit_files.look(cgroup_world.detect())
    witnesses = {
        path.parent.parent.name for path in Path("/sys/block").glob("*/queue/scheduler") if "[bfq]" in path.read_text()
    }
    assert {disk for disk, who in found.weighed if who == "bfq"} == witnesses

"""The cgroup hierarchies of this host, with findmnt and a process that was moved as witnesses."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.kernel import cgroup_world

DETECT = "from cloison.kernel.cgroup_world import detect; input(); print(*(h.own_path for h in detect().hierarchies))"


def test_the_mount_points_are_those_of_findmnt() -> None:
    command = ["findmnt", "-lno", "TARGET", "-t", "cgroup,cgroup2"]
    witness = subprocess.run(command, capture_output=True, text=True).stdout.split()
    assert sorted(found.mountpoint for found in cgroup_world.detect().hierarchies) == sorted(set(witness))


def test_every_hierarchy_has_this_process_where_it_says() -> None:
    for found in cgroup_world.detect().hierarchies:
        place = Path(found.mountpoint + found.own_path)
        assert str(os.getpid()) in place.joinpath("cgroup.procs").read_text().split()


@pytest.fixture
def group() -> Iterator[Path]:
    """A new group in the last hierarchy, below the place of this process."""
    last = cgroup_world.detect().hierarchies[-1]
    path = Path(last.mountpoint + last.own_path, "cloison-test-world")
    path.mkdir()
    yield path
    path.rmdir()


@pytest.mark.needs_root
@pytest.mark.needs_cgroup
def test_a_process_that_was_moved_is_found_where_it_is(group: Path) -> None:
    command = [sys.executable, "-c", DETECT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        group.joinpath("cgroup.procs").write_text(str(child.pid))
        said, _ = child.communicate("\n")
    mountpoint = cgroup_world.detect().hierarchies[-1].mountpoint
    assert mountpoint + said.split()[-1] == str(group)

"""Limits that cannot be: each is refused in one sentence that says why, and nothing is changed by it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import CloisonError, Engine, Instance
from tests.integration import witness
from tests.integration.conftest import Cli, refused
from tests.integration.test_limits import weight_file

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]

LAST_CPU = (os.cpu_count() or 1) - 1
# What is set, which exit code it is refused with, and words that the message has besides key and value.
IMPOSSIBLE: list[tuple[str, int, tuple[str, ...]]] = [
    ("limits.memory=0", 2, ("1M",)),
    ("limits.memory=-5", 2, ("256M",)),
    ("limits.memory=4095", 2, ("1M",)),
    ("limits.memory=900T", 2, ("G",)),
    ("limits.memory=101%", 2, ("100%",)),
    ("limits.memory=99999999999999999999", 2, ()),
    ("limits.memory_soft=900T", 2, ("G",)),
    ("limits.swap=-1", 2, ()),
    ("limits.swap=16M", 2, ("limits.memory",)),
    ("limits.cpus=0", 2, ("0.01",)),
    ("limits.cpus=-1", 2, ()),
    ("limits.cpus=9000", 2, ()),
    ("limits.cpus=8000", 2, (str(LAST_CPU + 1),)),
    ("limits.cpus=two", 2, ("0.5",)),
    ("limits.cpu_set=4000", 2, (str(LAST_CPU),)),
    ("limits.cpu_set=0-4000", 2, (str(LAST_CPU),)),
    ("limits.cpu_set=-1", 2, ()),
    ("limits.cpu_set=1-0", 2, ()),
    ("limits.cpu_set=a", 2, ("0-1,3",)),
    ("limits.cpu_weight=0", 2, ("1", "10000")),
    ("limits.cpu_weight=10001", 2, ("1", "10000")),
    ("limits.cpu_weight=-3", 2, ("1", "10000")),
    ("limits.cpu_burst=20ms", 2, ("limits.cpus",)),
    ("limits.cpu_burst=-1", 2, ()),
    ("limits.processes=0", 2, ("1", "4194304")),
    ("limits.processes=-1", 2, ("1", "4194304")),
    ("limits.processes=4194305", 2, ("4194304",)),
    ("limits.hugepages.3M=6M", 2, ("2M",)),
    ("limits.hugepages.2M=-1", 2, ()),
    ("limits.io.weight=0", 2, ("1", "10000")),
    ("limits.io.weight=10001", 2, ("1", "10000")),
    ("limits.io./dev/null.read_bps=1M", 2, ("/dev/null", "block device")),
    ("limits.io./dev/shm.read_bps=1M", 2, ("/dev/shm", "tmpfs")),
    ("limits.io./nonesuch.read_bps=1M", 2, ("/nonesuch",)),
    ("limits.io.nonesuch.write_bps=1M", 2, ("nonesuch",)),
    ("limits.io./.read_bps=0", 2, ()),
    ("limits.io./.read_iops=-1", 2, ()),
    ("limits.io./.sideways_bps=1M", 2, ("read_bps",)),
    ("limits.devices=allow x 1:3 rwm", 2, ()),
    ("limits.devices=allow c 1:3 rwx", 2, ()),
    ("limits.devices=perhaps c 1:3 rwm", 2, ("allow", "deny")),
    ("limits.devices=allow /nonesuch rw", 2, ("/nonesuch",)),
    ("limits.rlimits.nonesuch=1", 2, ("nofile",)),
    ("limits.rlimits.nofile=10:5", 2, ()),
    ("limits.rlimits.nofile=-1", 2, ("unlimited",)),
    ("limits.sysctls.kernel.panic=1", 2, ("host",)),
    ("limits.sysctls.vm.swappiness=1", 2, ("host",)),
    ("limits.sysctls.net/../kernel.panic=1", 2, ()),
    ("limits.oom_score=1001", 2, ("-1000", "1000")),
    ("limits.oom_score=-1001", 2, ("-1000", "1000")),
    ("limits.raw.cgroup.procs=1", 2, ()),
    ("limits.raw.devices.deny=a", 2, ("limits.devices",)),
    ("limits.raw.freezer.state=FROZEN", 2, ("freeze",)),
    ("limits.raw.../memory.max=1", 2, ()),
    ("limits.raw.memory.nonesuch=1", 6, ("memory.nonesuch",)),
    ("limits.raw.nonesuch.max=1", 6, ("nonesuch",)),
]
every_impossible = pytest.mark.parametrize(("setting", "code", "said"), IMPOSSIBLE, ids=[one[0] for one in IMPOSSIBLE])


@contextlib.contextmanager
def refusing(code: int, *said: str) -> Iterator[None]:
    """Something is refused, with this exit code, in a sentence and a hint that have all of `said` in them."""
    with pytest.raises(CloisonError) as caught:
        yield
    told = f"{caught.value} {caught.value.hint}"
    assert caught.value.exit_code == code, told
    assert [words for words in said if words not in told] == [], told


def stored(instance: Instance) -> dict[str, str]:
    return instance.info().config


@every_impossible
def test_it_is_refused_while_it_runs(quick: Instance, setting: str, code: int, said: tuple[str, ...]) -> None:
    key, _, value = setting.partition("=")
    before = witness.snapshot(quick), stored(quick)
    with refusing(code, key, value, *said):
        quick.set("limits.processes=70", setting)
    assert (witness.snapshot(quick), stored(quick)) == before


@every_impossible
def test_it_is_refused_for_the_next_start(stopped: Instance, setting: str, code: int, said: tuple[str, ...]) -> None:
    before = stored(stopped)
    with refusing(code, *said):
        stopped.set("limits.processes=70", setting)
    assert stored(stopped) == before


@every_impossible
def test_nothing_is_made_with_it(engine: Engine, setting: str, code: int, said: tuple[str, ...]) -> None:
    with refusing(code, *said):
        engine.create("busybox", "web", config=(setting,))
    assert engine.instances() == ()


def test_the_command_says_so_in_one_sentence(quick: Instance, cli: Cli) -> None:
    refused(cli("set", quick.name, "limits.cpu_set=4000"), 2, "limits.cpu_set=4000", str(LAST_CPU))
    refused(cli("set", quick.name, "limits.raw.memory.nonesuch=1"), 6, "memory.nonesuch")
    refused(cli("create", "busybox", "other", "--set", "limits.memory=900T"), 2, "limits.memory=900T")


def test_more_memory_softly_than_at_all_is_refused(stopped: Instance, cli: Cli) -> None:
    refused(cli("set", stopped.name, "limits.memory=64M", "limits.memory_soft=65M"), 2, "limits.memory_soft")
    assert stopped.get("limits.memory") == ""


def test_more_burst_than_quota_is_refused(stopped: Instance, cli: Cli) -> None:
    refused(cli("set", stopped.name, "limits.cpus=0.1", "limits.cpu_burst=11ms"), 2, "limits.cpu_burst", "10ms")
    assert stopped.get("limits.cpus") == ""


def test_a_limit_that_another_one_needs_is_not_taken_away(stopped: Instance, cli: Cli) -> None:
    assert cli("set", stopped.name, "limits.cpus=0.5", "limits.cpu_burst=10ms").returncode == 0
    refused(cli("set", stopped.name, "limits.cpus="), 2, "limits.cpu_burst")
    assert stopped.get("limits.cpus") == "0.5"


def test_the_weight_of_disks_is_refused_by_name_where_the_kernel_has_none(quick: Instance, cli: Cli) -> None:
    if file := weight_file(quick):
        pytest.skip(f"this kernel has {file.name}")
    refused(cli("set", quick.name, "limits.io.weight=200"), 6, "io.weight", "cgroup v", "read_bps")
    assert quick.get("limits.io.weight") == ""


def test_what_only_the_other_world_can_say_is_refused_by_name(quick: Instance, cli: Cli) -> None:
    if witness.group(quick, "memory").version == 1:
        refused(cli("set", quick.name, "limits.raw.memory.high=64M"), 6, "memory.high", "cgroup v1", "limits.memory")
    else:
        refused(cli("set", quick.name, "limits.raw.memory.swappiness=10"), 6, "memory.swappiness", "cgroup v2")


def test_a_file_that_is_no_device_is_known_by_the_disk_it_lies_on(quick: Instance, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = cli("set", quick.name, f"limits.io.{file}.read_bps=1M")
    assert done.returncode == 0, done.stderr

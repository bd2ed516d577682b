"""Limits against a host: parts of it become numbers, and what it does not have is refused with what is possible."""

import os
from typing import cast

import pytest

from cloison.base.errors import CloisonError, Invalid, Unsupported
from cloison.engine import limits as under_test
from cloison.engine import specification
from cloison.engine.drivers import Driver
from cloison.spec.config import Config, assign_all, value_of
from cloison.spec.limits import Limits
from cloison.spec.oci import DeviceRule, ThrottleDevice
from tests.unit.engine.hosts import GIBIBYTE, HostDriver

TERMINALS = "deny a, allow c 5:2 rw, allow c 136:* rw"


@pytest.fixture
def host() -> HostDriver:
    return HostDriver()


def config(*settings: str) -> Config:
    return assign_all(Config(), settings)


def resolved(host: HostDriver, *settings: str) -> Limits:
    return under_test.resolved(cast(Driver, host), config(*settings)).limits


def check(host: HostDriver, *settings: str) -> None:
    under_test.check(cast(Driver, host), "c0ffee000001", config(*settings))


def test_a_part_is_one_of_the_hosts_memory_or_swap(host: HostDriver) -> None:
    found = resolved(host, "limits.memory=50%", "limits.memory_soft=25%", "limits.swap=10%")
    assert (found.memory, found.memory_soft, found.swap) == (4 * GIBIBYTE, 2 * GIBIBYTE, 2 * GIBIBYTE // 10)


def test_a_part_in_huge_pages_is_a_whole_number_of_them(host: HostDriver) -> None:
    assert resolved(host, "limits.hugepages.1G=30%").hugepages == {"1G": 2 * GIBIBYTE}


def test_disks_are_known_by_their_numbers(host: HostDriver) -> None:
    found = under_test.resolved(
        cast(Driver, host),
        config("limits.io./var/lib.read_bps=1M", "limits.io.sda.write_iops=5", "limits.io.sdb.read_bps=2M"),
    )
    block_io = specification.resources(found).block_io
    assert block_io is not None
    assert block_io.throttle_read_bps_device == (ThrottleDevice(8, 0, 1 << 20), ThrottleDevice(8, 16, 2 << 20))
    assert block_io.throttle_write_iops_device == (ThrottleDevice(8, 0, 5),)


def test_a_device_node_is_known_by_its_numbers(host: HostDriver) -> None:
    found = under_test.resolved(cast(Driver, host), config(f"limits.devices={TERMINALS}, allow /dev/null rw"))
    number = os.stat("/dev/null").st_rdev
    assert specification.resources(found).devices == (
        DeviceRule(allow=False),
        DeviceRule(allow=True, type="c", major=5, minor=2, access="rw"),
        DeviceRule(allow=True, type="c", major=136, access="rw"),
        DeviceRule(allow=True, type="c", major=os.major(number), minor=os.minor(number), access="rw"),
    )


def test_without_limits_nobody_is_asked(host: HostDriver) -> None:
    check(host, "env.A=1")
    assert (host.size_asked, host.checked) == (0, [])


def test_the_size_of_the_host_is_asked_for_only_where_it_matters(host: HostDriver) -> None:
    check(host, "limits.processes=5", "limits.cpu_weight=5", "limits.rlimits.nofile=5")
    assert host.size_asked == 0


IMPOSSIBLE = [
    (("limits.memory=9G",), "limits.memory=9G: this host has 8G; write at most that, or a part of it such as 50%"),
    (("limits.memory=0.01%",), "limits.memory=0.01%: of this host's 8G that is too little"),
    (("limits.memory_soft=9G",), "limits.memory_soft=9G: this host has 8G"),
    (("limits.memory=1G", "limits.memory_soft=2G"), "limits.memory_soft=2G: more than limits.memory=1G"),
    (("limits.memory=10%", "limits.memory_soft=2G"), "limits.memory_soft=2G: more than limits.memory=10%"),
    (("limits.swap=1G",), "limits.swap=1G: this is on top of limits.memory, which is not set"),
    (("limits.cpus=3.1",), "limits.cpus=3.1: this host has 3 CPUs; write a number from 0.01 to 3"),
    (("limits.cpu_set=1-2",), "limits.cpu_set=1-2: this host has no CPU 2 online; possible are 0-1,3"),
    (("limits.cpu_burst=5ms",), "limits.cpu_burst=5ms: this is on top of limits.cpus, which is not set"),
    (
        ("limits.cpus=0.1", "limits.cpu_burst=11ms"),
        "limits.cpu_burst=11ms: from 1ms to 10ms is possible with limits.cpus=0.1",
    ),
    (("limits.hugepages.2M=3M",), "limits.hugepages.2M=3M: that is no whole number of pages; write a multiple of 2M"),
    (("limits.hugepages.2M=10G",), "limits.hugepages.2M=10G: this host has 8G of memory"),
    (("limits.io.sdx.read_bps=1M",), "limits.io.sdx.read_bps=1M: 'sdx' is no block device"),
    (
        ("limits.io.sda.read_bps=1M", "limits.io./var/lib.read_bps=2M"),
        "limits.io.sda.read_bps=1M: that is the disk 8:0, and so is /var/lib",
    ),
    (
        ("limits.devices=allow /dev/nonesuch rw",),
        "limits.devices=allow /dev/nonesuch rw: /dev/nonesuch is no device node",
    ),
    (("limits.devices=allow /etc rw",), "limits.devices=allow /etc rw: /etc is no device node"),
    (("limits.devices=deny a, allow c 1:3 rwm",), "without c 5:2 rw it has no console"),
    (("limits.devices=deny a, allow c 5:2 rw, allow c 136:* r",), "without c 136:* rw it has no console"),
    (("limits.devices=allow c 5:2 rw, deny c *:2 w",), 'add "allow c 5:2 rw" and "allow c 136:* rw"'),
    (
        ("nics.eth0.type=host", "limits.sysctls.net.ipv4.ip_forward=1"),
        "limits.sysctls.net.ipv4.ip_forward=1: it shares the host's network",
    ),
    (("limits.memory=1G", "limits.raw.memory.max=5"), "limits.raw.memory.max=5: limits.memory is set too"),
    (("limits.cpu_weight=5", "limits.raw.cpu.idle=1"), "limits.raw.cpu.idle=1: limits.cpu_weight is set too"),
    (("limits.io.weight=5", "limits.raw.io.weight=5"), "limits.raw.io.weight=5: limits.io.weight is set too"),
    (("limits.io.sda.read_bps=1M", "limits.raw.io.max=8:0"), "limits.raw.io.max=8:0: limits.io.sda is set too"),
    (("limits.hugepages.2M=2M", "limits.raw.hugetlb.2MB.max=0"), "limits.hugepages.2M is set too"),
]


@pytest.mark.parametrize(("settings", "said"), IMPOSSIBLE, ids=[" ".join(case[0]) for case in IMPOSSIBLE])
def test_what_this_host_cannot_give_is_refused(host: HostDriver, settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(Invalid) as caught:
        check(host, *settings)
    assert said in str(caught.value)
    assert host.checked == []


def test_a_size_of_pages_that_the_host_does_not_have_is_its_own_fault(host: HostDriver) -> None:
    with pytest.raises(Unsupported, match=r"limits\.hugepages\.64K=1M: .*possible are: 2M, 1G"):
        check(host, "limits.hugepages.64K=1M")


def test_what_the_driver_cannot_is_told_with_its_key(host: HostDriver) -> None:
    host.refuses["io.weight"] = Unsupported("io.weight cannot be set on cgroup v1", hint="do without", file="io.weight")
    with pytest.raises(Unsupported) as caught:
        check(host, "limits.processes=5", "limits.io.weight=50", "limits.raw.memory.high=5M")
    assert str(caught.value) == "limits.io.weight=50: io.weight cannot be set on cgroup v1"
    assert caught.value.hint == "do without"
    assert caught.value.facts == {"file": "io.weight", "key": "limits.io.weight", "value": "50"}


def test_what_the_driver_refuses_only_together_is_told_as_it_is(host: HostDriver) -> None:
    wanted = config("limits.processes=5", "limits.cpu_weight=50")
    host.refuses[str(specification.live_limits(wanted))] = Invalid("these do not go together")
    with pytest.raises(Invalid) as caught:
        check(host, "limits.processes=5", "limits.cpu_weight=50")
    assert str(caught.value) == "these do not go together"


def test_a_disk_that_has_gone_has_taken_its_limit_along(host: HostDriver) -> None:
    present = config("limits.io.sda.read_bps=1M", "limits.io.sdb.read_bps=1M", "limits.devices=allow /dev/nonesuch rw")
    del host.disks["sdb"]
    found = under_test.in_force(cast(Driver, host), present).resources
    assert found.block_io is not None
    assert found.block_io.throttle_read_bps_device == (ThrottleDevice(8, 0, 1 << 20),)
    assert found.devices == ()


def test_a_command_inside_has_the_limits_of_a_process(host: HostDriver) -> None:
    wanted = config("limits.memory=1G", "limits.rlimits.nofile=5", "limits.oom_score=7", "limits.io.gone.read_bps=1")
    found = under_test.of_processes(wanted)
    assert found == config("limits.rlimits.nofile=5", "limits.oom_score=7")
    assert specification.rlimits(found)[0].type == "RLIMIT_NOFILE"


@pytest.mark.parametrize("problem", [case[0] for case in IMPOSSIBLE], ids=lambda case: case[-1])
def test_every_refusal_names_a_key_that_was_set_and_its_value(host: HostDriver, problem: tuple[str, ...]) -> None:
    with pytest.raises(CloisonError) as caught:
        check(host, *problem)
    key, value = str(caught.value.facts["key"]), str(caught.value.facts["value"])
    assert value in value_of(config(*problem), key)
    assert str(caught.value).startswith(f"{key}={value}: ")

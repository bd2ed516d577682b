"""From a record to the OCI specification: what a system container finds."""

import msgspec

from cloison.engine import specification as under_test
from cloison.spec.oci import Spec
from tests.unit.plan.worlds import record


def test_all_seven_namespaces_are_its_own() -> None:
    spec = under_test.specification(record())
    assert {n.type for n in spec.linux.namespaces} == {"pid", "mount", "ipc", "uts", "cgroup", "network", "user"}


def test_privileged_gives_up_the_user_namespace_and_nothing_else() -> None:
    spec = under_test.specification(record("security.privileged=true"))
    assert {n.type for n in spec.linux.namespaces} == {"pid", "mount", "ipc", "uts", "cgroup", "network"}
    assert not spec.linux.uid_mappings


def test_its_own_range_of_65536_ids() -> None:
    (mapping,) = under_test.specification(record()).linux.uid_mappings
    assert (mapping.containerID, mapping.hostID, mapping.size) == (0, 1_048_576, 65536)


def test_no_seccomp_where_it_is_switched_off() -> None:
    assert under_test.specification(record("security.seccomp=off")).linux.seccomp is None
    assert under_test.specification(record()).linux.seccomp is not None


def test_the_hosts_clock_and_modules_are_out_of_reach() -> None:
    capabilities = under_test.specification(record()).process.capabilities
    assert capabilities is not None
    assert "CAP_SYS_ADMIN" in capabilities.bounding
    assert not {"CAP_SYS_TIME", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"} & set(capabilities.bounding)


def test_an_init_of_a_user_holds_no_capability() -> None:
    capabilities = under_test.specification(record("init.uid=1000")).process.capabilities
    assert capabilities is not None
    assert capabilities.effective == ()


def test_limits_in_the_words_of_the_specification() -> None:
    found = under_test.resources(record("limits.memory=64M", "limits.cpus=0.5", "limits.processes=9").config)
    assert found.memory is not None
    assert found.cpu is not None
    assert found.pids is not None
    assert (found.memory.limit, found.cpu.quota, found.cpu.period, found.pids.limit) == (64 << 20, 50_000, 100_000, 9)


def test_a_clock_of_its_own_begins_at_zero() -> None:
    spec = under_test.specification(record("boot.own_clock=on"), boottime_ns=5_250_000_000, monotonic_ns=1)
    boottime = spec.linux.time_offsets["boottime"]
    assert boottime.secs * 1_000_000_000 + boottime.nanosecs == -5_250_000_000
    assert 0 <= boottime.nanosecs < 1_000_000_000


def test_variables_of_the_configuration_win_over_the_image() -> None:
    wanted = msgspec.structs.replace(record("env.LANG=C.UTF-8"), env=("LANG=POSIX", "A=1"))
    assert {"LANG=C.UTF-8", "A=1", "container=cloison"} <= set(under_test.environment(wanted))


def test_the_machine_uuid_is_one_and_stays() -> None:
    assert under_test.machine_uuid("c0ffee000001") == "c0ffee00-0001-c0ff-ee00-0001c0ffee00"


def test_the_specification_is_valid_json_of_the_standard() -> None:
    spec = under_test.specification(record("boot.own_clock=on", "limits.memory=64M"))
    text = msgspec.json.encode(spec)
    assert msgspec.json.decode(text, type=Spec) == spec
    assert {"ociVersion", "process", "root", "linux"} <= set(msgspec.json.decode(text)) | {"ociVersion"}


def test_views_of_proc_come_after_what_they_cover_and_can_only_be_read() -> None:
    spec = under_test.specification(record(), proc_views=(("/lxcfs/proc/meminfo", "/proc/meminfo"),))
    places = [mount.destination for mount in spec.mounts]
    view = spec.mounts[places.index("/proc/meminfo")]
    assert places.index("/proc/meminfo") > places.index("/proc")
    assert (view.type, view.source) == ("bind", "/lxcfs/proc/meminfo")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(view.options)

"""Hosts of many kinds, and what is said about them."""

import errno

import msgspec
import pytest

from cloison.base.errors import Unsupported
from cloison.kernel.cgroup_world import CgroupWorld, Hierarchy
from cloison.kernel.inventory import Space
from cloison.kernel.limit_files import LimitFiles
from cloison.kernel.lxcfs import DIRECTORY, FILES, Lxcfs
from cloison.kernel.probe import Answers, HostFacts, Privileges
from cloison.runtime.check import require_start
from cloison.runtime.finding import Finding
from cloison.runtime.findings import findings
from cloison.runtime.survey import CEILINGS, DEVICES, PROGRAMS, Survey

ALL_CAPABILITIES = (1 << 41) - 1
CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 21, 24
V2 = CgroupWorld("v2", (Hierarchy(("cpuset", "cpu", "hugetlb", "io", "memory", "pids"), "/sys/fs/cgroup", 2, "/"),))
V2_FILES = frozenset({"memory.swap.max", "cpu.max", "cpu.max.burst", "io.max", "io.bfq.weight", "cgroup.kill"})
HYBRID = CgroupWorld(
    "hybrid",
    (
        Hierarchy(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu", 1, "/"),
        Hierarchy(("memory",), "/sys/fs/cgroup/memory", 1, "/"),
        Hierarchy((), "/sys/fs/cgroup/unified", 2, "/"),
    ),
)
FACTS = HostFacts(
    boot_id="b",
    release="6.1.0",
    machine="x86_64",
    euid=0,
    directory="/var/lib/cloison",
    device=1,
    namespaces=("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"),
    answers=Answers(**dict.fromkeys(Answers.__struct_fields__, 0)),
)
HOST = Survey(
    facts=FACTS,
    privileges=Privileges(0, ALL_CAPABILITIES, ALL_CAPABILITIES, 40),
    world=V2,
    writable=frozenset({"/sys/fs/cgroup"}),
    space=Space("ext4", 50 << 30, 100 << 30, 1_000_000),
    user="root",
    subuids=(),
    subgids=(),
    programs={name: f"/usr/bin/{name}" for name in PROGRAMS},
    is_busybox_static=True,
    parameters=dict.fromkeys(CEILINGS, 1 << 20),
    devices=DEVICES,
    security_modules="capability,apparmor",
    libseccomp="/usr/lib/libseccomp.so.2",
    launcher="/usr/lib/cloison/launcher",
    lxcfs=Lxcfs(DIRECTORY, is_mounted=True, files=FILES),
    limit_files=LimitFiles(V2_FILES, disks=("sda",), weighed=(("sda", "bfq"),)),
    is_systemd=True,
)


def without(**answers: int | None) -> HostFacts:
    """The facts of a host that gives these answers, and is able otherwise."""
    return msgspec.structs.replace(FACTS, answers=msgspec.structs.replace(FACTS.answers, **answers))


def complaints(host: Survey) -> list[Finding]:
    return [finding for finding in findings(host) if finding.status != "ok"]


def complaint(**changes: object) -> Finding:
    """The only complaint about a host that is perfect but for `changes`."""
    found = complaints(msgspec.structs.replace(HOST, **changes))
    assert len(found) == 1, found
    return found[0]


def test_there_is_no_complaint_about_a_perfect_host() -> None:
    assert complaints(HOST) == []


def test_the_topics_come_in_their_order() -> None:
    topics = list(dict.fromkeys(finding.topic for finding in findings(HOST)))
    assert topics == [
        "Namespaces",
        "Control groups",
        "Mounts & storage",
        "Security",
        "Networking",
        "Console",
        "Programs",
        "Ceilings",
    ]


def test_every_complaint_says_what_to_do() -> None:
    nothing = msgspec.structs.replace(
        HOST,
        facts=msgspec.structs.replace(without(**dict.fromkeys(Answers.__struct_fields__, errno.ENOSYS)), namespaces=()),
        privileges=Privileges(1000, 0, 0, 40),
        world=CgroupWorld("none", ()),
        space=Space("tmpfs", 0, 0, 0),
        programs=dict.fromkeys(PROGRAMS),
        parameters=dict.fromkeys(CEILINGS, 1),
        devices=(),
        security_modules="",
        libseccomp=None,
        launcher=None,
        lxcfs=Lxcfs(DIRECTORY, is_mounted=False),
        limit_files=LimitFiles(),
    )
    assert [finding.name for finding in complaints(nothing) if not finding.hint or not finding.detail] == []
    assert all(finding.status != "ok" for finding in findings(nothing))


def test_no_hint_is_given_where_all_is_well() -> None:
    assert [finding for finding in findings(HOST) if finding.hint] == []


def test_a_kind_of_namespace_that_is_missing_is_named_with_its_option() -> None:
    facts = msgspec.structs.replace(FACTS, namespaces=tuple(name for name in FACTS.namespaces if name != "time"))
    found = complaint(facts=facts)
    assert (found.name, found.needed, found.hint) == (
        "time namespaces",
        "for boot.own_clock",
        "use a kernel with CONFIG_TIME_NS",
    )


@pytest.mark.parametrize(
    ("euid", "switch", "value", "hint"),
    [
        (0, "user.max_user_namespaces", 0, "sysctl -w user.max_user_namespaces=15000"),
        (1000, "kernel.unprivileged_userns_clone", 0, "sysctl -w kernel.unprivileged_userns_clone=1"),
        (1000, "kernel.apparmor_restrict_unprivileged_userns", 1, "sysctl -w kernel.apparmor_restrict"),
    ],
)
def test_the_switch_that_forbids_user_namespaces_is_named(euid: int, switch: str, value: int, hint: str) -> None:
    facts = msgspec.structs.replace(without(user_namespace=errno.EPERM), euid=euid)
    host = msgspec.structs.replace(HOST, facts=facts, parameters={**HOST.parameters, switch: value})
    (found,) = [finding for finding in complaints(host) if finding.name == "user namespaces"]
    assert hint in found.hint


def test_another_user_needs_ids_of_its_own() -> None:
    facts = msgspec.structs.replace(FACTS, euid=1000)
    found = complaint(facts=facts, is_systemd=False, user="ana", subuids=((100000, 65536),), subgids=((100000, 1000),))
    assert (found.name, found.status) == ("subordinate ids", "limited")
    assert found.detail == "1000 of 65536 for ana"
    assert found.hint == "add ana:100000:65536 to /etc/subuid and /etc/subgid"


def test_a_hybrid_host_is_asked_controller_by_controller() -> None:
    writable = frozenset(hierarchy.mountpoint for hierarchy in HYBRID.hierarchies)
    files = LimitFiles(frozenset({"memory.memsw.limit_in_bytes", "cpu.cfs_quota_us"}))
    answers = without(device_filter=errno.EPERM)
    host = msgspec.structs.replace(HOST, world=HYBRID, writable=writable, limit_files=files, facts=answers)
    names = ["pids", "cpuset", "io/blkio", "hugetlb", "bursts of CPU time", "devices"]
    assert [finding.name for finding in complaints(host)] == names


@pytest.mark.parametrize(
    ("file", "name", "key"),
    [
        ("memory.swap.max", "limits of swap", "for limits.swap"),
        ("cpu.max", "quotas of CPU time", "for limits.cpus"),
        ("cpu.max.burst", "bursts of CPU time", "for limits.cpu_burst"),
        ("io.max", "rates of disks", "for limits.io.DISK.read_bps and its like"),
        ("io.bfq.weight", "weights of disks", "for limits.io.weight"),
    ],
)
def test_a_file_that_no_group_has_is_named_with_its_key(file: str, name: str, key: str) -> None:
    files = msgspec.structs.replace(HOST.limit_files, names=V2_FILES - {file})
    found = complaint(limit_files=files)
    assert (found.name, found.status, found.needed) == (name, "missing", key)
    assert file in found.detail


def test_of_a_controller_that_nobody_has_yet_nothing_is_claimed() -> None:
    host = msgspec.structs.replace(HOST, limit_files=LimitFiles(V2_FILES - {"io.max"}, unseen=frozenset({"io"})))
    (found,) = [finding for finding in findings(host) if finding.name == "rates of disks"]
    assert (found.status, found.detail[:9]) == ("ok", "not known")


@pytest.mark.parametrize(("file", "more"), [("io.bfq.weight", ""), ("io.weight", "io.cost.qos")])
def test_a_weight_that_no_disk_heeds_is_limited(file: str, more: str) -> None:
    names = V2_FILES - {"io.bfq.weight"} | {file}
    found = complaint(limit_files=LimitFiles(names, disks=("sda",)))
    assert (found.status, found.detail) == ("limited", f"{file}, but nothing weighs on any disk")
    assert found.hint.startswith("echo bfq >/sys/block/sda/queue/scheduler")
    assert more in found.hint


def test_bpf_programs_for_devices_are_tried() -> None:
    found = complaint(facts=without(device_filter=errno.EINVAL))
    assert (found.name, found.detail) == ("devices", "Invalid argument (EINVAL)")


def test_without_cgroup_kill_the_freezer_helps() -> None:
    host = msgspec.structs.replace(HOST, limit_files=LimitFiles(V2_FILES - {"cgroup.kill"}, weighed=(("sda", "bfq"),)))
    (found,) = [finding for finding in findings(host) if finding.name == "killing a whole group"]
    assert (found.status, found.detail[:6]) == ("ok", "frozen")


def test_who_manages_the_control_groups_is_said() -> None:
    for is_systemd, word in ((True, "cloison.slice"), (False, "cgroupfs")):
        host = msgspec.structs.replace(HOST, is_systemd=is_systemd)
        (found,) = [finding for finding in findings(host) if finding.name == "manager"]
        assert found.status == "ok"
        assert word in found.detail


def test_a_systemd_that_cannot_be_asked_is_in_the_way() -> None:
    found = complaint(programs={**HOST.programs, "systemd-run": None})
    assert (found.name, found.status, found.needed) == ("manager", "missing", "required")
    assert found.detail == "systemd, which cannot be asked without systemd-run"


def test_a_user_cannot_ask_systemd_for_groups() -> None:
    host = msgspec.structs.replace(HOST, facts=msgspec.structs.replace(FACTS, euid=1000), user="ana")
    (found,) = [finding for finding in complaints(host) if finding.name == "manager"]
    assert (found.status, found.hint) == ("limited", "run as root")


def test_a_host_without_control_groups_is_told_how_to_mount_them() -> None:
    found = complaint(world=CgroupWorld("none", ()))
    assert (found.name, found.hint) == ("hierarchies", "mount -t cgroup2 none /sys/fs/cgroup")


def test_control_groups_that_cannot_be_written_are_limited() -> None:
    found = complaints(msgspec.structs.replace(HOST, writable=frozenset()))
    assert {finding.status for finding in found} == {"limited"}
    assert {finding.topic for finding in found} == {"Control groups"}


def test_a_file_system_that_cannot_map_ids_is_named() -> None:
    found = complaint(facts=without(idmapped_mounts=errno.EINVAL), space=Space("zfs", 50 << 30, 100 << 30, None))
    assert found.detail == "zfs, at /var/lib/cloison, cannot map ids with this kernel"
    assert "security.privileged=true does without" in found.hint


def test_who_may_not_map_ids_is_not_sent_to_another_file_system() -> None:
    assert complaint(facts=without(idmapped_mounts=errno.EPERM)).hint.startswith("run as root")


def test_what_could_not_be_tried_is_not_called_refused() -> None:
    assert complaint(facts=without(idmapped_overlay=None)).detail.startswith("could not be tried")


def test_a_disk_that_is_nearly_full_is_limited() -> None:
    found = complaint(space=Space("ext4", 100 << 20, 100 << 30, 5))
    assert found.detail == "100M of 100G free, 5 inodes"


def test_a_file_system_without_inodes_is_not_short_of_them() -> None:
    assert complaints(msgspec.structs.replace(HOST, space=Space("btrfs", 50 << 30, 100 << 30, None))) == []


def test_a_capability_that_is_out_of_reach_is_named() -> None:
    bounding = ALL_CAPABILITIES & ~(1 << CAP_SYS_RESOURCE)
    found = complaint(privileges=Privileges(0, bounding, bounding, 40))
    assert (found.status, found.detail) == ("limited", "beyond reach, here and inside: CAP_SYS_RESOURCE")


def test_nothing_goes_without_sys_admin() -> None:
    bounding = ALL_CAPABILITIES & ~(1 << CAP_SYS_ADMIN)
    found = complaint(privileges=Privileges(0, bounding, bounding, 40))
    assert (found.status, found.needed) == ("missing", "required")


def test_a_kind_of_interface_that_is_missing_is_not_in_this_kernel() -> None:
    found = complaint(facts=without(ipvlan=errno.EOPNOTSUPP))
    assert (found.name, found.detail) == ("ipvlan", "not in this kernel")


@pytest.mark.parametrize(
    ("found", "is_installed", "status", "detail", "hint"),
    [
        (Lxcfs(DIRECTORY, is_mounted=False), False, "missing", "not installed", "apt-get install"),
        (Lxcfs(DIRECTORY, is_mounted=False), True, "missing", "installed, but not mounted", "systemctl start lxcfs"),
        (Lxcfs(DIRECTORY, is_mounted=True), True, "missing", "its daemon has died", "systemctl restart lxcfs"),
        (Lxcfs(DIRECTORY, is_mounted=True, files=FILES[1:]), True, "limited", "without /proc/cpuinfo", "lxcfs 4"),
    ],
)
def test_every_state_of_lxcfs_is_told_apart(
    found: Lxcfs, *, is_installed: bool, status: str, detail: str, hint: str
) -> None:
    programs = {**HOST.programs, "lxcfs": "/usr/bin/lxcfs" if is_installed else None}
    said = complaint(lxcfs=found, programs=programs)
    assert (said.topic, said.name, said.status) == ("Console", "lxcfs", status)
    assert detail in said.detail
    assert hint in said.hint


def test_a_program_that_is_missing_comes_with_its_package() -> None:
    found = complaint(programs={**HOST.programs, "nft": None})
    assert found.hint == "apt-get install --no-install-recommends nftables"


def test_a_busybox_that_needs_libraries_is_of_limited_use() -> None:
    found = complaint(is_busybox_static=False)
    assert (found.status, found.hint) == ("limited", "apt-get install --no-install-recommends busybox-static")


def test_a_ceiling_that_is_low_is_said_with_what_would_do() -> None:
    found = complaint(parameters={**HOST.parameters, "fs.inotify.max_user_instances": 128})
    assert (found.status, found.detail) == ("limited", "128, where 1024 is enough")
    assert found.hint.startswith("sysctl -w fs.inotify.max_user_instances=1024,")


def test_a_ceiling_that_the_kernel_does_not_have_limits_nothing() -> None:
    assert complaints(msgspec.structs.replace(HOST, parameters={})) == []


# --- the same as errors ----------------------------------------------------------------------------------------------


def test_an_able_host_may_start() -> None:
    require_start(FACTS, is_privileged=False)


def refusal(facts: HostFacts, *, is_privileged: bool = False) -> str:
    with pytest.raises(Unsupported) as refused:
        require_start(facts, is_privileged=is_privileged)
    assert refused.value.hint
    return str(refused.value)


def test_neither_root_nor_user_namespaces() -> None:
    facts = msgspec.structs.replace(without(user_namespace=errno.EPERM), euid=1000)
    assert refusal(facts, is_privileged=True) == (
        "cannot start: this is not root, and user namespaces are refused to it: Operation not permitted (EPERM)"
    )


def test_no_overlay() -> None:
    sentence = "cannot start: this kernel has no overlayfs, of which every root file system is made"
    assert refusal(without(overlay=errno.ENODEV), is_privileged=True) == sentence


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("user_namespace", "user namespaces are refused"),
        ("overlay_in_userns", "overlayfs is refused inside a user namespace"),
        ("idmapped_mounts", "the file system of /var/lib/cloison cannot map ids"),
        ("idmapped_overlay", "overlayfs cannot use layers with mapped ids"),
    ],
)
def test_what_an_unprivileged_container_needs_a_privileged_one_does_without(name: str, what: str) -> None:
    facts = without(**{name: errno.EINVAL})
    assert refusal(facts) == f"cannot start an unprivileged container: {what}: Invalid argument (EINVAL)"
    require_start(facts, is_privileged=True)

"""The hierarchies of hosts and containers of many kinds, from the text of their /proc."""

import errno

from cloison.kernel.cgroup_world import CgroupWorld, Hierarchy, parse

ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"

PURE_V2 = f"""\
{ROOT}
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
"""
CO_MOUNTED = f"""\
{ROOT}
25 17 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:13 - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/cpuset rw,relatime shared:14 - cgroup cgroup rw,cpuset,clone_children
33 25 0:29 / /sys/fs/cgroup/net_cls,net_prio rw,relatime shared:15 - cgroup cgroup rw,net_cls,net_prio
34 25 0:30 / /sys/fs/cgroup/memory rw,relatime shared:16 - cgroup cgroup rw,memory
"""
CO_MOUNTED_SELF = """\
11:memory:/user.slice
4:net_cls,net_prio:/
3:cpu,cpuacct:/user.slice
2:cpuset:/
1:name=systemd:/user.slice/user-0.slice/session-1.scope
0::/user.slice/user-0.slice/session-1.scope
"""
HYBRID = f"""\
{ROOT}
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
# Docker's own container on a v1 host, without a cgroup namespace: it sees the branch that is its own.
DOCKER_V1 = """\
700 699 0:50 /docker/4f1c /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,memory
701 699 0:51 /docker/4f1c /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct
"""


def world(mountinfo: str, self_cgroup: str, controllers: str | None = "cpu memory pids\n") -> CgroupWorld:
    def answer(path: str) -> str:
        assert path.endswith("/cgroup.controllers")
        if controllers is None:
            raise PermissionError(errno.EACCES, "Permission denied")
        return controllers

    return parse(mountinfo, self_cgroup, answer)


def test_a_host_with_systemd_and_v2_alone() -> None:
    assert world(PURE_V2, "0::/user.slice/user-0.slice/session-3.scope\n") == CgroupWorld(
        "v2",
        (Hierarchy(("cpu", "memory", "pids"), "/sys/fs/cgroup", 2, "/user.slice/user-0.slice/session-3.scope"),),
    )


def test_a_v1_host_with_controllers_that_share_a_hierarchy() -> None:
    found = world(CO_MOUNTED, CO_MOUNTED_SELF)
    assert found == CgroupWorld(
        "v1",
        (
            Hierarchy(("name=systemd",), "/sys/fs/cgroup/systemd", 1, "/user.slice/user-0.slice/session-1.scope"),
            Hierarchy(("cpuset",), "/sys/fs/cgroup/cpuset", 1, "/"),
            Hierarchy(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", 1, "/user.slice"),
            Hierarchy(("net_cls", "net_prio"), "/sys/fs/cgroup/net_cls,net_prio", 1, "/"),
            Hierarchy(("memory",), "/sys/fs/cgroup/memory", 1, "/user.slice"),
        ),
    )


def test_a_controller_is_found_in_the_hierarchy_it_shares() -> None:
    cpuacct = world(CO_MOUNTED, CO_MOUNTED_SELF).of("cpuacct")
    assert cpuacct is not None and cpuacct.mountpoint == "/sys/fs/cgroup/cpu,cpuacct"


def test_a_controller_that_is_nowhere_is_none() -> None:
    assert world(CO_MOUNTED, CO_MOUNTED_SELF).of("pids") is None


def test_a_hybrid_host_whose_v2_tree_has_no_controller() -> None:
    found = world(HYBRID, "4:memory:/\n0::/\n", controllers="\n")
    assert found.kind == "hybrid"
    assert found.unified() == Hierarchy((), "/sys/fs/cgroup/unified", 2, "/")
    assert found.of("memory") == Hierarchy(("memory",), "/sys/fs/cgroup/memory", 1, "/")


def test_a_host_without_any_hierarchy_mounted() -> None:
    assert world(ROOT, "4:memory:/\n0::/\n") == CgroupWorld("none", ())


def test_there_is_no_v2_tree_on_a_v1_host() -> None:
    assert world(CO_MOUNTED, CO_MOUNTED_SELF).unified() is None


def test_a_container_that_sees_only_its_own_branch_sits_at_the_top_of_it() -> None:
    found = world(DOCKER_V1, "6:memory:/docker/4f1c\n2:cpu,cpuacct:/docker/4f1c/inner\n")
    assert [hierarchy.own_path for hierarchy in found.hierarchies] == ["/inner", "/"]


def test_a_container_in_a_cgroup_namespace_sits_at_the_top() -> None:
    mounted = "540 530 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n"
    assert world(mounted, "0::/\n").hierarchies[0].own_path == "/"


def test_a_mount_from_outside_the_cgroup_namespace_is_used_from_its_top() -> None:
    mounted = "540 530 0:26 /../.. /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw\n"
    assert world(mounted, "0::/\n").hierarchies[0].own_path == "/"


def test_a_process_outside_its_cgroup_namespace_is_taken_as_at_the_top() -> None:
    assert world(PURE_V2, "0::/../../init.scope\n").hierarchies[0].own_path == "/"


def test_a_cgroup_whose_name_begins_with_two_dots_is_not_outside() -> None:
    assert world(PURE_V2, "0::/..odd\n").hierarchies[0].own_path == "/..odd"


def test_a_branch_with_a_similar_name_is_not_ours() -> None:
    mounted = "540 530 0:26 /docker/4f /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw\n"
    assert world(mounted, "0::/docker/4f1c\n").hierarchies[0].own_path == "/"


def test_of_several_mounts_the_one_that_shows_this_process_is_taken() -> None:
    mounted = (
        "540 530 0:26 /other /mnt/first rw,relatime - cgroup2 cgroup rw\n"
        "541 530 0:26 / /mnt/whole rw,relatime - cgroup2 cgroup rw\n"
    )
    assert world(mounted, "0::/mine\n").hierarchies[0] == Hierarchy(("cpu", "memory", "pids"), "/mnt/whole", 2, "/mine")


def test_of_mounts_stacked_on_one_mount_point_the_topmost_counts() -> None:
    mounted = (
        "540 530 0:26 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw\n"
        "541 540 0:26 /mine /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw\n"
    )
    assert world(mounted, "0::/mine/deep\n").hierarchies[0].own_path == "/deep"


def test_an_odd_mount_point_is_read_as_it_is_meant() -> None:
    mounted = r"540 530 0:26 / /mnt/my\040groups\134 rw,relatime - cgroup2 cgroup rw" + "\n"
    assert world(mounted, "0::/\n").hierarchies[0].mountpoint == "/mnt/my groups\\"


def test_a_cgroup_with_colons_in_its_name_is_read_whole() -> None:
    assert world(PURE_V2, "0::/system.slice/a:b:c\n").hierarchies[0].own_path == "/system.slice/a:b:c"


def test_a_removed_cgroup_is_named_as_it_was() -> None:
    assert world(PURE_V2, "0::/gone (deleted)\n").hierarchies[0].own_path == "/gone"


def test_a_v2_tree_that_may_not_be_read_has_no_controller_for_us() -> None:
    assert world(PURE_V2, "0::/\n", controllers=None).hierarchies[0].controllers == ()


def test_a_file_system_that_only_sounds_like_one_is_no_hierarchy() -> None:
    mounted = "540 530 0:26 / /mnt rw,relatime - cgroupfs cgroup rw\n"
    assert world(mounted, "0::/\n").kind == "none"

"""Where an instance lives: at the top of every hierarchy, or in the directory that systemd has left to cloison."""

from pathlib import Path

import pytest

from cloison.kernel.cgroup_world import CgroupWorld, Hierarchy
from cloison.plan import cgroups, limits
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace
from cloison.plan.steps import AttachSelf, Write
from cloison.runtime import host
from cloison.spec.oci import HugepageLimit, MemoryLimits, Resources

SCOPE = "/cloison.slice/cloison.scope"
ID = "c0ffee000001"
ALL = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")


@pytest.fixture
def tree(tmp_path: Path) -> Hierarchy:
    """A v2 tree, in which this process is in somebody's session."""
    return Hierarchy(ALL, str(tmp_path), 2, "/user.slice/session-1.scope")


def place(hierarchy: Hierarchy, *others: Hierarchy, scope: str = SCOPE) -> CgroupPlace:
    world = CgroupWorld("hybrid" if others else "v2", (*others, hierarchy))
    return next(found for found in host.places(ID, scope, world=world) if found.top.startswith(hierarchy.mountpoint))


def test_without_systemd_it_is_at_the_top(tree: Hierarchy) -> None:
    found = place(tree, scope="")
    assert (found.top, found.outer) == (tree.mountpoint, f"{tree.mountpoint}/cloison/{ID}")
    assert (found.keepers, found.above) == ("", ())
    assert found.enable == ("cpuset", "cpu", "io", "memory", "pids")


def test_with_systemd_it_is_in_the_scope(tree: Hierarchy) -> None:
    found = place(tree)
    top = f"{tree.mountpoint}{SCOPE}"
    assert (found.top, found.outer, found.keepers) == (top, f"{top}/cloison/{ID}", f"{top}/keepers")
    assert found.above == (tree.mountpoint, f"{tree.mountpoint}/cloison.slice")


def test_only_what_systemd_hands_down_is_handed_on(tree: Hierarchy, tmp_path: Path) -> None:
    directory = tmp_path / SCOPE[1:]
    directory.mkdir(parents=True)
    (directory / "cgroup.controllers").write_text("cpu io memory pids\n")
    assert place(tree).enable == ("cpu", "io", "memory", "pids")


def test_who_was_started_outside_stays_there(tree: Hierarchy, tmp_path: Path) -> None:
    (tmp_path / "cloison" / ID).mkdir(parents=True)
    assert place(tree).top == tree.mountpoint


def test_of_v1_systemd_has_its_controllers_and_leaves_the_others(tmp_path: Path, tree: Hierarchy) -> None:
    hierarchies = {}
    for name in ("memory", "freezer", "devices"):
        hierarchies[name] = Hierarchy((name,), f"{tmp_path}/v1/{name}", 1, "/user.slice")
        (tmp_path / "v1" / name / "cloison.slice").mkdir(parents=True)
    for name in ("memory", "freezer"):
        (tmp_path / "v1" / name / SCOPE[1:]).mkdir()
    tops = {name: place(found, tree) for name, found in hierarchies.items()}
    assert tops["memory"].top == f"{tmp_path}/v1/memory{SCOPE}"
    assert tops["memory"].keepers == ""
    assert tops["freezer"].top == f"{tmp_path}/v1/freezer"  # not systemd's, whatever is in it
    assert tops["devices"].top == f"{tmp_path}/v1/devices"  # systemd's, but it has made nothing there


def test_where_there_is_no_v2_the_keepers_are_where_systemd_counts(tmp_path: Path) -> None:
    named = Hierarchy(("name=systemd",), f"{tmp_path}/systemd", 1, "/user.slice")
    (tmp_path / "systemd" / SCOPE[1:]).mkdir(parents=True)
    (found,) = host.places(ID, SCOPE, world=CgroupWorld("v1", (named,)))
    assert found.keepers == f"{tmp_path}/systemd{SCOPE}/keepers"


def test_a_monitor_goes_to_the_keepers_unless_it_is_one(tree: Hierarchy) -> None:
    for own_path, expected in (("/user.slice/session-1.scope", 1), (f"{SCOPE}/keepers", 0)):
        found = place(Hierarchy(ALL, tree.mountpoint, 2, own_path))
        build = Builder("start web")
        cgroups.leave_callers(build, (found,))
        assert [action.step for action in build.plan().actions] == [AttachSelf(found.keepers)] * expected


def test_what_systemd_does_not_know_is_handed_down_from_the_very_top(tree: Hierarchy) -> None:
    found = place(tree)
    resources = Resources(memory=MemoryLimits(1 << 30), hugepage_limits=(HugepageLimit("2MB", 4 << 20),))
    steps = cgroups.hand_down(found, limits.settings((found,), resources))
    written = {
        step.path.removesuffix("/cgroup.subtree_control"): step.data for step in steps if isinstance(step, Write)
    }
    assert {written[directory] for directory in found.above} == {"+hugetlb"}
    assert "+hugetlb" in written[found.top]
    assert "+memory" in written[found.top]


def test_what_systemd_knows_is_left_to_it(tree: Hierarchy) -> None:
    found = place(tree)
    steps = cgroups.hand_down(found, limits.settings((found,), Resources(memory=MemoryLimits(1 << 30))))
    assert not [step for step in steps if isinstance(step, Write) and step.path.rsplit("/", 1)[0] in found.above]

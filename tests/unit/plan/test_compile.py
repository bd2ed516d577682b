"""Single sentences about start and exec plans: one base container, each test changes one thing and looks at one."""

from typing import TypeVar

import pytest

from cloison.base.errors import Invalid, Unsupported
from cloison.kernel.abi import CLONE_NEWNET, CLONE_NEWUSER, MOUNT_ATTR_IDMAP, MOUNT_ATTR_RDONLY
from cloison.plan import mount_steps, network_steps, process_steps, steps
from cloison.plan.mounts import split_options
from cloison.plan.plan import Plan
from cloison.plan.process import programs_of
from cloison.plan.steps import Step, Where
from cloison.spec.oci import Mount
from tests.unit.plan import worlds

T = TypeVar("T", bound=Step)


def kinds(plan: Plan) -> list[str]:
    return [action.step.kind for action in plan.actions]


def all_of(plan: Plan, kind: type[T]) -> list[T]:
    return [action.step for action in plan.actions if isinstance(action.step, kind)]


def position(plan: Plan, kind: str) -> int:
    return kinds(plan).index(kind)


def last_move(plan: Plan) -> int:
    """The place of the last move into a group."""
    moves = [i for i, a in enumerate(plan.actions) if isinstance(a.step, steps.AttachSelf) and a.where is Where.INSIDE]
    return moves[-1]


def test_an_unprivileged_container_maps_every_layer_and_chowns_no_file_of_it() -> None:
    plan = worlds.start_plan()
    mapped = [step.tree for step in all_of(plan, mount_steps.MountSetattr) if step.set & MOUNT_ATTR_IDMAP]
    taken = [a.step.out for a in plan.actions if isinstance(a.step, mount_steps.OpenTree) and a.where is Where.HOST]
    assert mapped == taken
    assert all("cgroup" in step.path for step in all_of(plan, steps.Chown))


def test_a_privileged_container_has_no_user_namespace_and_maps_nothing() -> None:
    plan = worlds.start_plan("security.privileged=true")
    assert not all_of(plan, process_steps.Clone)[0].flags & CLONE_NEWUSER
    assert not any(step.set & MOUNT_ATTR_IDMAP for step in all_of(plan, mount_steps.MountSetattr))


def test_the_journal_goes_last_of_all() -> None:
    undo = list(worlds.start_plan().undo())
    assert [step for step, final in undo if final] == [
        steps.Unlink(worlds.FILES.socket),
        steps.Unlink(worlds.FILES.journal),
        steps.Rmdir(worlds.FILES.run_dir),
    ]
    assert [final for _step, final in undo] == sorted(final for _step, final in undo)


def test_everything_is_private_before_the_first_mount() -> None:
    plan = worlds.start_plan("security.privileged=true")
    assert position(plan, "root_propagation") < position(plan, "fsmount")
    assert position(plan, "root_propagation") < position(plan, "move_mount")


def test_limits_are_written_before_the_process_moves_in() -> None:
    plan = worlds.start_plan("limits.memory=64M")
    limit = next(
        i for i, a in enumerate(plan.actions) if isinstance(a.step, steps.Write) and "memory.limit" in a.step.path
    )
    assert limit < position(plan, "clone") < last_move(plan)


def test_limits_lie_outside_of_what_the_guest_can_write() -> None:
    plan = worlds.start_plan("limits.memory=64M", "limits.processes=10")
    limits = [step.path for step in all_of(plan, steps.Write) if step.path.endswith(("limit_in_bytes", "pids.max"))]
    assert limits
    assert not any("/guest" in path for path in limits)


def test_the_cgroup_namespace_begins_once_the_process_has_been_moved() -> None:
    plan = worlds.start_plan()
    assert last_move(plan) < position(plan, "unshare")


def test_the_seals_come_before_the_pivot_and_seccomp_after_every_mount() -> None:
    order = kinds(worlds.start_plan())
    assert order.index("readonly_path") < order.index("pivot_root") < order.index("load_seccomp")
    assert "move_mount" not in order[order.index("pivot_root") :]


def test_the_parent_death_signal_is_set_again_after_the_last_change_of_ids() -> None:
    order = kinds(worlds.start_plan())
    last_change = len(order) - 1 - order[::-1].index("setresuid")
    assert "pdeathsig" in order[last_change:]


def test_a_read_only_root_is_sealed_after_everything_was_mounted_on_it() -> None:
    plan = worlds.start_plan("security.read_only_root=true")
    seal = max(i for i, a in enumerate(plan.actions) if isinstance(a.step, mount_steps.MountSetattr))
    assert plan.actions[seal].step.set == MOUNT_ATTR_RDONLY  # type: ignore[attr-defined]
    assert kinds(plan)[seal + 1] == "pivot_root"


def test_the_host_network_is_shared_without_a_network_namespace() -> None:
    plan = worlds.start_plan("nics.eth0.type=host")
    assert not all_of(plan, process_steps.Clone)[0].flags & CLONE_NEWNET
    assert not all_of(plan, network_steps.LinkUp)


def test_capabilities_that_the_host_does_not_have_are_not_asked_for() -> None:
    plan = worlds.start_plan()
    assert all_of(plan, process_steps.DropBounding)[0].keep & ~worlds.ALL.capabilities == 0


def test_a_limit_without_a_controller_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="no memory control group"):
        worlds.start_plan("limits.memory=64M", places=(worlds.v1(("pids",)),))


def test_a_mount_target_must_be_absolute() -> None:
    from cloison.plan.rootfs import check_mounts
    from cloison.spec.oci import Linux, Process, Root, Spec

    with pytest.raises(Invalid, match="absolute path inside"):
        check_mounts(Spec(Process(("x",)), Root("/"), Linux(), mounts=(Mount("srv", "tmpfs"),)))


@pytest.mark.parametrize(
    ("word", "env", "programs"),
    [
        ("/bin/ls", (), ("/bin/ls",)),
        ("./ls", (), ("./ls",)),
        ("ls", ("PATH=/a:/b",), ("/a/ls", "/b/ls")),
        ("ls", ("PATH=:/b",), ("./ls", "/b/ls")),
    ],
)
def test_a_command_word_is_searched_as_a_shell_would(
    word: str, env: tuple[str, ...], programs: tuple[str, ...]
) -> None:
    assert programs_of(word, env) == programs


def test_mount_options_are_parted_into_attributes_and_words_for_the_file_system() -> None:
    attr_set, attr_clear, _propagation, rest = split_options(Mount("/x", options=("ro", "nosuid", "mode=755", "rw")))
    assert not attr_set & MOUNT_ATTR_RDONLY
    assert attr_clear & MOUNT_ATTR_RDONLY
    assert rest == ("mode=755",)

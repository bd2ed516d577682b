"""CPU sets of a running instance: filled, and given back, in the order and the words that the kernel takes."""

from cloison.plan import limits, live
from cloison.plan.builder import Builder
from cloison.plan.steps import Write
from cloison.spec.oci import CpuLimits, Resources
from tests.unit.plan import worlds

OUTER = worlds.V2[0].outer
SET = f"{OUTER}/cpuset.cpus"
ABOVE = {f"{OUTER.rsplit('/', 1)[0]}/cpuset.cpus.effective": "0-3"}


def changed(before: str, after: str, now: str) -> list[tuple[object, object]]:
    """What a change writes on v2, and what takes it back."""
    old, new = (limits.settings(worlds.V2, Resources(cpu=CpuLimits(cpus=cpus))) for cpus in (before, after))
    build = Builder("set the limits of web")
    live.change(build, live.targets(old, new), {SET: now, **ABOVE}, {})
    plan = build.plan()
    steps = [action.step for action in plan.actions], [step for step, _final in plan.undo()]
    written, taken_back = (
        [step.data for step in part if isinstance(step, Write) and step.path == SET] for part in steps
    )
    return list(zip(written, taken_back, strict=True))


def test_a_cpuset_of_v2_that_cannot_be_emptied_gets_all_there_is() -> None:
    assert changed("0", "", now="0") == [("0-3", "0")]


def test_a_cpuset_of_v2_that_was_empty_is_taken_back_to_all_there_is() -> None:
    assert changed("", "0", now="") == [("0", "0-3")]


def test_a_cpuset_of_v2_that_says_so_already_is_left_alone() -> None:
    assert changed("0", "1", now="1") == []

"""Limits as files: single sentences about one key in one world, where the golden plans show all of them together."""

import msgspec
import pytest

from cloison.base.cpu_lists import parse, write
from cloison.base.errors import Invalid, Unsupported
from cloison.engine.specification import live_limits
from cloison.plan import live
from cloison.plan.builder import Builder
from cloison.plan.inputs import CgroupPlace
from cloison.plan.limit_lines import amount, shares_of_weight, weight_of_shares
from cloison.plan.limits import settings
from cloison.plan.steps import Write
from cloison.spec.oci import BlockIo, CpuLimits, HugepageLimit, MemoryLimits, PidsLimits, Resources, ThrottleDevice
from tests.unit.plan import worlds

Places = tuple[CgroupPlace, ...]
V1, V2 = worlds.ALL_V1, worlds.ALL_V2


def written(places: Places, resources: Resources) -> dict[str, list[str]]:
    """What goes into which file."""
    found: dict[str, list[str]] = {}
    for setting in settings(places, resources):
        found.setdefault(setting.line.file, []).append(setting.data)
    return found


def raw(places: Places, **files: str) -> dict[str, list[str]]:
    return written(places, Resources(unified={name.replace("__", "."): value for name, value in files.items()}))


def test_swap_is_counted_with_the_memory_on_v1_and_without_it_on_v2() -> None:
    memory = Resources(memory=MemoryLimits(limit=100 << 20, swap=150 << 20))
    assert written(V1, memory)["memory.memsw.limit_in_bytes"] == [str(150 << 20)]
    assert written(V2, memory)["memory.swap.max"] == [str(50 << 20)]


@pytest.mark.parametrize("places", [V1, V2])
def test_swap_without_memory_cannot_be_counted(places: Places) -> None:
    with pytest.raises(Invalid, match="needs one of memory"):
        settings(places, Resources(memory=MemoryLimits(swap=1)))


@pytest.mark.parametrize("places", [V1, V2])
def test_memory_and_swap_together_are_not_less_than_the_memory(places: Places) -> None:
    with pytest.raises(Invalid, match="cannot be less than"):
        settings(places, Resources(memory=MemoryLimits(limit=2, swap=1)))


def test_no_limit_has_a_word_of_its_own_on_v2() -> None:
    nothing = Resources(memory=MemoryLimits(-1, -1, -1), cpu=CpuLimits(-1), pids=PidsLimits(-1))
    assert written(V2, nothing) == {
        "memory.max": ["max"],
        "memory.swap.max": ["max"],
        "memory.low": ["0"],
        "cpu.max": ["max 100000"],
        "pids.max": ["max"],
    }


def test_every_weight_survives_the_way_through_shares() -> None:
    assert [weight_of_shares(shares_of_weight(weight)) for weight in range(1, 10_001)] == list(range(1, 10_001))


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (Resources(memory=MemoryLimits(1)), "no memory control group"),
        (Resources(cpu=CpuLimits(10_000)), "no cpu control group"),
        (Resources(cpu=CpuLimits(cpus="0")), "no cpuset control group"),
        (Resources(block_io=BlockIo(throttle_read_bps_device=(ThrottleDevice(8, 0, 1),))), "no io or blkio"),
        (Resources(hugepage_limits=(HugepageLimit("2MB", 1),)), "no hugetlb control group"),
        (Resources(unified={"memory.high": "1"}), "no memory control group"),
    ],
)
def test_a_limit_without_a_controller_names_it_and_the_world(resources: Resources, said: str) -> None:
    with pytest.raises(Unsupported, match=said) as refused:
        settings((worlds.v1(("pids",)),), resources)
    assert "cgroup v1" in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize("places", [V1, V2])
def test_a_weight_of_block_io_needs_a_file_for_it(places: Places) -> None:
    bare = tuple(msgspec.structs.replace(place, weight_file="") for place in places)
    with pytest.raises(Unsupported, match=r"no weight of block I/O \(io.weight\) in its cgroup v") as refused:
        raw(bare, io__weight="200")
    assert "read_bps" in refused.value.hint


def test_the_bfq_scheduler_has_a_range_of_its_own() -> None:
    assert raw(V1, io__weight="1000") == {"blkio.bfq.weight": ["1000"]}
    with pytest.raises(Invalid, match="takes 1 to 1000"):
        raw(V1, io__weight="1001")


@pytest.mark.parametrize(
    ("name", "value", "v1", "v2"),
    [
        ("memory.max", "1G", {"memory.limit_in_bytes": ["1G"]}, {"memory.max": ["1G"]}),
        ("memory.max", "max", {"memory.limit_in_bytes": ["-1"]}, {"memory.max": ["max"]}),
        ("memory.limit_in_bytes", "-1", {"memory.limit_in_bytes": ["-1"]}, {"memory.max": ["max"]}),
        ("memory.low", "0", {"memory.soft_limit_in_bytes": ["-1"]}, {"memory.low": ["0"]}),
        ("memory.soft_limit_in_bytes", "5", {"memory.soft_limit_in_bytes": ["5"]}, {"memory.low": ["5"]}),
        ("cpu.weight", "50", {"cpu.shares": ["512"]}, {"cpu.weight": ["50"]}),
        ("cpu.shares", "2048", {"cpu.shares": ["2048"]}, {"cpu.weight": ["200"]}),
        (
            "cpu.max",
            "5000 10000",
            {"cpu.cfs_period_us": ["10000"], "cpu.cfs_quota_us": ["5000"]},
            {"cpu.max": ["5000 10000"]},
        ),
        ("cpu.cfs_quota_us", "-1", {"cpu.cfs_quota_us": ["-1"]}, {"cpu.max": ["max 100000"]}),
        ("cpu.cfs_period_us", "5000", {"cpu.cfs_period_us": ["5000"]}, {"cpu.max": ["max 5000"]}),
        ("cpu.max.burst", "7", {"cpu.cfs_burst_us": ["7"]}, {"cpu.max.burst": ["7"]}),
        ("cpu.cfs_burst_us", "7", {"cpu.cfs_burst_us": ["7"]}, {"cpu.max.burst": ["7"]}),
        ("pids.max", "7", {"pids.max": ["7"]}, {"pids.max": ["7"]}),
        ("cpuset.mems", "0", {"cpuset.mems": ["0"]}, {"cpuset.mems": ["0"]}),
        (
            "io.max",
            "8:0 rbps=7 wiops=max",
            {"blkio.throttle.read_bps_device": ["8:0 7"], "blkio.throttle.write_iops_device": ["8:0 0"]},
            {"io.max": ["8:0 rbps=7", "8:0 wiops=max"]},
        ),
        (
            "blkio.throttle.write_bps_device",
            "8:0 0",
            {"blkio.throttle.write_bps_device": ["8:0 0"]},
            {"io.max": ["8:0 wbps=max"]},
        ),
        ("io.weight", "default 300", {"blkio.bfq.weight": ["300"]}, {"io.weight": ["default 300"]}),
        ("blkio.bfq.weight", "300", {"blkio.bfq.weight": ["300"]}, {"io.weight": ["default 300"]}),
        ("hugetlb.2MB.max", "7", {"hugetlb.2MB.limit_in_bytes": ["7"]}, {"hugetlb.2MB.max": ["7"]}),
        ("hugetlb.1GB.limit_in_bytes", "7", {"hugetlb.1GB.limit_in_bytes": ["7"]}, {"hugetlb.1GB.max": ["7"]}),
        ("memory.something_new", "7", {"memory.something_new": ["7"]}, {"memory.something_new": ["7"]}),
    ],
)
def test_a_file_by_its_name_is_translated(
    name: str, value: str, v1: dict[str, list[str]], v2: dict[str, list[str]]
) -> None:
    assert written(V1, Resources(unified={name: value})) == v1
    assert written(V2, Resources(unified={name: value})) == v2


def test_quota_and_period_by_name_become_one_file_on_v2() -> None:
    files = {"cpu.cfs_quota_us": "5000", "cpu.cfs_period_us": "10000"}
    assert written(V2, Resources(unified=files)) == {"cpu.max": ["5000 10000"]}
    assert written(V2, Resources(unified=dict(reversed(files.items())))) == {"cpu.max": ["5000 10000"]}


def test_swap_by_name_is_counted_from_the_memory_that_is_limited() -> None:
    memory = MemoryLimits(100 << 20)
    on_v1 = written(V1, Resources(memory=memory, unified={"memory.swap.max": "50M"}))
    on_v2 = written(V2, Resources(memory=memory, unified={"memory.memsw.limit_in_bytes": "150M"}))
    assert on_v1["memory.memsw.limit_in_bytes"] == [str(150 << 20)]
    assert on_v2["memory.swap.max"] == [str(50 << 20)]
    with pytest.raises(Invalid, match="needs a limit of memory"):
        raw(V1, memory__swap__max="50M")


@pytest.mark.parametrize(
    ("places", "name", "world"),
    [(V1, "memory.high", "cgroup v1"), (V1, "io.latency", "cgroup v1"), (V2, "memory.swappiness", "cgroup v2")],
)
def test_a_file_without_a_translation_names_the_world_and_the_alternative(
    places: Places, name: str, world: str
) -> None:
    with pytest.raises(Unsupported, match=name) as refused:
        settings(places, Resources(unified={name: "1"}))
    assert world in str(refused.value)
    assert "limits." in refused.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [("io.max", "8:0"), ("io.max", "8:0 bps=1"), ("cpu.weight", "x"), ("io.weight", "much"), ("memory.swap.max", "x")],
)
def test_what_cannot_be_translated_is_refused(name: str, value: str) -> None:
    with pytest.raises(Invalid, match=name):
        settings(V1, Resources(memory=MemoryLimits(1 << 20), unified={name: value}))


def test_a_file_by_its_name_wins_over_the_key_and_is_written_once() -> None:
    assert written(V2, Resources(memory=MemoryLimits(1), unified={"memory.max": "2"})) == {"memory.max": ["2"]}


def test_a_file_by_its_name_leaves_the_other_rates_of_the_disk() -> None:
    io = BlockIo(throttle_read_bps_device=(ThrottleDevice(8, 0, 1),))
    found = written(V2, Resources(block_io=io, unified={"io.max": "8:0 wbps=2"}))
    assert found == {"io.max": ["8:0 rbps=1", "8:0 wbps=2"]}


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("2K", 2048), ("1g", 1 << 30), ("max", float("inf")), ("-1", float("inf")), ("x", None)],
)
def test_amounts_are_read_as_the_kernel_reads_them(text: str, number: float | None) -> None:
    assert amount(text) == number


# --- live --------------------------------------------------------------------------------------------------


def order(places: Places, before: Resources, after: Resources) -> list[str]:
    old, new = settings(places, before), settings(places, after)
    files = {setting.path: setting.line.item + setting.line.value for setting in old}
    return [setting.line.file for setting in live.ordered(live.targets(old, new), files)]


SMALL = Resources(memory=MemoryLimits(limit=10, swap=20), cpu=CpuLimits(10_000, burst=5_000))
LARGE = Resources(memory=MemoryLimits(limit=30, swap=40), cpu=CpuLimits(30_000, burst=20_000))


def test_what_is_raised_keeps_out_of_its_bounds_way() -> None:
    found = order(V1, SMALL, LARGE)
    assert found.index("memory.memsw.limit_in_bytes") < found.index("memory.limit_in_bytes")
    assert found.index("cpu.cfs_quota_us") < found.index("cpu.cfs_burst_us")


def test_what_is_lowered_does_so_too() -> None:
    found = order(V1, LARGE, SMALL)
    assert found.index("memory.limit_in_bytes") < found.index("memory.memsw.limit_in_bytes")
    assert found.index("cpu.cfs_burst_us") < found.index("cpu.cfs_quota_us")


@pytest.mark.parametrize("places", [V1, worlds.ALL_HYBRID, V2])
def test_every_limit_but_those_by_name_has_a_usual_value(places: Places) -> None:
    every = settings(places, live_limits(worlds.record(*worlds.EVERY_LIMIT).config).resources)
    gone = live.targets(every, ())
    assert {setting.identity for setting in gone} == {setting.identity for setting in every}


def test_a_file_of_unknown_usual_value_cannot_be_taken_back_live() -> None:
    swappiness = settings(V1, Resources(unified={"memory.swappiness": "7"}))
    with pytest.raises(Unsupported, match=r"memory.swappiness cannot be taken back .*") as refused:
        live.targets(swappiness, ())
    assert "--next-start" in refused.value.hint


def test_the_present_rate_of_a_disk_is_found_among_others() -> None:
    (rate,) = settings(V2, Resources(unified={"io.max": "8:0 wbps=2"}))
    assert live.present(rate, "7:0 wbps=9\n8:0 rbps=1 wbps=77 riops=max wiops=max\n") == "77"
    assert live.present(rate, "7:0 wbps=9\n") == "max"
    assert live.present(rate, None) == "max"


def cpuset_writes(before: str, nested: str, after: str) -> list[tuple[str, str]]:
    place = worlds.v1(("cpuset",), worlds.CPUSETS)
    setting = settings((place,), Resources(cpu=CpuLimits(cpus=after)))[0]
    below = (place.inner, f"{place.inner}/nested")
    files = {f"{directory}/cpuset.cpus": before for directory in (place.outer, place.inner)}
    files[f"{below[1]}/cpuset.cpus"] = nested
    build = Builder("")
    live.change(build, (setting,), files, {place.outer: below})
    steps = [action.step for action in build.plan().actions]
    return [(step.path.removeprefix(place.outer), step.data) for step in steps if isinstance(step, Write)]


def simulated(before: str, nested: str, after: str) -> dict[str, frozenset[int]]:
    """What the groups have at the end; no group may have more than the one above it at any moment."""
    now = {"": parse(before), "/guest": parse(before), "/guest/nested": parse(nested)}
    for path, data in cpuset_writes(before, nested, after):
        now[path.removesuffix("/cpuset.cpus")] = parse(data)
        assert now["/guest/nested"] <= now["/guest"] <= now[""], (path, data)
        assert all(now.values())
    return now


@pytest.mark.parametrize("before", ["0-3", "0", "1-2"])
@pytest.mark.parametrize("after", ["0-3", "0", "3", "2-3"])
@pytest.mark.parametrize("is_restricted", [True, False])
def test_a_cpuset_of_v1_moves_without_leaving_one_that_it_is_in(
    before: str,
    after: str,
    is_restricted: bool,  # noqa: FBT001
) -> None:
    nested = write(frozenset({max(parse(before))})) if is_restricted else before
    end = simulated(before, nested, after)
    assert end[""] == end["/guest"] == parse(after)
    if not is_restricted:
        assert end["/guest/nested"] == parse(after)

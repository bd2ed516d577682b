"""What the texts of control group files say, in the words of all three worlds."""

from cloison.kernel.cgroups import CgroupUsage, counted
from cloison.plan.cgroups import sampled
from cloison.plan.inputs import CgroupPlace
from tests.unit.plan import worlds

OUTER = "/sys/fs/cgroup/{}/cloison/c0ffee000001"
V1 = {
    "cpuacct/cloison/c0ffee000001/cpuacct.usage": "2500000000\n",
    "cpu/cloison/c0ffee000001/cpu.stat": "nr_periods 12\nnr_throttled 3\nthrottled_time 40000000\nnr_bursts 0\n",
    "memory/cloison/c0ffee000001/memory.usage_in_bytes": "4194304\n",
    "memory/cloison/c0ffee000001/memory.max_usage_in_bytes": "8388608\n",
    "memory/cloison/c0ffee000001/memory.memsw.usage_in_bytes": "5242880\n",
    "memory/cloison/c0ffee000001/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "memory/cloison/c0ffee000001/guest/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "blkio/cloison/c0ffee000001/blkio.throttle.io_service_bytes_recursive": (
        "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 0\n8:0 Total 12288\n7:1 Read 1\n7:1 Write 2\nTotal 12291\n"
    ),
    "pids/cloison/c0ffee000001/pids.current": "7\n",
}
V2 = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\nnr_throttled 3\nthrottled_usec 40000\n",
    "memory.current": "4194304\n",
    "memory.peak": "8388608\n",
    "memory.swap.current": "1048576\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 3\noom_group_kill 0\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:1 rbytes=1 wbytes=2 rios=1 wios=1\n",
    "pids.current": "7\n",
}
BOTH = CgroupUsage(
    cpu_ns=2_500_000_000,
    memory_bytes=4 << 20,
    memory_peak_bytes=8 << 20,
    processes=7,
    swap_bytes=1 << 20,
    cpu_throttled_ns=40_000_000,
    read_bytes=4097,
    written_bytes=8194,
    oom_kills=3,
)


def test_v1_and_v2_say_the_same_in_their_own_words() -> None:
    assert counted(V1.items()) == counted(V2.items()) == BOTH


def test_without_a_swap_count_there_is_none() -> None:
    texts = [(path, text) for path, text in V1.items() if "memsw" not in path]
    assert counted(texts).swap_bytes is None


def test_a_page_that_moves_between_two_reads_makes_no_negative_swap() -> None:
    texts = {"memory.usage_in_bytes": "4194304", "memory.memsw.usage_in_bytes": "4190208"}
    assert counted(texts.items()).swap_bytes == 0


def test_the_cpu_time_of_a_hybrid_host_is_that_of_its_v1_controller() -> None:
    assert counted([("cpuacct.usage", "7"), ("cpu.stat", "usage_usec 1\n")]).cpu_ns == 7
    assert counted([("cpu.stat", "usage_usec 1\n"), ("cpuacct.usage", "7")]).cpu_ns == 7


def test_nothing_moved_is_none_and_not_unknown() -> None:
    assert counted([("io.stat", "")]).read_bytes == 0
    assert counted([("blkio.throttle.io_service_bytes_recursive", "Total 0\n")]).written_bytes == 0


def test_what_nobody_counts_is_unknown() -> None:
    assert counted([("pids.current", "max"), ("memory.stat", "anon 1")]) == CgroupUsage()


def named(places: tuple[CgroupPlace, ...]) -> list[str]:
    return [path.split("/cloison/c0ffee000001/")[1] for path in sampled(places)]


def test_every_file_is_asked_for_where_its_controller_is() -> None:
    assert sampled(worlds.HYBRID) == (
        OUTER.format("cpu") + "/cpu.stat",
        OUTER.format("memory") + "/memory.usage_in_bytes",
        OUTER.format("memory") + "/memory.max_usage_in_bytes",
        OUTER.format("memory") + "/memory.memsw.usage_in_bytes",
        OUTER.format("memory") + "/memory.oom_control",
        OUTER.format("memory") + "/guest/memory.oom_control",
        OUTER.format("pids") + "/pids.current",
        OUTER.format("unified") + "/cpu.stat",
    )


def test_v2_has_one_directory_for_all() -> None:
    assert sorted(named(worlds.V2)) == sorted(V2)


def test_where_v1_counts_the_cpu_time_v2_is_not_asked_for_it() -> None:
    assert "cpu.stat" in named(worlds.V1)  # the throttled time
    assert "cpu.stat" not in named((worlds.v1(("cpuacct",)), worlds.v2("/sys/fs/cgroup/unified", ())))

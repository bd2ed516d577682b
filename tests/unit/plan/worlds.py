"""The worlds and the containers that plans are compiled for in tests: values, no kernel is asked."""

import msgspec

from cloison.base.capabilities import CAPABILITIES, capability_mask
from cloison.engine.records import Record
from cloison.engine.specification import specification, writable_paths
from cloison.plan.inputs import CgroupPlace, HostLimits, OverlayRoot, Places, RootSource
from cloison.plan.plan import Plan
from cloison.plan.start import compile_start
from cloison.spec.config import Config, assign_all
from cloison.spec.network import Interface

ALL = HostLimits(capability_mask(CAPABILITIES))
FILES = Places(
    run_dir="/run/cloison/c0ffee000001",
    journal="/run/cloison/c0ffee000001/journal",
    socket="/run/cloison/c0ffee000001/monitor.sock",
    log="/var/lib/cloison/instances/c0ffee000001/console.log",
    log_size_bytes=1 << 20,
    record="/var/lib/cloison/instances/c0ffee000001/exit",
)
ROOT = OverlayRoot(("/var/lib/cloison/images/layers/aa11",), "/var/lib/cloison/instances/c0ffee000001")
SECCOMP = b"\x06\x00\x00\x00\x00\x00\xff\x7f"  # one instruction: allow


def v1(controllers: tuple[str, ...], presets: tuple[tuple[str, str], ...] = ()) -> CgroupPlace:
    top = f"/sys/fs/cgroup/{','.join(controllers).removeprefix('name=')}"
    outer = f"{top}/cloison/c0ffee000001"
    return CgroupPlace(1, controllers, top, outer, f"{outer}/guest", presets)


def v2(top: str, controllers: tuple[str, ...]) -> CgroupPlace:
    outer = f"{top}/cloison/c0ffee000001"
    return CgroupPlace(2, controllers, top, outer, f"{outer}/guest", (), controllers)


V1 = (
    v1(("freezer",)),
    v1(("cpu", "cpuacct")),
    v1(("cpuset",), (("cpuset.cpus", "0-1"), ("cpuset.mems", "0"))),
    v1(("devices",)),
    v1(("memory",)),
    v1(("pids",)),
    v1(("name=systemd",)),
)
HYBRID = (v1(("cpu",)), v1(("memory",)), v1(("pids",)), v2("/sys/fs/cgroup/unified", ()))
V2 = (v2("/sys/fs/cgroup", ("cpu", "cpuset", "io", "memory", "pids")),)

# Every controller that a limit can need, and a file of weights.
CPUSETS = (("cpuset.cpus", "0-3"), ("cpuset.mems", "0"))
ALL_V1 = (
    v1(("freezer",)),
    v1(("cpu", "cpuacct")),
    v1(("cpuset",), CPUSETS),
    v1(("devices",)),
    msgspec.structs.replace(v1(("blkio",)), weight_file="blkio.bfq.weight"),
    v1(("memory",)),
    v1(("hugetlb",)),
    v1(("pids",)),
    v1(("name=systemd",)),
)
ALL_HYBRID = (
    v1(("cpu",)),
    v1(("cpuset",), CPUSETS),
    msgspec.structs.replace(v1(("blkio",)), weight_file="blkio.weight"),
    v1(("memory",)),
    v1(("pids",)),
    msgspec.structs.replace(v2("/sys/fs/cgroup/unified", ("hugetlb",)), enable=()),
)
ALL_V2 = (
    msgspec.structs.replace(
        v2("/sys/fs/cgroup", ("cpu", "cpuset", "io", "memory", "hugetlb", "pids")),
        enable=("cpu", "cpuset", "io", "memory", "pids"),
        weight_file="io.weight",
    ),
)
EVERY_LIMIT = (
    "limits.memory=256M",
    "limits.memory_soft=128M",
    "limits.swap=64M",
    "limits.hugepages.2M=8M",
    "limits.cpus=0.5",
    "limits.cpu_set=0-1,3",
    "limits.cpu_weight=300",
    "limits.cpu_burst=20ms",
    "limits.processes=64",
    "limits.io.weight=200",
    "limits.io.8:0.read_bps=10M",
    "limits.io.8:0.write_iops=100",
    "limits.io.259:0.write_bps=1M",
    "limits.devices=deny a, allow c 1:3 rwm, allow c 1:* r, allow b 7:* rw",
    "limits.rlimits.nofile=1024:4096",
    "limits.sysctls.net.ipv4.ip_forward=1",
    "limits.oom_score=500",
    "limits.raw.cpuset.mems=0",
)


def record(*settings: str, command: tuple[str, ...] = ("/sbin/init",), image: str = "debian/12") -> Record:
    return Record(
        id="c0ffee000001",
        name="web",
        kind="container",
        image="sha256:" + "0" * 64,
        image_name=image,
        created_ns=0,
        id_base=1_048_576,
        config=assign_all(Config(), settings),
        layers=ROOT.lower,
        command=command,
        stop_signal="SIGRTMIN+3",
    )


def start_plan(
    *settings: str,
    places: tuple[CgroupPlace, ...] = HYBRID,
    image: str = "debian/12",
    interfaces: tuple[Interface, ...] = (),
    is_loopback_up: bool = True,
    root: RootSource = ROOT,
) -> Plan:
    wanted = record(*settings, image=image)
    return compile_start(
        "start web",
        specification(wanted, boottime_ns=5_000_000_001, monotonic_ns=4_000_000_000),
        root=root,
        places=places,
        files=FILES,
        host=ALL,
        seccomp=SECCOMP,
        writable=writable_paths(wanted.config),
        reboot=("/usr/bin/python3", "-m", "cloison", "_reboot", wanted.id),
        alarm=("/usr/bin/python3", "-m", "cloison", "_oom", wanted.id),
        interfaces=interfaces,
        is_loopback_up=is_loopback_up,
        nft="/usr/sbin/nft",
    )

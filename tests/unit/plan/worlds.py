"""The worlds and the containers that plans are compiled for in tests: values, no kernel is asked."""

from cloison.base.capabilities import CAPABILITIES, capability_mask
from cloison.engine.records import Record
from cloison.engine.specification import specification, writable_paths
from cloison.plan.inputs import CgroupPlace, HostLimits, OverlayRoot, Places
from cloison.plan.plan import Plan
from cloison.plan.start import compile_start
from cloison.spec.config import Config, assign_all

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
    v1(("memory",)),
    v1(("pids",)),
    v1(("name=systemd",)),
)
HYBRID = (v1(("cpu",)), v1(("memory",)), v1(("pids",)), v2("/sys/fs/cgroup/unified", ()))
V2 = (v2("/sys/fs/cgroup", ("cpu", "cpuset", "io", "memory", "pids")),)


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


def start_plan(*settings: str, places: tuple[CgroupPlace, ...] = HYBRID, image: str = "debian/12") -> Plan:
    wanted = record(*settings, image=image)
    return compile_start(
        "start web",
        specification(wanted, boottime_ns=5_000_000_001, monotonic_ns=4_000_000_000),
        root=ROOT,
        places=places,
        files=FILES,
        host=ALL,
        seccomp=SECCOMP,
        writable=writable_paths(wanted.config),
        reboot=("/usr/bin/python3", "-m", "cloison", "_reboot", wanted.id),
        alarm=("/usr/bin/python3", "-m", "cloison", "_oom", wanted.id),
    )

"""LXC, with configurations made by hand: mapped ids as ours, the root filesystem idmapped, no network but loopback.

As root LXC calls newuidmap(1) where it finds it, which wants an entry for root in /etc/subuid; where it does not find
it, it writes the map itself. So its PATH here leads past it: nothing of the host is changed, and it is spared two
programs per start.
"""

import contextlib
from pathlib import Path

from bench.ground import CGROUPS, Ground, processes
from bench.processes import ENVIRONMENT as OURS
from bench.processes import Failed, found, output

ENVIRONMENT = OURS | {"PATH": "/usr/sbin:/sbin"}
FIRST_ID = 1_000_000_000  # far from the ranges that distributions and cloison give out
NO_NETWORK = ("lxc.net.0.type = empty",)


def configure(
    ground: Ground,
    name: str,
    rootfs: Path,
    *,
    init: str = "/sbin/init",
    limits: bool = False,
    network: tuple[str, ...] = NO_NETWORK,
) -> str:
    """Write the configuration of a container; its full name. Stopped at the end. `network` are its lines about that."""
    full = f"{ground.mark}-{name}"
    lines = [
        f"lxc.uts.name = {name}",
        f"lxc.rootfs.path = dir:{rootfs}",
        "lxc.rootfs.options = idmap=container",
        f"lxc.idmap = u 0 {FIRST_ID} 65536",
        f"lxc.idmap = g 0 {FIRST_ID} 65536",
        *network,
        f"lxc.init.cmd = {init}",
        "lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed",
        "lxc.tty.max = 0",
        "lxc.pty.max = 1024",
        f"lxc.console.logfile = {ground.directory('lxc-logs')}/{name}",
    ]
    if limits:
        lines += _limits()
    (ground.directory(f"lxc/{full}") / "config").write_text("\n".join(lines) + "\n")
    ground.later.callback(stop, ground, full)
    return full


def command(tool: str, ground: Ground, name: str, *words: str) -> list[str]:
    """The command line of an LXC tool for one of our containers."""
    return [found(tool), "-P", str(ground.made / "lxc"), "-n", name, *words]


def stop(ground: Ground, name: str) -> None:
    """Kill a container; one that is not running is no error."""
    with contextlib.suppress(Failed):
        output(command("lxc-stop", ground, name, "-k"), ENVIRONMENT)


def monitors(ground: Ground) -> list[int]:
    """The pids of the monitors of our containers."""
    mark = f"[lxc monitor] {ground.made}/lxc"
    return [pid for pid, line in processes(lambda line: line.startswith(mark))]


def _limits() -> list[str]:
    if (CGROUPS / "cgroup.controllers").exists():
        return ["lxc.cgroup2.memory.max = 64M", "lxc.cgroup2.pids.max = 100", "lxc.cgroup2.cpu.max = 100000 100000"]
    return [
        "lxc.cgroup.memory.limit_in_bytes = 64M",
        "lxc.cgroup.pids.max = 100",
        "lxc.cgroup.cpu.cfs_quota_us = 100000",
    ]

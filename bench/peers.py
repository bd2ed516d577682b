"""How each neighbour starts /bin/true in new namespaces on the shared root filesystem, as one whole process.

A peer that is not installed, or that cannot do it on this host, raises `Failed` with the reason.
"""

import json
import subprocess
from collections.abc import Callable

from bench import docker, lxc, podman
from bench.ground import CGROUPS, Ground
from bench.processes import ENVIRONMENT, Failed, elsewhere, found, output, timed
from bench.series import Measure


def crun(ground: Ground) -> Measure:
    """`crun run` without control groups.

    crun 1.8 refuses every host whose v2 tree has a controller beside v1 ones, even with its cgroups off: there it runs
    where that tree is not mounted."""
    bundle = _bundle(ground, "crun")
    command = [found("crun"), f"--root={ground.directory('crun-state')}", "--cgroup-manager=disabled", "run"]
    command += [f"--bundle={bundle}", ground.mark]
    controllers = CGROUPS / "unified" / "cgroup.controllers"
    if not (controllers.exists() and controllers.read_text().strip()):
        return lambda: timed(command)
    other = ground.later.enter_context(elsewhere(without=[str(CGROUPS / "unified")]))
    return lambda: other.timed(command)


def runc(ground: Ground) -> Measure:
    """`runc run`, with its cgroups, which it cannot do without."""
    bundle = _bundle(ground, "runc")
    command = [found("runc"), f"--root={ground.directory('runc-state')}", "run", f"--bundle={bundle}", ground.mark]
    return lambda: timed(command)


def bwrap(ground: Ground) -> Measure:
    """bubblewrap: every namespace it knows, /proc and /dev; no limits, no overlay."""
    command = [found("bwrap"), "--unshare-all", "--bind", str(ground.rootfs), "/", "--proc", "/proc", "--dev", "/dev"]
    return lambda: timed([*command, "/bin/true"])


def unshare(ground: Ground) -> Measure:
    """The floor: seven namespaces and a changed root, nothing mounted in it."""
    kinds = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--user", "--map-root-user"]
    command = [found("unshare"), *kinds, "--fork", f"--root={ground.rootfs}", "/bin/true"]
    return lambda: timed(command)


def nspawn(ground: Ground) -> Measure:
    """systemd-nspawn with mapped ids and its own network namespace, not registered anywhere."""
    command = [found("systemd-nspawn"), "--quiet", "--register=no", "--keep-unit", "--private-network"]
    command += ["--private-users=2147418112:65536", "--private-users-ownership=map", "--resolv-conf=off"]
    command += [
        "--timezone=off",
        "--machine=" + ground.mark.replace("_", "-"),
        f"--directory={ground.rootfs}",
        "/bin/true",
    ]
    return lambda: timed(command)


def lxc_execute(ground: Ground) -> Measure:
    """`lxc-execute` with mapped ids and limits."""
    name = lxc.configure(ground, "execute", ground.rootfs, init="/bin/true", limits=True)
    return lambda: timed(lxc.command("lxc-execute", ground, name, "--", "/bin/true"), lxc.ENVIRONMENT)


def podman_run(ground: Ground) -> Measure:
    """`podman run` on the root filesystem as it lies there."""
    return lambda: timed(
        [*podman.command(ground), *podman.run_words(ground), "--rm", "--rootfs", str(ground.rootfs), "/bin/true"]
    )


def docker_run(ground: Ground) -> Measure:
    """`docker run`, with a daemon that the bench has started."""
    client = docker.client(ground)
    return lambda: timed([*client, "run", "--rm", "--network=none", docker.IMAGE, "/bin/true"])


STARTS: dict[str, Callable[[Ground], Measure]] = {
    "crun run": crun,
    "runc run": runc,
    "bwrap": bwrap,
    "lxc-execute": lxc_execute,
    "systemd-nspawn": nspawn,
    "unshare": unshare,
    "podman run": podman_run,
    "docker run": docker_run,
}


def proven(name: str, ground: Ground) -> Measure:
    """The peer's measure, run once: it works here. Raises Failed."""
    measure = STARTS[name](ground)
    try:
        measure()
    except (OSError, subprocess.SubprocessError) as problem:
        raise Failed(f"{name}: {problem}") from problem
    return measure


def _bundle(ground: Ground, runtime: str) -> str:
    """An OCI bundle as `RUNTIME spec` writes it, with /bin/true, our three limits left out, and no cgroup mount."""
    bundle = ground.directory(f"bundle-{runtime}")
    subprocess.run([found(runtime), "spec"], cwd=bundle, env=ENVIRONMENT, check=True, capture_output=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["root"] = {"path": str(ground.rootfs), "readonly": True}
    config["process"] |= {"terminal": False, "args": ["/bin/true"]}
    config["process"].pop("rlimits", None)  # this host may not let anybody raise one
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
    linux = config["linux"]
    linux.pop("resources", None)
    linux["namespaces"] = [space for space in linux["namespaces"] if space["type"] != "cgroup"]
    path.write_text(json.dumps(config))
    return str(bundle)


def version(program: str) -> str:
    """The first line of what a program says of its version, or "" where it is not there."""
    try:
        said = output([found(program), "--version"])
    except Failed:
        return ""
    return next(iter(said.splitlines()), "")

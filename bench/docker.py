"""Docker, with a daemon of the bench's own: a Unix socket, no bridge, no packet rules, its data below our directory.

Where its network is what is measured, the daemon lives in a network namespace of its own, with its bridge and its
packet rules: these would change how the host forwards, and go with the namespace. The image is made of the shared root
filesystem, nothing is fetched.
"""

import json
import subprocess
import time
from pathlib import Path

from bench.ground import Ground
from bench.processes import ENVIRONMENT, Failed, found, output

IMAGE = "cloison-bench-busybox"
PATIENCE_S = 20
NO_BRIDGE = ("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
_running: dict[str, list[str]] = {}  # directory of the daemon: the client's command


def client(ground: Ground, *, with_bridge: bool = False) -> list[str]:
    """The command of the client; the daemon is started when this is first asked for. Raises Failed."""
    home = ground.directory("docker-bridge" if with_bridge else "docker")
    if str(home) not in _running:
        _running[str(home)] = _start(ground, home, with_bridge=with_bridge)
    return _running[str(home)]


def _start(ground: Ground, home: Path, *, with_bridge: bool) -> list[str]:
    words, daemon = [found("docker")], found("dockerd")
    words += ["-H", f"unix://{home}/socket"]
    command = [daemon, "--host", f"unix://{home}/socket", "--data-root", f"{home}/data", "--exec-root", f"{home}/exec"]
    command += ["--pidfile", f"{home}/pid", "--log-level", "error", "--config-file", str(home / "daemon.json")]
    command = [found("unshare"), "--net", *command] if with_bridge else [*command, *NO_BRIDGE]
    (home / "daemon.json").write_text(json.dumps({"deprecated-key-path": f"{home}/key"}))  # or it writes to /etc/docker
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    ground.later.callback(_end, process)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            output([*words, "version"])
            break
        except Failed:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed("dockerd does not start here") from None
            time.sleep(0.2)
    _import(ground, words)
    return words


def _import(ground: Ground, words: list[str]) -> None:
    archive = ground.made / "rootfs.tar"
    output([found("tar"), "-C", str(ground.rootfs), "-cf", str(archive), "."])
    output([*words, "import", str(archive), IMAGE])
    archive.unlink()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM ends its containers and its containerd too."""
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

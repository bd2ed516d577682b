"""Docker, with a daemon of the bench's own: a Unix socket, no bridge, no packet rules, its data below our directory.

The image is made of the shared root filesystem, nothing is fetched.
"""

import json
import subprocess
import time

from bench.ground import Ground
from bench.processes import ENVIRONMENT, Failed, found, output

IMAGE = "cloison-bench-busybox"
PATIENCE_S = 20
_running: dict[str, list[str]] = {}  # mark of the run: the client's command


def client(ground: Ground) -> list[str]:
    """The command of the client; the daemon is started when this is first asked for. Raises Failed."""
    if ground.mark not in _running:
        _running[ground.mark] = _start(ground)
    return _running[ground.mark]


def _start(ground: Ground) -> list[str]:
    words, daemon = [found("docker")], found("dockerd")
    home = ground.directory("docker")
    words += ["-H", f"unix://{home}/socket"]
    command = [daemon, "--host", f"unix://{home}/socket", "--data-root", f"{home}/data", "--exec-root", f"{home}/exec"]
    command += [
        "--pidfile",
        f"{home}/pid",
        "--bridge",
        "none",
        "--iptables=false",
        "--ip6tables=false",
    ]
    command += ["--ip-forward=false", "--ip-masq=false", "--log-level", "error"]
    command += ["--config-file", str(home / "daemon.json")]
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

"""An image of ours as others know it: an archive as `docker save` writes it, and a repository of a registry.

Layers are not compressed in the archive, as Docker leaves them; in the registry they are gzip, as everybody pushes
them.
"""

import io
import json
import socket
import subprocess
import tarfile
import time
from pathlib import Path

import cloison
from bench.ground import Ground
from bench.processes import ENVIRONMENT, Failed, found, output

TAG = "cloison-bench/image:1"
PATIENCE_S = 20


def archive(ground: Ground, image: cloison.Image) -> Path:
    """A docker archive of `image`, made when it is first asked for."""
    path = ground.directory("archives") / f"{image.digest.removeprefix('sha256:')[:12]}.tar"
    if path.exists():
        return path
    store = ground.engine.images
    config, layers = store.config_of(image), store.layers_of(image)
    config_name = f"{image.id.removeprefix('sha256:')}.json"
    names = [f"{layer.diff_id.removeprefix('sha256:')}/layer.tar" for layer in layers]
    manifest = [{"Config": config_name, "RepoTags": [TAG], "Layers": names}]
    with open(path, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        _member(tar, config_name, config)
        for name, layer in zip(names, layers, strict=True):
            head = tarfile.TarInfo(name)
            head.size = layer.size_bytes
            file.write(head.tobuf())
            for chunk in store.stream(layer.diff_id):
                file.write(chunk)
            file.write(bytes(-layer.size_bytes % 512))
            tar.offset = file.tell()
        _member(tar, "manifest.json", json.dumps(manifest).encode())
    return path


def _member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    head = tarfile.TarInfo(name)
    head.size = len(content)
    tar.addfile(head, io.BytesIO(content))


def repository(ground: Ground, image: cloison.Image) -> str:
    """HOST:PORT/NAME:TAG of a registry on loopback that has `image` and ends with the bench. Raises Failed."""
    home = ground.directory("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(home / "data")}},
        "http": {"addr": host},
    }
    (home / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with open(home / "log", "wb") as log:
        command = [found("docker-registry"), "serve", str(home / "config.yml")]
        process = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home)
    ground.later.callback(_end, process)
    _answering(host, process)
    copy = [found("skopeo"), "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
    output([*copy, f"docker-archive:{archive(ground, image)}", f"docker://{host}/{TAG}"], timeout_s=300)
    return f"{host}/{TAG}"


def _answering(host: str, process: "subprocess.Popen[bytes]") -> None:
    name, _, port = host.partition(":")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection((name, int(port)), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed("docker-registry does not start here") from None
            time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()

"""Docker, Podman, skopeo and umoci take from a registry what cloison has pushed, and the other way round."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloison import Engine
from cloison.images import Image
from tests.integration.conftest import eventually
from tests.integration.registries.building import Made, skopeo
from tests.integration.registries.serving import RunningRegistry

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(240)]

Peer = Callable[..., str]
NO_BRIDGE = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


@pytest.fixture(scope="module")
def docker() -> Iterator[Peer]:
    """Docker's client, with a daemon of its own that touches nothing of this host's network."""
    with tempfile.TemporaryDirectory(prefix="docker") as home, contextlib.ExitStack() as held:
        socket, log = f"unix://{home}/sock", Path(home, "log")
        Path(home, "daemon.json").write_text(f'{{"deprecated-key-path": "{home}/key"}}')
        directories = [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"]
        config = [f"--config-file={home}/daemon.json", f"--host={socket}", "--storage-driver=vfs"]
        output = held.enter_context(log.open("wb"))
        daemon = subprocess.Popen(
            ["dockerd", *config, *directories, *NO_BRIDGE], stdout=output, stderr=output, start_new_session=True
        )
        try:
            assert eventually(lambda: "API listen on" in log.read_text() or daemon.poll() is not None, 60)
            assert daemon.poll() is None, log.read_text()
            yield lambda *words: said("docker", f"--host={socket}", *words, home=home)
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()


@pytest.fixture(scope="module")
def podman() -> Iterator[Peer]:
    """Podman, with a store of its own."""
    with tempfile.TemporaryDirectory(prefix="podman") as home:
        words = (f"--root={home}/root", f"--runroot={home}/run", "--storage-driver=vfs", f"--tmpdir={home}/tmp")
        yield lambda *more: said("podman", *words, *more, home=home)


def said(*words: str, home: str) -> str:
    """What a program says that has no home but its own; it must succeed."""
    environment = {"PATH": os.environ["PATH"], "HOME": home}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def image(engine: Engine, pushed: str) -> Image:
    return engine.servers.pull(f"docker://{pushed}", name="it")


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_docker_runs_what_was_pushed_and_knows_it_by_the_same_id(
    engine: Engine, image: Image, plain: RunningRegistry, docker: Peer, form: str
) -> None:
    name = f"{plain.host}/peers/docker-{form}:1"
    engine.servers.push("it", f"docker://{name}", is_docker=form == "docker", compression="gzip")
    docker("pull", "--quiet", name)
    assert docker("image", "inspect", "--format", "{{.Id}}", name) == image.id
    command = "cat /etc/passwd /etc/new; ls -d /gone /big"
    ran = docker("run", "--rm", "--network=none", "--entrypoint=/bin/busybox", name, "sh", "-c", f"{command}; true")
    assert ran == "root:x:0:0:changed:/:/bin/sh\nover/big"


def test_what_docker_has_changed_and_pushed_comes_back(
    engine: Engine, pushed: str, plain: RunningRegistry, docker: Peer
) -> None:
    name = f"{plain.host}/peers/from-docker:1"
    docker("pull", "--quiet", pushed)
    made = docker("create", "--network=none", "--entrypoint=/bin/busybox", pushed, "sh", "-c", "echo new > /made")
    docker("start", "--attach", made)
    docker("commit", made, name)
    docker("rm", made)
    docker("push", "--quiet", name)
    image = engine.servers.pull(f"docker://{name}")
    assert image.id == docker("image", "inspect", "--format", "{{.Id}}", name)
    assert Path(image.layers[0], "made").read_text() == "new\n"
    assert len(engine.images.layers_of(image)) == 4


def test_podman_takes_what_was_pushed_and_gives_it_back(
    engine: Engine, image: Image, plain: RunningRegistry, podman: Peer
) -> None:
    name = f"{plain.host}/peers/podman:1"
    engine.servers.push("it", f"docker://{name}", compression="zstd")
    podman("pull", "--quiet", "--tls-verify=false", name)
    assert f"sha256:{podman('image', 'inspect', '--format', '{{.Id}}', name)}" == image.id
    again = f"{plain.host}/peers/from-podman:1"
    podman("push", "--quiet", "--tls-verify=false", name, again)
    engine.images.remove("it")
    assert engine.servers.pull(f"docker://{again}").id == image.id


def test_umoci_unpacks_what_was_pushed(
    engine: Engine, image: Image, made: Made, plain: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{plain.host}/peers/umoci:1"
    engine.servers.push("it", f"docker://{name}", compression="gzip")
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/layout:it")
    said("umoci", "unpack", "--image", f"{tmp_path}/layout:it", str(tmp_path / "bundle"), home=str(tmp_path))
    rootfs = tmp_path / "bundle" / "rootfs"
    assert (rootfs / "etc/passwd").read_text() == "root:x:0:0:changed:/:/bin/sh\n"
    assert not (rootfs / "gone").exists() and (rootfs / "big").stat().st_size == 3 << 20

"""Registries on loopback, an installation that knows them, and credentials of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloison import Engine
from tests.integration.registries import building, serving
from tests.integration.registries.building import Made
from tests.integration.registries.serving import Authority, Proxy, RunningRegistry, TokenServer

PROGRAM = Path(sys.executable).with_name("cloison")
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "it")


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry without TLS, to which all may read and write."""
    with serving.registry(tmp_path_factory.mktemp("plain") / "registry") as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RunningRegistry]:
    """A registry with TLS, by an authority that nobody knows, and a password."""
    directory = tmp_path_factory.mktemp("guarded") / "registry"
    with serving.registry(directory, authority=authority, is_basic=True) as running:
        yield running


@pytest.fixture(scope="session")
def tokens(authority: Authority) -> Iterator[TokenServer]:
    with serving.token_server(authority) as running:
        yield running


@pytest.fixture(scope="session")
def by_token(tmp_path_factory: pytest.TempPathFactory, tokens: TokenServer) -> Iterator[RunningRegistry]:
    """A registry that takes tokens."""
    with serving.registry(tmp_path_factory.mktemp("by-token") / "registry", tokens=tokens) as running:
        yield running


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An image of three layers, for two platforms: the second changes the first, the third deletes from it."""
    over: dict[str, bytes | str | None] = {"etc/passwd": b"root:x:0:0:changed:/:/bin/sh\n", "etc/new": b"over"}
    deleting: dict[str, bytes | str | None] = {".wh.gone": b"", "big2": os.urandom(1 << 20)}
    layers = building.system(over, deleting)
    return building.layout(tmp_path_factory.mktemp("made") / "it", layers, platforms=("amd64", "arm64"))


@pytest.fixture(scope="session")
def pushed(made: Made, plain: RunningRegistry) -> str:
    """`made`, in the plain registry, where skopeo has put it: "127.0.0.1:1234/team/it:1"."""
    name = f"{plain.host}/team/it:1"
    building.skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{made.directory}:it", f"docker://{name}")
    return name


@pytest.fixture
def between(plain: RunningRegistry) -> Iterator[Proxy]:
    """A proxy before the plain registry."""
    with serving.proxy(plain.host) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty installation; the environment's proxies and this user's credentials are out of the way."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    monkeypatch.setenv("CLOISON_ROOT", str(root))
    return root


@pytest.fixture
def cli(root: Path) -> Cli:
    def run(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run([PROGRAM, *words], capture_output=True, text=True, input=stdin, timeout=120)

    return run


def host_settings(root: Path, text: str) -> None:
    """What the host's configuration says."""
    (root / "etc" / "cloison.toml").write_text(text)


def nothing_is_there(engine: Engine) -> None:
    """Neither an image nor anything of one."""
    engine.images.clean()
    root = Path(engine.images.root)
    assert engine.images.images() == ()
    left = [str(path) for name in ("layers", "blobs/sha256", "tmp") for path in (root / name).glob("*")]
    assert left == []

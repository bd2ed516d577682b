"""Containers to look at. Each test has an installation of its own, whose images all tests share, and leaves nothing.

The image is BusyBox with the program `payload` (tests/payload) in /bin.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cloison
from cloison import Engine, Instance
from tests.integration import traces

BUILD = Path(__file__).resolve().parents[2] / "build"
PAYLOAD = "/bin/payload"  # inside
QUICK = (f"init.command={PAYLOAD} init", "boot.stop_signal=SIGTERM")  # an init that ends at once when it is asked to

Launch = Callable[..., Instance]


@pytest.fixture(scope="session")
def payload() -> Path:
    """The static program with verbs. CLOISON_TEST_PAYLOAD names another one than that of `make build`."""
    return Path(os.environ.get("CLOISON_TEST_PAYLOAD") or BUILD / "payload")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory, payload: Path) -> Path:
    """An image store with the image `busybox`."""
    root = tmp_path_factory.mktemp("images")
    image = cloison.open(str(root)).image("busybox")
    shutil.copy(payload, f"{image.layers[0]}/bin/payload")
    return root / "lib" / "images"


@pytest.fixture
def root(tmp_path: Path, images: Path) -> Path:
    """An empty installation, with the images of all."""
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "images").symlink_to(images)
    return root


@contextlib.contextmanager
def installation(root: Path) -> Iterator[Engine]:
    """An engine below `root`, for this process and those it starts; at the end nothing may be left of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOISON_ROOT", str(root))
        engine = cloison.open(str(root))
        yield engine
        for instance in engine.instances():
            instance.delete(force=True)
        ids = {event.subject for event in engine.events()}
        engine.store.close()
        assert traces.left(root, ids) == []


@pytest.fixture
def engine(root: Path) -> Iterator[Engine]:
    with installation(root) as engine:
        yield engine


@pytest.fixture
def launch(engine: Engine) -> Launch:
    """Start an instance: `launch("limits.memory=64M", name="web")`."""

    def launched(*config: str, name: str = "web") -> Instance:
        return engine.launch("busybox", name, config=config)

    return launched


@pytest.fixture
def web(launch: Launch) -> Instance:
    """A running container with BusyBox's init."""
    return launch()


@pytest.fixture
def quick(launch: Launch) -> Instance:
    """A running container whose init does nothing but wait for SIGTERM."""
    return launch(*QUICK, name="quick")


@pytest.fixture
def stopped(engine: Engine) -> Instance:
    """A container that has never run, with an init that waits for SIGTERM."""
    return engine.create("busybox", "quick", config=QUICK)


def init_of(instance: Instance) -> int:
    """The host's pid of an instance's init."""
    return instance.observe().pid


def answer(instance: Instance, *verb: str, **how: object) -> str:
    """What `payload VERB...` says inside."""
    result = instance.exec([PAYLOAD, *verb], **how)  # type: ignore[arg-type]
    assert result.code == 0, result
    return result.stdout.decode().strip()


def inside(instance: Instance, *argv: str) -> str:
    """What a command prints inside; it must succeed."""
    result = instance.exec(argv)
    assert result.code == 0, result
    return result.stdout.decode()


def entered(instance: Instance, *argv: str) -> str:
    """What a command prints that nsenter(1), and not cloison, has taken inside."""
    command = ["nsenter", "--target", str(init_of(instance)), "--all", "--", *argv]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

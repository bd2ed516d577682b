"""Containers to look at. Each test has an installation of its own, whose images all tests share, and leaves nothing.

The image is BusyBox with the program `payload` (tests/payload) in /bin.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

import cloison
from cloison import Engine, Instance, State
from tests.integration import traces
from tests.patience import patient

BUILD = Path(__file__).resolve().parents[2] / "build"
PAYLOAD = "/bin/payload"  # inside
ALONE = ("nics.eth0.type=empty",)  # a loopback and nothing else: what most tests look at needs no network
QUICK = (
    *ALONE,
    f"init.command={PAYLOAD} init",
    "boot.stop_signal=SIGTERM",
)  # an init that ends at once when it is asked to

PROGRAM = Path(sys.executable).with_name("cloison")

Launch = Callable[..., Instance]
Cli = Callable[..., subprocess.CompletedProcess[str]]


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


@pytest.fixture(scope="session")
def debian_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image store with the image `debian/12`: that of CLOISON_TEST_IMAGES, or a new one, built once."""
    if store := os.environ.get("CLOISON_TEST_IMAGES"):
        return Path(store)
    root = tmp_path_factory.mktemp("debian-images")
    cloison.open(str(root)).image("debian/12")
    return root / "lib" / "images"


def empty_installation(root: Path, images: Path) -> Path:
    """Make `root` an installation that has nothing but images, which it shares."""
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "images").symlink_to(images)
    return root


@pytest.fixture
def root(tmp_path: Path, images: Path) -> Path:
    """An empty installation, with the images of all."""
    return empty_installation(tmp_path / "root", images)


def left_at_last(root: Path, ids: Iterable[str]) -> list[str]:
    """What is left of instances for good.

    A command that a monitor has run at its end (for an alarm, a reboot) is not to be seen until it has begun, and ends
    by itself: so it is looked for again where something is."""
    known = tuple(ids)
    left: list[str] = []
    for _ in range(3):
        eventually(lambda: not traces.left(root, known), 30)
        left = traces.left(root, known)
        if not left:
            break
    return left


@contextlib.contextmanager
def installation(root: Path) -> Iterator[Engine]:
    """An engine below `root`, for this process and those it starts; at the end nothing may be left of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOISON_ROOT", str(root))
        engine = cloison.open(str(root))
        yield engine
        for instance in engine.instances():
            instance.delete(force=True)
        for network in engine.networks.all():  # cloison0 stays otherwise, as for everybody
            engine.networks.delete(network.name)
        ids = {event.subject for event in engine.events()}
        engine.store.close()
        assert left_at_last(root, ids) == []


@pytest.fixture
def engine(root: Path) -> Iterator[Engine]:
    with installation(root) as engine:
        yield engine


@pytest.fixture
def launch(engine: Engine) -> Launch:
    """Start an instance: `launch("limits.memory=64M", name="web")`."""

    def launched(*config: str, name: str = "web") -> Instance:
        alone = () if any(setting.startswith("nics.") for setting in config) else ALONE
        return engine.launch("busybox", name, config=(*alone, *config))

    return launched


@pytest.fixture
def cli(root: Path) -> Cli:
    """`cli("start", "web")`: the command in the test's installation."""

    def run(*words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CLOISON_ROOT": str(root), **changed}
        return subprocess.run(
            [PROGRAM, *words], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=60
        )

    return run


def refused(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """It ended with `code`, and its one sentence on stderr has all of `said` in it."""
    assert done.returncode == code, done
    first = done.stderr.splitlines()[0]
    assert first.startswith("cloison: "), done.stderr
    for words in said:
        assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


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


def booted(instance: Instance) -> bool:
    """Whether the systemd of a system container has started what there is to start."""
    if instance.state is not State.RUNNING:
        return False
    said = instance.exec(["systemctl", "is-system-running"]).stdout.strip()
    return said in (b"running", b"degraded")


def own_files(instance: Instance) -> str:
    """What an instance has of its own, on the host: in the default pool."""
    root = Path(instance.directory).parent.parent
    return f"{root}/storage/default/trees/{instance.tree.name}/upper"


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


@contextlib.contextmanager
def busy(instance: Instance, *verb: str) -> Iterator[None]:
    """A `payload VERB...` that runs inside meanwhile, from its "ok" on, until it is killed."""
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    try:
        with instance.spawn([PAYLOAD, *verb], stdio=(null, writer, null)) as execution:
            os.close(writer)
            assert os.read(reader, 100) == b"ok\n"
            try:
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    execution.signal(9)
    finally:
        os.close(reader)
        os.close(null)


def eventually(holds: Callable[[], object], timeout_s: float = 20.0) -> bool:
    """Whether it holds within `timeout_s`, which is how long a busy machine may take for a moment's work."""
    deadline = time.monotonic() + patient(timeout_s)
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Disk:
    """A block device of its own, with a file system that is mounted where a test may name it."""

    def __init__(self, device: Path, mountpoint: Path) -> None:
        self.device, self.mountpoint = device, mountpoint
        self.number = Path(f"/sys/block/{device.name}/dev").read_text().strip()


def wake_counters(disk: Disk) -> None:
    """Since Linux 6.10 v1 counts what passes through a disk only once somebody has had a limit on it."""
    group = Path(f"/sys/fs/cgroup/blkio/cloison-test-{os.getpid()}")
    if not group.parent.is_dir():
        return
    group.mkdir()
    try:
        for limit in (1 << 40, 0):
            (group / "blkio.throttle.read_bps_device").write_text(f"{disk.number} {limit}")
    finally:
        group.rmdir()


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A loop device of 64 MiB with ext4; what is written to it is not missed."""
    directory = tmp_path_factory.mktemp("disk")
    image, mountpoint = directory / "image", directory / "mnt"
    mountpoint.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    found = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    device = found.stdout.strip()
    try:
        subprocess.run(["mount", device, mountpoint], check=True)
        found_disk = Disk(Path(device), mountpoint)
        wake_counters(found_disk)
        yield found_disk
        subprocess.run(["umount", mountpoint], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)

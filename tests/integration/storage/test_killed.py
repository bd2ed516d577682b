"""Commands that are killed at any moment, and disks that are full at any: nothing that was there is lost, and nothing
half-made counts.

A command runs in a process of its own that counts what it does to files and to the store, and kills itself at the n-th
of these moments. Afterwards `cloison repair` and `cloison image verify` have to find everything in order.

                                          killed                        on a full disk
    snapshot, restore, copy, export,
    import, publish, rebuild              here                          storage/test_full_disk, test_driver_faults
    volume create, volume snapshot,
    build by a recipe,
    image import, image export            here, images/test_faults      storage/test_full_disk, images/test_faults
    rename                                here                          -
    file push                             storage/test_files            storage/test_files, test_full_disk
    pull, push                            registries/test_pull          registries/test_pull
    create, delete                        test_faults                   test_bad_input, storage/test_full_disk
    start                                 test_faults, test_full_disk   storage/test_full_disk
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cloison
from cloison import Engine, Instance, State
from cloison.engine.transfer_stream import Reader
from tests.integration.conftest import PROGRAM, inside
from tests.integration.storage.conftest import mounted
from tests.integration.storage.test_snapshots import add_pool, write
from tests.integration.storage.test_transfer import INIT

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup, pytest.mark.timeout(300)]
POINTS = 9  # of each command, spread over all its moments
ALL = 1 << 20

COUNTED = """
import os, sys
at, seen = {at}, 0
KINDS = ("os.mkdir", "os.rename", "os.rmdir", "os.remove", "os.link", "os.chmod", "os.chown", "os.setxattr", "os.utime")

def moment():
    global seen
    seen += 1
    if seen == at:
        os.kill(os.getpid(), 9)

def hear(event, args):
    if event in KINDS or (event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)):
        moment()

from cloison.engine import store
class Counted(store.Transaction):
    def put(self, key, value):
        moment()
        super().put(key, value)
        moment()
store.Transaction = Counted
sys.addaudithook(hear)
from cloison.cli.main import run
code = run({words!r})
print("moments", seen, file=sys.__stderr__)
sys.exit(code)
"""


def command(root: Path, *words: str, at: int = 0) -> subprocess.CompletedProcess[str]:
    """Run one, which is killed at a moment; 0 is never."""
    return subprocess.run(
        [sys.executable, "-c", COUNTED.format(words=list(words), at=at)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "CLOISON_ROOT": str(root)},
        timeout=120,
    )


def moments(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done
    return int(done.stderr.rpartition("moments ")[2])


def cloison_says(root: Path, *words: str) -> str:
    environment = {**os.environ, "CLOISON_ROOT": str(root)}
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done
    return done.stdout


def expect_order(engine: Engine) -> None:
    """All that there is is whole, and mentioned; nothing is left over."""
    root = Path(engine.layout.root)
    cloison_says(root, "repair")
    cloison_says(root, "image", "verify")
    assert cloison_says(root, "repair") == "there was nothing to take back\n"
    known = {instance.id for instance in engine.instances()}
    assert set(os.listdir(engine.layout.instances)) == known
    for pool in engine.pools.all():
        trees = set(engine.pools.driver(pool.name).names())
        mentioned = engine.pools.mentioned(pool.name)
        assert trees == {name for tree in mentioned for name in (tree.name, *tree.lower) if name[0] != "/"}
    assert not list(Path(engine.layout.images).glob("tmp/*"))
    for entry in (*engine.store.list("names/"), *engine.store.list("ranges/")):
        assert entry.value.decode() in known
    for entry in (*engine.store.list("snapshots/"), *engine.store.list("schedules/")):
        assert entry.key.split("/")[1] in known
    assert {entry.key.split("/")[1] for entry in engine.store.list("texts/")} == known


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    cloison.open(str(root)).image("busybox")
    return root


@pytest.fixture(params=["overlay", "btrfs"])
def box(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[Instance]:
    """A running container with files and a snapshot, in a pool of its kind."""
    with mounted("btrfs", tmp_path) as point:
        pool = "default" if request.param == "overlay" else add_pool(engine, "p", "btrfs", point / "pool")
        box = engine.launch("busybox", "first", config=INIT, storage=pool)
        write(box, "/root/a", "then")
        box.snapshots.create("then")
        box.stop(force=True)
        box.rename("box")  # what its files say of it differs from what they said then
        box.start()
        write(box, "/root/a", "now")
        yield box
        for instance in engine.instances():
            instance.delete(force=True)


def expect_the_box(engine: Engine, *, text: str = "now") -> None:
    """What was there before is there."""
    box = engine.get("box")
    assert "then" in [each.name for each in box.snapshots.list()]
    if box.state is not State.RUNNING:
        assert box.state is State.STOPPED
        box.start()
    assert inside(box, "cat", "/root/a", "/etc/hostname") == f"{text}\nbox\n"


def without_the_copy(engine: Engine) -> None:
    for instance in engine.instances():
        if instance.name == "new":
            instance.delete(force=True)


def expect_the_box_and_its_copy(engine: Engine, at: int) -> None:
    """What was there before is there, and the copy `new` is whole or not at all; it is, where nobody was killed."""
    expect_order(engine)
    expect_the_box(engine)
    copies = [instance for instance in engine.instances() if instance.name == "new"]
    assert copies or at
    for copy in copies:
        copy.start()
        assert inside(copy, "cat", "/root/a", "/etc/hostname") == "now\nnew\n"


def each_moment(
    root: Path, *words: str, before: Callable[[], object] = lambda: None, points: int = POINTS
) -> Iterator[int]:
    """Run a command to its end to count its moments, then once for each of some, where it is killed."""
    before()
    total = moments(command(root, *words))
    yield 0
    for number in range(min(points, total)):
        before()
        at = 1 + number * total // min(points, total)
        done = command(root, *words, at=at)
        assert done.returncode == -9, (at, total, done)
        yield at


def test_a_snapshot_of_what_runs(engine: Engine, box: Instance, root: Path) -> None:
    def clean() -> None:
        for each in engine.get("box").snapshots.list():
            if each.name == "new":
                engine.get("box").snapshots.delete("new")

    for _at in each_moment(root, "snapshot", "create", "box", "new", before=clean):
        expect_order(engine)
        assert box.state is State.RUNNING
        expect_the_box(engine)


def test_a_restore(engine: Engine, box: Instance, root: Path) -> None:
    def stopped() -> None:
        box = engine.get("box")
        if box.state is State.RUNNING:
            write(box, "/root/a", "now")
            box.stop(force=True)

    points = ALL if box.tree.pool == "default" else POINTS
    for at in each_moment(root, "snapshot", "restore", "box", "then", before=stopped, points=points):
        expect_order(engine)
        names = [each.name for each in engine.get("box").snapshots.list()]
        is_done = engine.get("box").record.is_restored
        assert ("pre-restore" in names) == is_done
        assert is_done or at
        expect_the_box(engine, text="then" if is_done else "now")


def test_a_copy(engine: Engine, box: Instance, root: Path) -> None:
    for at in each_moment(root, "copy", "box", "new", before=lambda: without_the_copy(engine)):
        expect_the_box_and_its_copy(engine, at)


def test_an_export_and_an_import(engine: Engine, box: Instance, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"

    for at in each_moment(root, "export", "box", str(file), before=lambda: file.unlink(missing_ok=True)):
        expect_order(engine)
        expect_the_box(engine)
        assert file.exists() or at
        if file.exists():
            assert [section.kind for section in Reader([file.read_bytes()]).sections()][-1] == "tree"
        assert [path.name for path in tmp_path.iterdir() if "file" in path.name] in ([], ["file"])
    cloison_says(root, "export", "--force", "box", str(file))
    for at in each_moment(root, "import", str(file), "new", before=lambda: without_the_copy(engine)):
        expect_the_box_and_its_copy(engine, at)


def test_an_import_with_its_image(engine: Engine, box: Instance, root: Path, tmp_path: Path) -> None:
    cloison_says(root, "export", "box", str(tmp_path / "file"))
    there = tmp_path / "there"
    for at in each_moment(there, "import", str(tmp_path / "file"), before=lambda: shutil.rmtree(there, True)):
        other = cloison.open(str(there))
        expect_order(other)
        assert [instance.name for instance in other.instances()] == ["box"] or at
        has_image = bool(other.instances()) and box.tree.pool == "default"  # a btrfs has copied it
        assert [image.names for image in other.images.images()] == [("busybox",)] * has_image
        assert all(not image.properties for image in other.images.images()) or at
        if not other.instances():  # the next attempt succeeds, whatever is there already
            cloison_says(there, "import", str(tmp_path / "file"))
        expect_the_box(other)
        other.get("box").delete(force=True)
        other.store.close()


def test_a_publication(engine: Engine, box: Instance, root: Path) -> None:
    def clean() -> None:
        if engine.images.known("new") is not None:
            engine.remove_image("new")

    for at in each_moment(root, "publish", "box", "--force", "--name", "new", before=clean):
        expect_order(engine)
        expect_the_box(engine)
        assert box.state is State.RUNNING
        assert engine.images.known("new") is not None or at


RECIPE = """
base = "busybox"
commands = ["echo built >/etc/built"]

[[files]]
path = "/etc/more"
content = "more"
"""


@pytest.fixture
def alone(engine: Engine) -> Iterator[Instance]:
    """An instance that has nothing to do with what is done."""
    yield engine.create("busybox", "box", config=INIT)
    engine.get("box").delete(force=True)


@pytest.mark.usefixtures("alone")
def test_a_volume(engine: Engine, root: Path) -> None:
    def clean() -> None:
        for volume in engine.volumes.all():
            engine.volumes.remove(volume)

    for at in each_moment(root, "volume", "create", "data", before=clean, points=ALL):
        expect_order(engine)
        assert [volume.name for volume in engine.volumes.all()] == ["data"] or at


@pytest.mark.parametrize("what", ["create", "restore"])
def test_a_snapshot_of_a_volume(engine: Engine, root: Path, what: str) -> None:
    volume = engine.volumes.create("data")
    snapshots = engine.volume_snapshots(volume)
    file = Path(engine.volumes.path("default", "data")) / "file"
    file.write_text("then")
    snapshots.create("then")
    file.write_text("now")

    def clean() -> None:
        Path(engine.volumes.path("default", "data"), "file").write_text("now")
        for each in snapshots.list():
            if each.name != "then":
                snapshots.delete(each.name)

    name = "new" if what == "create" else "then"
    for at in each_moment(root, "volume", "snapshot", what, "data", name, before=clean):
        expect_order(engine)
        text = Path(engine.volumes.path("default", "data"), "file").read_text()
        assert text == "now" if what == "create" else text in ("now", "then")
        names = [each.name for each in snapshots.list()]
        assert "then" in names
        assert at or (text == "then" if what == "restore" else "new" in names)


@pytest.mark.usefixtures("alone")
def test_a_build_by_a_recipe(engine: Engine, root: Path, tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(RECIPE)

    def clean() -> None:
        if engine.images.known("web") is not None:
            engine.remove_image("web")

    for at in each_moment(root, "image", "build", str(tmp_path / "web.toml"), before=clean):
        expect_order(engine)
        assert [instance.name for instance in engine.instances()] == ["box"]
        assert engine.images.known("web") is not None or at


@pytest.mark.usefixtures("alone")
def test_an_image_that_comes_and_goes_as_an_archive(engine: Engine, root: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "archive.tar"
    out.mkdir()
    file = out / "archive.tar"
    engine.publish("box", "new")
    for at in each_moment(root, "image", "export", "new", str(file), before=lambda: file.unlink(missing_ok=True)):
        assert os.listdir(out) in ([], [file.name])
        assert file.exists() or at
        if not at:
            file.rename(kept)

    def clean() -> None:
        if engine.images.known("new") is not None:
            engine.remove_image("new")

    for at in each_moment(root, "image", "import", str(kept), "new", before=clean):
        expect_order(engine)
        assert engine.images.known("new") is not None or at


def test_a_rename(engine: Engine, box: Instance, root: Path) -> None:
    def stopped() -> None:
        (box,) = engine.instances()
        if box.state is State.RUNNING:
            box.stop(force=True)
        if box.name != "box":
            box.rename("box")

    for at in each_moment(root, "rename", "box", "other", before=stopped, points=ALL):
        expect_order(engine)
        (box,) = engine.instances()
        assert box.name == "other" or at
        box.start()
        assert inside(box, "cat", "/etc/hostname") == f"{box.name}\n"


def test_a_rebuild(engine: Engine, box: Instance, root: Path) -> None:
    def stopped() -> None:
        box = engine.get("box")
        if box.record.is_restored:
            box.snapshots.restore("pre-rebuild")
            box.start()
        box.stop(force=True)

    points = ALL if box.tree.pool == "default" else POINTS
    for at in each_moment(root, "rebuild", "box", before=stopped, points=points):
        expect_order(engine)
        box = engine.get("box")
        assert box.record.is_restored or at
        if not box.record.is_restored:
            expect_the_box(engine)
            continue
        assert "pre-rebuild" in [each.name for each in box.snapshots.list()]
        with engine.pools.directories(box.record) as layers:  # what its next start begins with
            assert (Path(layers.upper) / "etc/hostname").read_text() == "box\n"
            assert not (Path(layers.upper) / "root/a").exists()

"""The drivers lvm and zfs: what they ask of the programs, in this order. No kernel at hand has what these need."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloison.base.errors import CloisonError, Invalid, Unsupported
from cloison.storage.driver import NO_LIMIT, Size, Tree
from cloison.storage.lvm import LvmDriver
from cloison.storage.programs import Programs
from cloison.storage.zfs import ZfsDriver

GIBIBYTE = 1 << 30
Said = dict[str, str]


class Recorder:
    """The programs' place: what was asked, and the answers to what begins so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says: Said = {}

    def run(self, _programs: Programs, *argv: str, fine: tuple[int, ...] = (0,)) -> str:
        line = " ".join(argv)
        self.asked.append(line)
        return next((answer for words, answer in self.says.items() if words in line), "")

    def changes(self) -> list[str]:
        """What was asked, but for questions."""
        questions = ("lvs ", "zfs get ", "zfs list ")
        found = [line for line in self.asked if not line.startswith(questions)]
        self.asked.clear()
        return found


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(Programs, "run", lambda programs, *argv, **how: made.run(programs, *argv, **how))
    monkeypatch.setattr(Programs, "require", lambda *_: None)
    names = iter(f"tree{number}" for number in range(9))
    for module in ("lvm", "zfs"):
        monkeypatch.setattr(f"cloison.storage.{module}.new_id", lambda: next(names))
    return made


# --- lvm -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lvm(recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LvmDriver:
    @contextlib.contextmanager
    def reached(_driver: LvmDriver, name: str, *, is_read_only: bool) -> Iterator[str]:
        (tmp_path / name / "lost+found").mkdir(parents=True)
        yield f"{tmp_path}/{name}"

    monkeypatch.setattr(LvmDriver, "_reached", reached)
    recorder.says = {
        "--options lv_name": "  tree0\n  tree1\n",
        "--options segtype": "  thin-pool\n",
        "--options lv_size,data_percent vg0/thin": "  107374182400,25.00\n",
        "--options lv_size,data_percent": "  10737418240,10.00\n",
        "--options lv_size": "  10737418240\n",
    }
    return LvmDriver("p", "vg0/thin", default_bytes=10 * GIBIBYTE)


MKFS = "mkfs.ext4 -q -F -m 0 -E assume_storage_prezeroed=1,nodiscard,root_owner=0:0 /dev/vg0/tree0"


def test_lvm_makes_a_thin_volume_with_an_ext4(lvm: LvmDriver, recorder: Recorder) -> None:
    assert lvm.create(()) == Tree("p", "tree0")
    assert recorder.changes() == [
        "lvcreate --type thin --virtualsize 10737418240b --thinpool thin --name tree0 --addtag cloison-p vg0",
        MKFS,
    ]
    assert lvm.root(Tree("p", "tree0")).image == "/dev/vg0/tree0"


def test_lvm_takes_snapshots(lvm: LvmDriver, recorder: Recorder) -> None:
    split = lvm.snapshot(Tree("p", "tree1"), is_live=True)
    assert (split.frozen, split.present) == (Tree("p", "tree0", is_frozen=True), Tree("p", "tree1"))
    assert recorder.changes() == [
        "lvcreate --snapshot --setactivationskip n --name tree0 --addtag cloison-p vg0/tree1",
        "e2fsck -E journal_only -y /dev/vg0/tree0",
    ]
    assert lvm.clone(split.frozen, Size(20 * GIBIBYTE)) == Tree("p", "tree1")


@pytest.mark.parametrize(
    ("gibibytes", "is_open", "expected"),
    [
        (20, "open", ["lvextend --size 21474836480b vg0/tree0", "resize2fs /dev/vg0/tree0"]),
        (
            20,
            "",
            ["lvextend --size 21474836480b vg0/tree0", "e2fsck -f -p /dev/vg0/tree0", "resize2fs /dev/vg0/tree0"],
        ),
        (
            5,
            "",
            [
                "e2fsck -f -p /dev/vg0/tree0",
                "resize2fs /dev/vg0/tree0 5242880K",
                "lvreduce --yes --size 5368709120b vg0/tree0",
            ],
        ),
        (10, "", []),
    ],
)
def test_lvm_resizes(lvm: LvmDriver, recorder: Recorder, gibibytes: int, is_open: str, expected: list[str]) -> None:
    recorder.says |= {"--options lv_device_open": f"  {is_open}\n"}
    lvm.resize(Tree("p", "tree0"), Size(gibibytes * GIBIBYTE))
    assert recorder.changes() == expected


def test_lvm_deletes_what_nobody_mentions(lvm: LvmDriver, recorder: Recorder) -> None:
    assert lvm.put_away([Tree("p", "tree1")]) == ("tree0",)
    assert recorder.changes() == ["lvchange --deltag cloison-p --addtag cloison-trash vg0/tree0"]
    recorder.says = {"lv_tags={cloison-trash}": "  tree0\n"}
    lvm.sweep()
    assert recorder.changes() == ["lvremove --yes vg0/tree0"]


def test_lvm_counts(lvm: LvmDriver, recorder: Recorder) -> None:
    space, used = lvm.space(), lvm.used(Tree("p", "tree0"))
    assert (space.total_bytes, space.free_bytes) == (100 * GIBIBYTE, 75 * GIBIBYTE)
    assert (used.bytes, used.limit) == (GIBIBYTE, Size(10 * GIBIBYTE))


def test_lvm_wants_a_thin_pool(lvm: LvmDriver, recorder: Recorder) -> None:
    lvm.prepare()
    recorder.says = {"--options segtype": "  linear\n"}
    with pytest.raises(Invalid, match="vg0/thin is no thin pool"):
        lvm.prepare()


# --- zfs -------------------------------------------------------------------------------------------------------------

OPTIONS = "-o xattr=sa -o acltype=posixacl"


@pytest.fixture
def zfs(recorder: Recorder, tmp_path: Path) -> ZfsDriver:
    (tmp_path / "tree0").mkdir()
    recorder.says = {
        "zfs list -H -o name": "tank/c\ntank/c/tree0\ntank/c/tree1\n",
        "value mountpoint": f"{tmp_path}\n",
        "value referenced": "1000000\n",
        "value refquota": "5000000\n",
        "value used": "300\n",
        "value available": "700\n",
        "value origin": "-\n",
    }
    return ZfsDriver("p", "tank/c")


def test_zfs_makes_a_dataset(zfs: ZfsDriver, recorder: Recorder, tmp_path: Path) -> None:
    assert zfs.create((), Size(GIBIBYTE)) == Tree("p", "tree0")
    assert recorder.changes() == [f"zfs create {OPTIONS} -o refquota=1073741824 tank/c/tree0"]
    assert zfs.root(Tree("p", "tree0")).writable == f"{tmp_path}/tree0"


def test_zfs_takes_snapshots_and_clones(zfs: ZfsDriver, recorder: Recorder) -> None:
    split = zfs.snapshot(Tree("p", "tree1"))
    assert recorder.changes() == [
        "zfs snapshot tank/c/tree1@tree0",
        f"zfs clone {OPTIONS} -o refquota=none -o readonly=on tank/c/tree1@tree0 tank/c/tree0",
    ]
    zfs.clone(split.frozen, NO_LIMIT)
    assert recorder.changes() == [
        "zfs snapshot tank/c/tree0@tree1",
        f"zfs clone {OPTIONS} -o refquota=none tank/c/tree0@tree1 tank/c/tree1",
    ]


def test_zfs_limits(zfs: ZfsDriver, recorder: Recorder) -> None:
    zfs.resize(Tree("p", "tree0"), Size(2_000_000))
    zfs.resize(Tree("p", "tree0"), NO_LIMIT)
    assert recorder.changes() == ["zfs set refquota=2000000 tank/c/tree0", "zfs set refquota=none tank/c/tree0"]
    with pytest.raises(Invalid, match="less than the 976K that are used"):
        zfs.resize(Tree("p", "tree0"), Size(999_999))
    with pytest.raises(Unsupported, match="zfs cannot limit inodes"):
        zfs.create((), Size(None, 1000))
    assert zfs.used(Tree("p", "tree0")).limit == Size(5_000_000)
    space = zfs.space()
    assert (space.total_bytes, space.free_bytes) == (1000, 700)


def test_zfs_deletes_what_nobody_mentions_and_lets_copies_take_over(zfs: ZfsDriver, recorder: Recorder) -> None:
    assert zfs.put_away([Tree("p", "tree1")]) == ("tree0",)
    assert recorder.changes() == ["zfs rename tank/c/tree0 tank/c/trash-tree0"]
    recorder.says |= {
        "zfs list -H -o name": "tank/c\ntank/c/tree1\ntank/c/trash-tree0\n",
        "zfs list -H -o clones": "tank/c/tree3\ntank/c/tree1,tank/c/tree2\n",
        "value origin": "tank/c/tree9@tree0\n",
    }
    zfs.sweep()
    assert recorder.changes() == [
        "zfs promote tank/c/tree2",
        "zfs destroy -r tank/c/trash-tree0",
        "zfs destroy tank/c/tree9@tree0",
    ]


@pytest.mark.parametrize(("driver", "package"), [(LvmDriver, "lvm2"), (ZfsDriver, "zfsutils-linux")])
def test_a_missing_program_names_its_package(
    driver: Callable[..., LvmDriver | ZfsDriver], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloison.kernel.programs.which", lambda _name: None)
    words = {"default_bytes": GIBIBYTE} if driver is LvmDriver else {}
    with pytest.raises(CloisonError) as refused:
        driver("p", "vg0/thin", **words).prepare()
    assert package in f"{refused.value} {refused.value.hint}"

"""What runs the guest, without one: a shell takes the place of QEMU."""

import re
import tarfile
from pathlib import Path

import msgspec
import pytest

from tools.vm import base, cache, images, machine, tree

DISKS = machine.Disks(base.Base(Path("disk"), Path("vmlinuz"), Path("initrd")), Path("tree"), Path("images"))
DONE = msgspec.json.encode(machine.Results(code=1, booted_s=2.5, junit="<x/>", journal="")).decode()


@pytest.fixture
def heard() -> list[str]:
    return []


def run(script: str, place: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch, **how: float) -> machine.Results:
    """A guest that does what `script` says, with its files as $1 (console), $2 (log) and $3 (results)."""

    def command(_disks: object, *files: Path) -> list[str]:
        return ["sh", "-c", script, "sh", *map(str, files)]

    monkeypatch.setattr(machine, "_command", command)
    return machine.run(DISKS, place, deadline_s=how.get("deadline_s", 20.0), hear=heard.append)


def test_what_the_guest_says_is_heard_and_its_results_are_given(
    tmp_path: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = run(f"echo one >$2; echo two >>$2; echo '{DONE}' >$3", tmp_path, heard, monkeypatch)
    assert (results.code, results.booted_s, "".join(heard)) == (1, 2.5, "one\ntwo\n")


def test_a_guest_without_results_is_told_with_its_console(
    tmp_path: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(machine.Hung, match=re.escape("ended without results\n  | Kernel panic")):
        run("echo Kernel panic >$1; printf '{\"half' >$3", tmp_path, heard, monkeypatch)


def test_a_guest_that_does_not_boot_is_told_so(
    tmp_path: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "BOOT_S", 0.2)
    with pytest.raises(machine.Hung, match=re.escape("its console says last:\n  | stuck here")):
        run("echo stuck here >$1; exec sleep 60", tmp_path, heard, monkeypatch)


def test_a_guest_that_hangs_in_a_test_is_told_with_its_log(
    tmp_path: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(machine.Hung, match=re.escape("within 1 s; its log says last:\n  | test_life.py ...")):
        run("echo test_life.py ... >$2; exec sleep 60", tmp_path, heard, monkeypatch, deadline_s=1.0)


def test_the_tree_has_the_package_the_tests_and_what_to_do(tmp_path: Path) -> None:
    wanted = tree.Run(("-k", "life"), 5.0, ("needs_root",), 60.0)
    tree.pack(tmp_path / "tree.tar", wanted)
    with tarfile.open(tmp_path / "tree.tar") as tar:
        names = tar.getnames()
        run_file = tar.extractfile("cloison/.run.json")
        assert run_file is not None
        assert msgspec.json.decode(run_file.read(), type=tree.Run) == wanted
        assert {member.uid for member in tar} == {0}
    packages = f"usr/local/lib/python{base.PYTHON}/dist-packages/cloison"
    assert {"cloison/tests/vm/test_tools.py", f"{packages}/_native/launcher", "cloison/build/payload"} <= set(names)
    assert [name for name in names if "__pycache__" in name] == []


def test_keys_do_not_depend_on_where_the_checkout_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = base.key(), images.key()
    monkeypatch.chdir(tmp_path)
    assert (base.key(), images.key()) == before


def test_what_is_kept_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISON_VM_CACHE", str(tmp_path / "kept"))
    built: list[Path] = []
    places = {cache.obtain("base-1", built.append) for _ in range(3)}
    assert places == {tmp_path / "kept" / "base-1"}
    assert len(built) == 1


def test_an_interrupted_build_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISON_VM_CACHE", str(tmp_path))

    def broken(new: Path) -> None:
        (new / "half").touch()
        raise cache.Failed("no network")

    with pytest.raises(cache.Failed):
        cache.obtain("base-1", broken)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_program_that_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(cache.Failed, match="sh -c echo why; exit 3\nwhy"):
        cache.run(["sh", "-c", "echo why; exit 3"])

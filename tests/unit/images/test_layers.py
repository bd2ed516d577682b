import os
import tarfile
from pathlib import Path

from cloison.images.layers import measure, pack


def fill(directory: Path) -> None:
    os.makedirs(f"{directory}/b/c")
    for name in ("z", "a", "b/x"):
        with open(f"{directory}/{name}", "w") as file:
            file.write(name)
    os.link(f"{directory}/a", f"{directory}/b/hard")
    os.symlink("/nowhere", f"{directory}/link")
    for path, directories, files in os.walk(directory, topdown=False):
        for name in (*directories, *files):
            os.utime(f"{path}/{name}", (5, 7), follow_symlinks=False)
    os.utime(directory, (5, 7))


def test_equal_files_have_an_equal_digest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fill(tmp_path / name)
    one, two = (measure(f"{tmp_path}/{name}", lambda _: None) for name in ("one", "two"))
    assert one == two
    assert one.diff_id.startswith("sha256:") and len(one.diff_id) == 71


def test_the_measure_is_that_of_the_stream(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    heard: list[int] = []
    layer = measure(f"{tmp_path}/one", heard.append)
    assert layer.size_bytes == heard[-1] == len(b"".join(pack(f"{tmp_path}/one")))


def test_the_stream_holds_every_kind_of_file_and_belongs_to_root(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    with open(tmp_path / "stream", "wb") as file:
        file.writelines(pack(f"{tmp_path}/one"))
    with tarfile.open(tmp_path / "stream") as stream:
        members = {member.name: member for member in stream}
    assert list(members) == [".", "./a", "./b", "./b/c", "./b/hard", "./b/x", "./link", "./z"]
    assert members["./b/hard"].islnk() and members["./link"].issym()
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 7)}

import os
import subprocess
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


def test_an_acl_is_an_attribute_with_ids_and_no_names_of_this_host(tmp_path: Path) -> None:
    """GNU tar has a form of its own for ACLs, with the names of /etc/passwd and /etc/group in it."""
    fill(tmp_path / "one")
    access = ("--modify", "user:daemon:r,group:audio:rw", "a")
    default = ("--modify", "default:group:audio:rx", "b")
    for words in (access, default):
        subprocess.run(["setfacl", *words], cwd=tmp_path / "one", check=True)
    stream = b"".join(pack(f"{tmp_path}/one"))
    assert b"audio" not in stream and b"daemon" not in stream and b"SCHILY.acl" not in stream
    for name in ("access", "default"):
        path = tmp_path / "one" / ("a" if name == "access" else "b")
        assert os.getxattr(path, f"system.posix_acl_{name}") in stream

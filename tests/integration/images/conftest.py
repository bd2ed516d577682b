"""Archives of a small system, made by the tools that people use, and an installation to take them in."""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import patient

PROGRAM = Path(sys.executable).with_name("cloison")
BUSYBOX = Path("/bin/busybox")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep: capabilities(7)
Cli = Callable[..., "subprocess.CompletedProcess[bytes]"]
Docker = Callable[..., str]


def ran(*words: str | Path, stdin: bytes = b"", **environment: str) -> str:
    """What a program says; it has to succeed."""
    done = subprocess.run(
        list(map(str, words)), input=stdin, capture_output=True, env={**os.environ, **environment}, timeout=300
    )
    assert done.returncode == 0, f"{words}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace")


def fill(directory: Path) -> Path:
    """A root file system with something of everything."""
    for name in ("bin", "etc", "sbin", "usr/lib", "dev", "var/empty", "tmp"):
        (directory / name).mkdir(parents=True)
    directory.chmod(0o755)
    shutil.copy(BUSYBOX, directory / "bin/busybox")
    (directory / "bin/sh").symlink_to("busybox")
    (directory / "sbin/init").symlink_to("../bin/busybox")
    (directory / "usr/lib/os-release").write_text('ID=tiny\nVERSION_ID="1.2"\nPRETTY_NAME="Tiny 1.2"\n')
    (directory / "etc/os-release").symlink_to("../usr/lib/os-release")
    (directory / "etc/hostname").write_text("LXC_NAME\n")
    os.link(directory / "etc/hostname", directory / "etc/second-name")
    (directory / "bin/su").write_bytes(b"#!/bin/sh\n")
    (directory / "bin/su").chmod(0o4755)
    (directory / "bin/serve").write_bytes(b"serve")
    os.setxattr(directory / "bin/serve", "security.capability", CAPABILITY)
    os.setxattr(directory / "etc/hostname", "user.origin", b"tests")
    (directory / "tmp").chmod(0o1777)
    (directory / "var/empty").chmod(0o711)
    os.chown(directory / "var/empty", 33, 44)
    os.mkfifo(directory / "var/pipe", 0o640)
    os.mknod(directory / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with open(directory / "var/sparse", "wb") as file:
        file.seek(3 << 20)
        file.write(b"end")
    for path, directories, files in os.walk(directory, topdown=False):
        for name in (*directories, *files):
            os.utime(f"{path}/{name}", (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    os.utime(directory, (1_600_000_000, 1_600_000_000))
    return directory


def contents(path: str) -> bytes | str:
    """What is in a file, or a digest of that where it would fill the page on which a failure is shown."""
    data = Path(path).read_bytes()
    return data if len(data) <= 200 else hashlib.sha256(data).hexdigest()


Portrait = dict[str, tuple[object, ...]]


def portrait(directory: str | Path) -> Portrait:
    """Every file below: kind, mode, owner, time, content, attributes, and which names are one file."""
    found: Portrait = {}
    first: dict[int, str] = {}
    for path, directories, files in os.walk(directory):
        for name in (".", *directories, *files) if Path(path) == Path(directory) else (*directories, *files):
            whole = os.path.normpath(f"{path}/{name}")
            seen = os.lstat(whole)
            relative = os.path.relpath(whole, directory)
            is_file, is_link = stat.S_ISREG(seen.st_mode), stat.S_ISLNK(seen.st_mode)
            content: object = contents(whole) if is_file else os.readlink(whole) if is_link else seen.st_rdev
            attributes = {
                key: os.getxattr(whole, key, follow_symlinks=False)
                for key in sorted(os.listxattr(whole, follow_symlinks=False))
            }
            twin = first.setdefault(seen.st_ino, relative) if is_file else ""
            mode = 0 if is_link else seen.st_mode
            found[relative] = (mode, seen.st_uid, seen.st_gid, seen.st_mtime, content, attributes, twin)
    return found


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system in a directory."""
    return fill(tmp_path_factory.mktemp("system"))


@pytest.fixture(scope="session")
def archive(system: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as GNU tar writes it."""
    path = tmp_path_factory.mktemp("archive") / "tiny-1.2-x86_64.tar"
    ran("tar", "-C", system, "--xattrs", "--xattrs-include=*", "--sparse", "-cf", path, ".")
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty installation."""
    monkeypatch.setenv("CLOISON_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def cli(root: Path) -> Cli:
    def run(*words: str | Path, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, input=stdin, timeout=300)

    return run


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A dockerd of its own that touches no network; ended by its process number."""
    directory = tmp_path_factory.mktemp("docker")
    log = directory / "log"
    socket = f"unix://{directory}/sock"
    with log.open("w") as out:
        daemon = subprocess.Popen(
            [
                "dockerd",
                f"--data-root={directory}/data",
                f"--exec-root={directory}/exec",
                f"--pidfile={directory}/pid",
                f"--host={socket}",
                "--storage-driver=vfs",
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
            ],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + patient(60)
        while "API listen on" not in log.read_text():
            assert daemon.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

        def run(*words: str | Path, stdin: bytes = b"") -> str:
            return ran("docker", f"--host={socket}", *words, stdin=stdin, DOCKER_BUILDKIT="0").strip()

        yield run
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(patient(30))
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


@pytest.fixture(scope="session")
def built(docker: Docker, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of three layers that Docker has built; its id. The name is web:1."""
    context = tmp_path_factory.mktemp("context")
    shutil.copy(archive, context / "system.tar")
    (context / "page").write_text("<h1>web</h1>")
    (context / "Dockerfile").write_text(
        "FROM scratch\n"
        "ADD system.tar /\n"
        "COPY page /srv/page\n"
        "COPY page /etc/hostname\n"
        'ENV GREETING="good day"\nEXPOSE 80/tcp\nUSER 33:44\nWORKDIR /srv\nVOLUME /data\n'
        'LABEL org.example.kind=web\nSTOPSIGNAL SIGINT\nENTRYPOINT ["/bin/busybox"]\nCMD ["httpd", "-f"]\n'
    )
    docker("build", "--quiet", "--tag", "web:1", "--tag", "web:latest", context)
    return docker("image", "inspect", "--format", "{{.Id}}", "web:1")

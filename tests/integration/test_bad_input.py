"""Bad input through the real command: one sentence that names the thing, the right exit code, and nothing is lost.

These run the installed `cloison` as a process of its own.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance
from tests.integration.conftest import PROGRAM, Cli, refused

pytestmark = pytest.mark.needs_root


@pytest.mark.parametrize("name", ["a_b", "-web", "web-", "a.b", "x" * 64, "wéb", "a b", "../etc"])
def test_a_name_that_is_no_host_name(cli: Cli, engine: Engine, name: str) -> None:
    refused(cli("create", "busybox", "--", name) if name.startswith("-") else cli("create", "busybox", name), 2, name)
    assert engine.instances() == ()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("launch", "nonesuch", "web"), 2, "nonesuch"),
        (("launch", "debian/99", "web"), 2, "99"),
        (("launch", "busybox", "web", "--option", "colour=red"), 2, "colour"),
        (("launch", "busybox", "web", "--set", "limits.memroy=1G"), 2, "limits.memory"),
        (("launch", "busybox", "web", "--set", "limits.memory=-1"), 2, "limits.memory=-1"),
        (("launch", "busybox", "web", "--set", "limits.memory=12X"), 2, "256M"),
        (("launch", "busybox", "web", "--set", "limits.processes=0"), 2, "from 1 to"),
        (("start", "nobody"), 3, "nobody"),
        (("exec", "nobody", "--", "true"), 125, "nobody"),
        (("image", "rm", "nonesuch"), 3, "nonesuch"),
        (("frobnicate",), 2, "frobnicate"),
        (("start",), 2, ""),
        (("start", "--frobnicate", "web"), 2, "frobnicate"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_named(cli: Cli, engine: Engine, words: tuple[str, ...], code: int, said: str) -> None:
    refused(cli(*words), code, said)
    assert engine.instances() == ()


def test_what_runs_cannot_be_started_and_goes_on_running(cli: Cli, quick: Instance) -> None:
    before = quick.observe()
    refused(cli("start", "quick"), 4, "'quick'", "running", "[wrong-state]")
    assert quick.observe() == before


def test_what_is_stopped_cannot_be_stopped_or_entered(cli: Cli, stopped: Instance) -> None:
    refused(cli("stop", "quick"), 4, "stopped")
    refused(cli("exec", "quick", "--", "true"), 125, "stopped", "cloison start quick")
    refused(cli("console", "quick"), 4, "stopped")


def test_what_runs_cannot_be_deleted_or_renamed_without_a_word(cli: Cli, quick: Instance) -> None:
    refused(cli("delete", "quick"), 4, "--force")
    refused(cli("rename", "quick", "other"), 4, "running")
    assert quick.observe().pid


def test_a_command_that_is_missing_or_not_executable(cli: Cli, quick: Instance) -> None:
    refused(cli("exec", "quick", "--", "/nonesuch"), 127, "/nonesuch")
    refused(cli("exec", "quick", "--", "nonesuch"), 127, "nonesuch", "PATH")
    refused(cli("exec", "quick", "--", "/etc/passwd"), 126, "/etc/passwd")
    refused(cli("exec", "quick"), 125, "COMMAND", "[usage]")


def test_an_unknown_user_inside(cli: Cli, quick: Instance) -> None:
    refused(cli("exec", "-u", "nobody-here", "quick", "--", "true"), 125, "nobody-here")


def test_several_keys_in_one_set_are_all_or_nothing(cli: Cli, quick: Instance) -> None:
    refused(cli("set", "quick", "limits.memory=64M", "limits.processes=none"), 2, "limits.processes=none")
    assert quick.get("limits.memory") == ""


def test_a_name_that_is_taken(cli: Cli, stopped: Instance) -> None:
    refused(cli("create", "busybox", "quick"), 4, "already", "'quick'", "[exists]")


def test_an_image_in_use_is_kept(cli: Cli, stopped: Instance) -> None:
    refused(cli("image", "rm", "busybox"), 4, "quick")


def test_an_init_that_is_missing_leaves_nothing_of_a_launch(cli: Cli, engine: Engine) -> None:
    done = cli("launch", "busybox", "web", "--network", "empty", "--set", "init.command=/nonesuch")
    assert done.returncode in (3, 127)
    assert "/nonesuch" in done.stderr
    assert engine.instances() == ()


@pytest.mark.parametrize(
    ("missing", "release", "said"),
    [
        (("/usr/bin/mmdebstrap", "/usr/sbin/debootstrap"), "12", "debootstrap"),
        (("/usr/bin/mmdebstrap",), "14", "the debootstrap of this host does not know Debian's release forky"),
    ],
    ids=["both", "mmdebstrap"],
)
def test_a_template_tool_that_is_missing(tmp_path: Path, missing: tuple[str, ...], release: str, said: str) -> None:
    if len(missing) == 1 and Path("/usr/share/debootstrap/scripts/forky").exists():
        pytest.skip("this host's debootstrap is a newer one")
    hide = ""
    for tool in missing:
        hide += f"[ ! -e {tool} ] || mount --bind /dev/null {tool}; "
    command: list[str | Path] = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        hide + 'exec "$@"',
        "sh",
        PROGRAM,
        "launch",
        f"debian/{release}",
        "web",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CLOISON_ROOT": str(tmp_path)})
    refused(done, 6, said, "apt-get install", "mmdebstrap")


def test_several_names_are_each_tried(cli: Cli, engine: Engine, stopped: Instance) -> None:
    done = cli("start", "nobody", "quick")
    assert done.returncode == 3
    assert engine.get("quick").observe().pid


def test_a_user_without_rights_is_told_so(tmp_path: Path) -> None:
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    command = [*nobody, str(PROGRAM), "--root", "/var/lib/x", "ls"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 5, done
    assert "root" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a store and little else."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_named_and_nothing_half_made_stays(cli: Cli, full_disk: Path) -> None:
    done = cli("launch", "busybox", "web", "--network", "empty", CLOISON_ROOT=str(full_disk))
    refused(done, 6, "[no-space]")
    listed = cli("image", "ls", "--json", CLOISON_ROOT=str(full_disk))
    assert listed.stdout.strip() == "[]"
    assert cli("ls", "-q", CLOISON_ROOT=str(full_disk)).stdout == ""
    assert list((full_disk / "lib" / "instances").glob("*")) == []


def test_a_disk_that_is_full_when_an_instance_is_made(cli: Cli, engine: Engine, root: Path, tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k,nr_inodes=14", "tmpfs", room], check=True)
    try:
        (room / "lib").mkdir()
        (room / "lib" / "images").symlink_to(root / "lib" / "images")
        done = [cli("create", "busybox", f"w{n}", "--network", "empty", CLOISON_ROOT=str(room)) for n in range(6)]
        failed = [one for one in done if one.returncode]
        assert failed
        for one in failed:
            refused(one, 6, "[no-space]")
    finally:
        subprocess.run(["umount", room], check=True)

"""`cloison file` and `Instance.files`: the same of an instance that runs and of one that does not.

What was pushed is looked at by a process of the instance itself, or on the disk of the host, and not by cloison.
"""

import contextlib
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Conflict, Denied, Engine, Instance, Invalid, NoSpace, NotFound
from cloison.spec.files import FileKind
from tests.integration.conftest import PROGRAM, QUICK, Cli, refused
from tests.patience import patient


@pytest.fixture(params=["running", "stopped"])
def box(request: pytest.FixtureRequest, engine: Engine) -> Instance:
    """An instance that runs, or does not."""
    made = engine.create("busybox", "box", config=QUICK)
    if request.param == "running":
        made.start()
    return made


@pytest.fixture(params=["unprivileged", "privileged"])
def any_box(request: pytest.FixtureRequest, engine: Engine) -> Instance:
    """One that runs, of either kind."""
    config = [*QUICK, *(["security.privileged=true"] if request.param == "privileged" else [])]
    return engine.launch("busybox", "box", config=config)


@contextlib.contextmanager
def running(instance: Instance) -> Iterator[Instance]:
    """It runs for as long as somebody has to look inside."""
    is_stopped = not instance.observe().pid
    if is_stopped:
        instance.start()
    yield instance
    if is_stopped:
        instance.stop(force=True)


def inside(instance: Instance, *words: str) -> str:
    """What a command inside says, which is the witness of most tests."""
    with running(instance):
        done = instance.exec(words)
        assert done.code == 0, done
        return done.stdout.decode().strip()


def on_disk(engine: Engine, instance: Instance) -> Path:
    """The instance's own files on the host."""
    with engine.pools.driver(instance.tree.pool).directories(instance.tree) as layers:
        return Path(layers.upper)


def sh(instance: Instance, script: str) -> str:
    return inside(instance, "sh", "-c", script)


# --- one file ------------------------------------------------------------------------------------------------


def test_a_new_file_is_of_root_inside_and_unshifted_on_disk(engine: Engine, box: Instance, tmp_path: Path) -> None:
    source = tmp_path / "app.conf"
    source.write_text("port=80\n")
    source.chmod(0o640)
    os.chown(source, 1234, 1234)
    os.utime(source, (1_000_000_000, 1_000_000_000))
    box.files.push(str(source), "/etc/app.conf")
    assert sh(box, "stat -c '%u %g %a %Y' /etc/app.conf; cat /etc/app.conf") == "0 0 640 1000000000\nport=80"
    found = (on_disk(engine, box) / "etc/app.conf").stat()
    assert (found.st_uid, found.st_gid) == (0, 0)


def test_owner_and_mode_are_those_that_were_asked_for(box: Instance, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    box.files.push(str(tmp_path / "x"), "/srv/x", uid=33, gid=65535, mode=0o4711, parents=True)
    assert inside(box, "stat", "-c", "%u %g %a", "/srv/x") == "33 65535 4711"


def test_a_file_that_is_replaced_keeps_its_owner_and_mode(box: Instance, tmp_path: Path) -> None:
    box.files.write("/etc/secret", b"old", uid=7, gid=8, mode=0o600)
    (tmp_path / "x").write_text("new")
    box.files.push(str(tmp_path / "x"), "/etc/secret")
    assert sh(box, "stat -c '%u %g %a' /etc/secret; cat /etc/secret") == "7 8 600\nnew"


def test_a_setuid_program_of_the_host_is_none_inside_unless_that_is_said(box: Instance, tmp_path: Path) -> None:
    (tmp_path / "su").write_text("x")
    (tmp_path / "su").chmod(0o4755)
    box.files.push(str(tmp_path / "su"), "/su")
    assert inside(box, "stat", "-c", "%a", "/su") == "755"


def test_a_pulled_file_has_the_mode_and_time_of_inside_and_nobody_elses_power(box: Instance, tmp_path: Path) -> None:
    box.files.write("/usr/tool", b"#!/bin/sh\n", uid=12, mode=0o6755)
    with running(box):
        assert box.exec(["touch", "-d", "2001-09-09 01:46:40", "/usr/tool"]).code == 0
    box.files.pull("/usr/tool", str(tmp_path))
    found = (tmp_path / "tool").stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode), found.st_mtime) == (os.geteuid(), 0o755, 1_000_000_000)
    assert (tmp_path / "tool").read_bytes() == b"#!/bin/sh\n"


def test_stat_and_list_say_what_is_there(box: Instance) -> None:
    with box.files as files:
        files.mkdir("/srv/d", uid=5, gid=6, mode=0o1777, parents=True)
        files.write("/srv/f", b"12345", mode=0o604)
        found = {entry.name: entry for entry in files.list("/srv")}
    assert found["d"].kind is FileKind.DIRECTORY
    assert (found["d"].uid, found["d"].gid, found["d"].mode) == (5, 6, 0o1777)
    assert (found["f"].kind, found["f"].size_bytes, found["f"].mode) == (FileKind.FILE, 5, 0o604)
    assert sh(box, "cd /srv && stat -c '%n %u %g %a %s' d f | cut -d' ' -f1-4") == "d 5 6 1777\nf 0 0 604"
    assert box.files.stat("/linuxrc").kind is FileKind.FILE
    assert box.files.stat("/linuxrc", follow=False).target == "/bin/busybox"


def test_a_directory_with_thousands_of_entries_is_listed_whole(box: Instance) -> None:
    with running(box):
        assert box.exec(["sh", "-c", "mkdir /many; cd /many; touch $(seq 5000)"]).code == 0
    assert sorted(int(entry.name) for entry in box.files.list("/many")) == list(range(1, 5001))
    box.files.remove("/many", recursive=True)
    assert "many" not in inside(box, "ls", "/").split()


def test_a_directory_that_is_nested_deeply_is_removed(box: Instance) -> None:
    with running(box):
        deep = "i=0; mkdir /deep; cd /deep; while [ $i -lt 1200 ]; do mkdir d; cd d; i=$((i+1)); done"
        assert box.exec(["sh", "-c", deep]).code == 0
    box.files.remove("/deep", recursive=True)
    assert "deep" not in inside(box, "ls", "/").split()


def test_a_sparse_file_stays_sparse_both_ways(box: Instance, tmp_path: Path) -> None:
    source = tmp_path / "image"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    copied = box.files.push(str(source), "/image")
    assert copied.bytes < 1 << 20
    size, blocks = inside(box, "stat", "-c", "%s %b", "/image").split()
    assert int(size) == 64 << 20
    assert int(blocks) * 512 < 1 << 20
    box.files.pull("/image", str(tmp_path / "back"))
    assert (tmp_path / "back").stat().st_blocks * 512 < 1 << 20
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_name_that_is_no_text_goes_both_ways(box: Instance, tmp_path: Path) -> None:
    os.mkdir(tmp_path / "out")
    (tmp_path / "out" / os.fsdecode(b"caf\xe9")).write_text("latin")
    box.files.push(str(tmp_path / "out"), "/srv/out", recursive=True, parents=True)
    box.files.pull("/srv/out", str(tmp_path / "back"), recursive=True)
    assert os.listdir(os.fsencode(tmp_path / "back")) == [b"caf\xe9"]
    assert sh(box, "cd /srv/out; echo * | od -An -tx1 | tr -d ' \\n'") == "636166e90a"


# --- directories ---------------------------------------------------------------------------------------------


def test_a_directory_goes_in_and_comes_back_as_it_was(box: Instance, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "sub" / "empty").mkdir(parents=True)
    (site / "index.html").write_text("<p>")
    (site / "sub" / "run").write_text("#!")
    (site / "sub" / "run").chmod(0o755)
    (site / "link").symlink_to("sub/run")
    (site / "away").symlink_to("/etc/shadow")
    os.mkfifo(site / "pipe")
    pushed = box.files.push(str(site), "/srv/", recursive=True, parents=True, uid=33, gid=34)
    assert (pushed.files, pushed.skipped) == (2, ("/srv/site/pipe",))
    assert sh(box, "cd /srv/site; find . | sort; stat -c '%u:%g' . sub sub/run link") == (
        ".\n./away\n./index.html\n./link\n./sub\n./sub/empty\n./sub/run\n" + "\n".join(["33:34"] * 4)
    )
    box.files.pull("/srv/site", str(tmp_path / "back"), recursive=True)
    (site / "pipe").unlink()
    assert subprocess.run(["diff", "-r", "--no-dereference", site, tmp_path / "back"]).returncode == 0
    assert os.readlink(tmp_path / "back" / "away") == "/etc/shadow"


def test_what_is_no_file_is_never_opened(box: Instance, tmp_path: Path) -> None:
    """A fifo would be waited for, for ever."""
    with running(box):
        assert box.exec(["sh", "-c", "mkdir /odd; mkfifo /odd/fifo; echo 1 > /odd/a"]).code == 0
    with pytest.raises(Invalid, match="box/odd/fifo is a fifo"):
        box.files.read("/odd/fifo")
    with pytest.raises(Invalid, match="is a fifo"):
        box.files.write("/odd/fifo", b"x")
    pulled = box.files.pull("/odd", str(tmp_path / "odd"), recursive=True)
    assert pulled.skipped == ("/odd/fifo",)
    assert os.listdir(tmp_path / "odd") == ["a"]


def test_a_device_is_not_opened(any_box: Instance) -> None:
    with pytest.raises(Invalid, match="is a character device"):
        any_box.files.read("/dev/null")
    with pytest.raises(Invalid, match="is a character device"):
        any_box.files.write("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat(f"/proc/{any_box.observe().pid}/root/dev/null").st_mode)


# --- links ---------------------------------------------------------------------------------------------------


def test_links_are_followed_inside_alone(box: Instance, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    with running(box):
        script = f"ln -s {secret} /leak; ln -s / /top; ln -s ../../../../../../etc/passwd /up; ln -s {tmp_path} /dir"
        assert box.exec(["sh", "-c", script]).code == 0
    with pytest.raises(NotFound):
        box.files.read("/leak")
    assert box.files.read("/up") == box.files.read("/etc/passwd") == box.files.read("/top/top/etc/passwd")
    assert b"busybox" not in Path("/etc/passwd").read_bytes()
    with pytest.raises(NotFound):
        box.files.write("/leak", b"overwritten")  # its directory is not there, inside
    with pytest.raises(NotFound):
        box.files.write("/dir/new", b"x")
    assert secret.read_text() == "of the host"
    assert os.listdir(tmp_path) == ["root", "secret"]


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(box: Instance) -> None:
    with running(box):
        assert box.exec(["sh", "-c", "echo old > /etc/real; ln -s ../etc/real /srv-conf"]).code == 0
    box.files.write("/srv-conf", b"new\n")
    assert sh(box, "readlink /srv-conf; cat /etc/real") == "../etc/real\nnew"
    box.files.remove("/srv-conf")
    assert inside(box, "cat", "/etc/real") == "new"


def test_links_in_a_circle_are_an_error(box: Instance) -> None:
    with running(box):
        assert box.exec(["sh", "-c", "ln -s b /a; ln -s a /b"]).code == 0
    with pytest.raises(Invalid, match="too many links"):
        box.files.read("/a")
    with pytest.raises(Invalid, match="too many links"):
        box.files.write("/a", b"")


def test_a_link_that_became_one_since_the_last_pull_is_not_followed_on_the_host(box: Instance, tmp_path: Path) -> None:
    """First inside there is a link to a directory of the host, then a directory of that name."""
    victim = tmp_path / "victim"
    victim.mkdir()
    with running(box):
        assert box.exec(["sh", "-c", f"mkdir /srv; ln -s {victim} /srv/d"]).code == 0
    box.files.pull("/srv", str(tmp_path), recursive=True)
    with running(box):
        assert box.exec(["sh", "-c", "rm /srv/d; mkdir /srv/d; echo gotcha > /srv/d/passwd"]).code == 0
    with pytest.raises(Conflict, match=r"on the host.*is no directory"):
        box.files.pull("/srv", str(tmp_path), recursive=True)
    assert os.listdir(victim) == []


def test_a_guest_that_swaps_directories_for_links_never_gets_at_the_host(any_box: Instance, tmp_path: Path) -> None:
    """It changes a directory to a link to one of the host, and back, as fast as it can."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "f").write_text("of the host")
    inner = os.path.relpath(victim, "/")
    script = f"""mkdir -p /race/real; echo inside > /race/real/f; cd /race
        while :; do ln -s /{inner} swap 2>/dev/null; mv swap d 2>/dev/null; rm -f d; cp -r real d; rm -rf d; done"""
    deadline = time.monotonic() + 3
    seen = 0
    null = os.open("/dev/null", os.O_RDWR)
    with any_box.spawn(["sh", "-c", script], stdio=(null, null, null)) as loop, any_box.files as files:
        while time.monotonic() < deadline:
            with contextlib.suppress(NotFound, Invalid, Conflict, Denied):
                assert files.read("/race/d/f") in (b"inside\n", b"pushed", b"")
                seen += 1
            with contextlib.suppress(NotFound, Invalid, Conflict, Denied):
                files.write("/race/d/f", b"pushed")
            with contextlib.suppress(NotFound, Invalid, Conflict, Denied):
                files.remove("/race/d", recursive=True)
        loop.signal(9)
    os.close(null)
    assert seen
    assert (victim / "f").read_text() == "of the host"
    assert os.listdir(victim) == ["f"]


def test_a_push_behind_a_link_into_proc_changes_no_parameter(any_box: Instance) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_bytes()
    done = any_box.exec(["ln", "-s", "/proc/sys/kernel/core_pattern", "/etc/harmless"])
    assert done.code == 0
    with pytest.raises((Denied, NotFound, Invalid)):
        any_box.files.write("/etc/harmless", b"|/evil")
    assert Path("/proc/sys/kernel/core_pattern").read_bytes() == before


def test_what_is_mounted_inside_is_seen_while_it_runs(any_box: Instance) -> None:
    assert any_box.exec(["sh", "-c", "mount -t tmpfs none /mnt; echo here > /mnt/f"]).code == 0
    assert any_box.files.read("/mnt/f") == b"here\n"
    with pytest.raises(Conflict):
        any_box.files.remove("/mnt", recursive=True)
    assert any_box.files.read("/mnt/f") == b"here\n"


def test_files_of_a_frozen_instance_are_reached(any_box: Instance) -> None:
    any_box.freeze()
    any_box.files.write("/etc/motd", b"cold")
    assert any_box.files.read("/etc/motd") == b"cold"
    any_box.unfreeze()


# --- what goes wrong -----------------------------------------------------------------------------------------


def test_errors_name_the_file_and_say_what_to_do(cli: Cli, box: Instance, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("x")
    refused(cli("file", "pull", "box/none", "-"), 3, "box/none is not there")
    refused(cli("file", "pull", "box/etc", "."), 2, "box/etc is a directory", "-r")
    refused(cli("file", "push", str(tmp_path / "d"), "box/srv/"), 2, "is a directory", "-r")
    refused(cli("file", "push", str(tmp_path / "none"), "box/srv/"), 3, "is not there on the host")
    refused(cli("file", "push", str(tmp_path / "f"), "box/a/b/c"), 3, "box/a/b/c", "-p")
    refused(cli("file", "push", str(tmp_path / "f"), "box/etc/passwd/x"), 2, "is no directory")
    refused(cli("file", "push", str(tmp_path / "f"), "box"), 2, "INSTANCE/PATH")
    refused(cli("file", "push", "--mode", "9", str(tmp_path / "f"), "box/x"), 2, "octal")
    refused(cli("file", "push", "--uid", "65536", str(tmp_path / "f"), "box/x"), 2, "65535")
    refused(cli("file", "rm", "box/etc"), 4, "-r")
    refused(cli("file", "rm", "-r", "box/"), 4, "root directory")
    refused(cli("file", "ls", "box/none"), 3, "box/none")
    refused(cli("file", "ls", "nobody/etc"), 3, "nobody")
    assert "passwd" in inside(box, "ls", "/etc").split()


def test_a_full_disk_leaves_the_old_file_whole(engine: Engine, tmp_path: Path) -> None:
    box = engine.launch("busybox", "box", config=QUICK)
    assert box.exec(["sh", "-c", "mount -t tmpfs -o size=1m none /mnt; echo old > /mnt/f"]).code == 0
    (tmp_path / "big").write_bytes(os.urandom(2 << 20))
    with pytest.raises(NoSpace, match="box/mnt/f"):
        box.files.push(str(tmp_path / "big"), "/mnt/f")
    assert inside(box, "sh", "-c", "cat /mnt/f; ls -A /mnt") == "old\nf"


@pytest.mark.parametrize("is_running", [True, False])
def test_a_push_that_is_killed_leaves_the_old_file_and_nothing_else(
    cli: Cli, engine: Engine, root: Path, *, is_running: bool
) -> None:
    box = engine.create("busybox", "box", config=QUICK)
    box.files.write("/data", b"old\n")
    if is_running:
        box.start()
    command = [str(PROGRAM), "file", "push", "-", "box/data"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "CLOISON_ROOT": str(root)}) as push:
        assert push.stdin is not None
        push.stdin.write(b"new" * 100_000)
        push.stdin.flush()
        time.sleep(patient(1))
        push.send_signal(signal.SIGKILL)
        push.wait()
    assert sh(box, "cat /data; ls -A / | grep -c cloison || true") == "old\n0"


def test_an_instance_that_ends_on_the_way_is_an_error(root: Path, engine: Engine) -> None:
    box = engine.launch("busybox", "box", config=QUICK)
    box.files.write("/data", b"old\n")
    command = [str(PROGRAM), "file", "push", "-", "box/data"]
    environment = {**os.environ, "CLOISON_ROOT": str(root)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as push:
        assert push.stdin is not None
        push.stdin.write(b"new")
        push.stdin.flush()
        time.sleep(patient(1))
        box.stop(force=True)
        _out, said = push.communicate(timeout=30)
    assert push.returncode == 4, said
    assert b"has just ended" in said
    assert inside(box, "cat", "/data") == "old"


def test_nobody_starts_an_instance_whose_files_are_being_changed(cli: Cli, root: Path, engine: Engine) -> None:
    engine.create("busybox", "box", config=QUICK)
    command = [str(PROGRAM), "file", "push", "-", "box/data"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "CLOISON_ROOT": str(root)}) as push:
        assert push.stdin is not None
        push.stdin.write(b"new")
        push.stdin.flush()
        time.sleep(patient(1))
        refused(cli("start", "box"), 4, "another command is changing it")
        push.stdin.close()
        assert push.wait(30) == 0
    assert engine.get("box").files.read("/data") == b"new"


# --- streams, and the command ---------------------------------------------------------------------------------


def test_streams_go_in_and_out_byte_for_byte(root: Path, box: Instance) -> None:
    data = os.urandom(3_000_001)
    environment = {**os.environ, "CLOISON_ROOT": str(root)}
    push = [str(PROGRAM), "file", "push", "-", "box/blob", "--mode", "0600"]
    subprocess.run(push, input=data, env=environment, check=True, timeout=60)
    pulled = subprocess.run(
        [str(PROGRAM), "file", "pull", "box/blob", "-"], stdout=subprocess.PIPE, env=environment, check=True, timeout=60
    )
    assert pulled.stdout == data
    assert inside(box, "stat", "-c", "%a %s", "/blob") == "600 3000001"


def test_several_files_come_into_a_directory(cli: Cli, box: Instance, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    done = cli("file", "push", "-p", str(tmp_path / "a"), str(tmp_path / "b"), "box/srv/deep/er")
    assert done.returncode == 0, done
    assert sh(box, "cd /srv/deep/er; cat a b") == "ab"
    (tmp_path / "back").mkdir()
    assert cli("file", "pull", "box/srv/deep/er/a", "box/srv/deep/er/b", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back" / "b").read_text() == "b"


def test_ls_shows_names_that_are_no_text_without_harm(cli: Cli, box: Instance) -> None:
    box.files.mkdir("/srv")
    box.files.write("/srv/a\x1b[31m", b"")
    shown = cli("file", "ls", "box/srv").stdout
    assert "\x1b" not in shown
    assert "a\\x1b[31m" in shown


def test_edit_changes_a_file_and_keeps_its_owner(cli: Cli, box: Instance, tmp_path: Path) -> None:
    box.files.write("/etc/conf", b"port=1\n", uid=9, mode=0o640)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i s/1/2/ $1\n")
    editor.chmod(0o755)
    assert cli("file", "edit", "box/etc/conf", EDITOR=str(editor)).returncode == 0
    assert sh(box, "stat -c '%u %a' /etc/conf; cat /etc/conf") == "9 640\nport=2"


@pytest.mark.parametrize(
    ("script", "code", "said"), [("exit 0", 0, "nothing was changed"), ("echo x > $1; exit 3", 2, "exit code 3")]
)
def test_an_editor_that_fails_or_changes_nothing_changes_nothing(
    cli: Cli, stopped: Instance, tmp_path: Path, script: str, code: int, said: str
) -> None:
    stopped.files.write("/etc/conf", b"as it was")
    before = stopped.files.stat("/etc/conf")
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o755)
    done = cli("file", "edit", "quick/etc/conf", EDITOR=str(editor))
    assert (done.returncode, said in done.stderr) == (code, True), done
    assert stopped.files.stat("/etc/conf") == before
    refused(cli("file", "edit", "quick/etc/conf", EDITOR="/none"), 2, "nothing was changed")


def test_an_edit_does_not_overwrite_what_somebody_else_has_written(
    cli: Cli, box: Instance, root: Path, tmp_path: Path
) -> None:
    box.files.write("/etc/conf", b"one")
    editor = tmp_path / "editor"
    editor.write_text(
        f"#!/bin/sh\necho mine > $1\nprintf theirs | CLOISON_ROOT={root} {PROGRAM} file push - box/etc/conf\n"
    )
    editor.chmod(0o755)
    done = cli("file", "edit", "box/etc/conf", EDITOR=str(editor))
    refused(done, 4, "changed by somebody else", "what you wrote is in")
    kept = Path(done.stderr.split("what you wrote is in ")[1].split()[0])
    assert kept.read_text() == "mine\n"
    kept.unlink()
    kept.parent.rmdir()
    assert box.files.read("/etc/conf") == b"theirs"


def test_files_of_many_threads_at_once(web: Instance) -> None:
    """The process that looks inside is of whoever asks; threads of one caller do not disturb each other."""
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for count in range(5):
                web.files.write(f"/tmp/{number}", f"{number} {count}".encode())
                assert web.files.read(f"/tmp/{number}") == f"{number} {count}".encode()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []

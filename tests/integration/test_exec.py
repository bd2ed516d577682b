"""Commands inside: their exit codes, their streams, their terminals."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloison import CloisonError, Instance, Invalid, WrongState
from tests.integration import traces
from tests.integration.conftest import PAYLOAD, init_of

pytestmark = [pytest.mark.needs_root]
PROGRAM = Path(sys.executable).with_name("cloison")
MANY = 50 << 20


def shell(instance: Instance, script: str, **how: object) -> tuple[int, bytes, bytes]:
    result = instance.exec(["sh", "-c", script], **how)  # type: ignore[arg-type]
    return result.code, result.stdout, result.stderr


@pytest.mark.parametrize("code", [0, 1, 42, 125, 255])
def test_the_exit_code_is_the_commands_own(quick: Instance, code: int) -> None:
    assert shell(quick, f"exit {code}")[0] == code


def test_a_command_that_a_signal_ends_gives_128_and_its_number(quick: Instance) -> None:
    assert shell(quick, "kill -TERM $$")[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("word", "code"),
    [("nonesuch", "program-not-found"), ("/nonesuch", "program-not-found"), ("/etc", "cannot-execute")],
)
def test_what_cannot_be_run_is_an_error_of_its_own(quick: Instance, word: str, code: str) -> None:
    with pytest.raises(CloisonError) as caught:
        quick.exec([word])
    assert caught.value.code == code
    assert word in str(caught.value)


def test_the_three_streams_stay_apart(quick: Instance) -> None:
    assert shell(quick, "cat; echo err >&2", input=b"in") == (0, b"in", b"err\n")


def test_fifty_megabytes_go_through_unharmed(quick: Instance) -> None:
    data = os.urandom(1 << 20) * (MANY >> 20)
    assert quick.exec(["cat"], input=data).stdout == data


def test_both_outputs_at_once_do_not_block_each_other(quick: Instance) -> None:
    code, out, err = shell(quick, "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; echo end")
    assert (code, len(out), len(err)) == (0, 5_000_004, 5_000_000)


def test_a_closed_input_arrives(quick: Instance) -> None:
    assert shell(quick, "cat; echo end")[1] == b"end\n"


def test_input_that_nobody_reads_does_not_block(quick: Instance) -> None:
    assert shell(quick, "exec <&-; echo done", input=b"x" * MANY)[1] == b"done\n"


def test_a_child_left_behind_is_not_waited_for(quick: Instance) -> None:
    begun = time.monotonic()
    assert shell(quick, "sleep 30 & echo begun")[1] == b"begun\n"
    assert time.monotonic() - begun < 10


def test_a_command_that_takes_too_long_is_killed(quick: Instance) -> None:
    with pytest.raises(TimeoutError, match="killed"):
        quick.exec(["sleep", "30"], timeout_s=0.2)
    assert b"sleep 30" not in quick.exec(["ps"]).stdout


def test_environment_directory_and_user(quick: Instance) -> None:
    code, out, _ = shell(quick, "echo $A; pwd; id -u; id -g", env={"A": "b c"}, cwd="/etc", user="33:44")
    assert (code, out) == (0, b"b c\n/etc\n33\n44\n")


def test_a_user_by_name_gets_its_home(quick: Instance) -> None:
    assert shell(quick, "echo $HOME $(id -un)", user="root")[1] == b"/root root\n"


def test_a_fifo_in_place_of_the_accounts_is_not_waited_for(quick: Instance) -> None:
    shell(quick, "rm /etc/passwd; mkfifo /etc/passwd")
    assert quick.exec(["sh", "-c", "grep ^Uid: /proc/self/status"], user="5").stdout.split()[1:2] == [b"5"]
    with pytest.raises(Invalid):
        quick.exec(["id"], user="somebody")


def test_a_link_out_of_the_root_leads_nowhere_else(quick: Instance, tmp_path: Path) -> None:
    secret = tmp_path / "passwd"
    secret.write_text("spy:x:77:77::/:/bin/sh\n")
    shell(quick, f"ln -sf /../../../..{secret} /etc/passwd")
    with pytest.raises(Invalid):
        quick.exec(["id"], user="spy")


def test_a_directory_that_is_not_there_is_named(quick: Instance) -> None:
    with pytest.raises(CloisonError, match="/nonesuch"):
        quick.exec(["true"], cwd="/nonesuch")


@pytest.mark.parametrize("way_out", ["/proc/self/fd/3", "/proc/self/fd/8", "/proc/self/fd/9"])
def test_no_descriptor_leads_out_as_a_working_directory(quick: Instance, way_out: str) -> None:
    with pytest.raises(CloisonError):
        quick.exec(["cat", "../../../../etc/hostname"], cwd=way_out)


def test_a_command_is_in_the_containers_groups_and_namespaces(quick: Instance) -> None:
    with quick.spawn(["sleep", "5"], stdio=null()) as running:
        groups = Path(f"/proc/{running.pid}/cgroup").read_text()
        assert all(quick.id in line for line in groups.splitlines())
        for kind in traces.NAMESPACES:
            assert traces.namespace(running.pid, kind) == traces.namespace(init_of(quick), kind)
        running.signal(signal.SIGKILL)
        assert running.wait() == 137


def null() -> tuple[int, int, int]:
    fd = os.open("/dev/null", os.O_RDWR)
    return (fd, fd, fd)


def test_a_guest_cannot_hold_up_commands_by_freezing_their_group(quick: Instance) -> None:
    shell(quick, "mkdir /sys/fs/cgroup/.exec /sys/fs/cgroup/exec; echo 1 > /sys/fs/cgroup/.exec/cgroup.freeze")
    shell(quick, "echo 1 > /sys/fs/cgroup/exec/cgroup.freeze; echo 1 > /sys/fs/cgroup/../exec/cgroup.freeze")
    assert quick.exec(["echo", "free"], timeout_s=10).stdout == b"free\n"


def test_a_guest_cannot_nest_groups_deeper_than_they_are_removed(quick: Instance) -> None:
    shell(quick, "cd /sys/fs/cgroup; for i in $(seq 40); do mkdir a && cd a || exit; done")
    quick.stop()
    assert traces.cgroups([quick.id]) == []


@pytest.mark.parametrize("user", ["4294967295", "99999999999999999999", "0:4294967295"])
def test_an_id_that_nobody_can_have_is_refused(quick: Instance, user: str) -> None:
    with pytest.raises(Invalid):
        quick.exec(["true"], user=user)


def test_what_the_caller_gets_does_not_leak_to_its_children(quick: Instance) -> None:
    with quick.spawn(["true"], tty=True) as running:
        assert not os.get_inheritable(running.terminal)


def test_commands_in_many_threads(quick: Instance) -> None:
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda n: quick.exec(["echo", str(n)]).stdout, range(40)))
    assert said == [f"{n}\n".encode() for n in range(40)]


def test_a_stopped_container_runs_nothing(stopped: Instance) -> None:
    with pytest.raises(WrongState, match="stopped"):
        stopped.exec(["true"])


def test_a_command_ends_with_its_container(quick: Instance) -> None:
    running = quick.spawn(["sleep", "60"], stdio=null())
    quick.stop(force=True)
    with running:
        assert running.wait() == 137


# --- terminals -------------------------------------------------------------------------------------------------------


def test_a_terminal_is_the_containers_own_and_the_sessions(quick: Instance) -> None:
    with quick.spawn(["sh", "-c", "tty; stty size; exit 3"], tty=True, winsize=(40, 120)) as running:
        said = read_all(running.terminal)
        assert running.wait() == 3
    assert said.split() == [b"/dev/pts/1", b"40", b"120"]


def test_ctrl_c_reaches_what_runs_on_it(quick: Instance) -> None:
    with quick.spawn(["sh", "-c", "echo ready; sleep 60"], tty=True) as running:
        read_until(running.terminal, b"ready")
        os.write(running.terminal, b"\x03")
        assert running.wait() == 128 + signal.SIGINT


def read_all(fd: int) -> bytes:
    said = b""
    try:
        while data := os.read(fd, 4096):
            said += data
    except OSError:
        pass
    return said


def read_until(fd: int, wanted: bytes, seconds: float = 20) -> bytes:
    said, deadline = b"", time.monotonic() + seconds
    while wanted not in said:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([fd], [], [], left)[0], said
        said += os.read(fd, 4096)
    return said


class Terminal:
    """`cloison` on a pseudo-terminal, as a user has it."""

    def __init__(self, root: Path, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        termios.tcsetwinsize(slave, (30, 90))
        self.process = subprocess.Popen(
            [PROGRAM, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "CLOISON_ROOT": str(root), "TERM": "xterm"},
        )
        self.slave = slave

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def expect(self, wanted: bytes) -> bytes:
        return read_until(self.master, wanted)

    def end(self) -> int:
        code = self.process.wait(20)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is as it was"
        return code


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)
        os.close(terminal.slave)


def test_exec_on_a_terminal(quick: Instance, root: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(root, "exec", "quick", "--", "sh", "-c", "stty size; read x; echo got $x; exit 5")
    terminals.append(terminal)
    terminal.expect(b"30 90")
    terminal.type(b"word\r")
    terminal.expect(b"got word")
    assert terminal.end() == 5


def test_a_changed_size_is_passed_on(quick: Instance, root: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(root, "exec", "quick", "--", "sh", "-c", "echo ready; read x; stty size")
    terminals.append(terminal)
    terminal.expect(b"ready")
    termios.tcsetwinsize(terminal.slave, (50, 132))
    os.kill(terminal.process.pid, signal.SIGWINCH)
    time.sleep(0.1)
    terminal.type(b"\r")
    terminal.expect(b"50 132")
    assert terminal.end() == 0


def test_without_a_terminal_of_its_own_it_gets_none_of_the_hosts(
    quick: Instance, root: Path, terminals: list[Terminal]
) -> None:
    script = "tty; ls -l /proc/self/fd >&2; echo ready >&2; cat"
    terminal = Terminal(root, "exec", "-T", "quick", "--", "sh", "-c", script)
    terminals.append(terminal)
    said = terminal.expect(b"ready\r\n")
    assert b"pipe:" in said
    assert b"not a tty" in said
    assert b"/dev/pts" not in said
    terminal.type(b"line\r")
    terminal.expect(b"line\r\nline")
    terminal.type(b"\x04")
    assert terminal.end() == 0


def test_the_shell_is_a_login_shell_of_root(quick: Instance, root: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(root, "shell", "quick")
    terminals.append(terminal)
    terminal.expect(b"# ")
    terminal.type(b"echo $0 $HOME $((6*7))\r")
    terminal.expect(b"-sh /root 42")
    terminal.type(b"exit 9\r")
    assert terminal.end() == 9


def test_a_shell_reads_a_script_from_a_pipe(quick: Instance, root: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "shell", "quick"],
        input=b"echo from a pipe; exit 4\n",
        capture_output=True,
        env={**os.environ, "CLOISON_ROOT": str(root)},
    )
    assert (done.returncode, done.stdout) == (4, b"from a pipe\n")


def test_the_command_line_hands_pipes_through_untouched(quick: Instance, root: Path) -> None:
    data = bytes(range(256)) * 40_000
    done = subprocess.run(
        [PROGRAM, "exec", "quick", "--", "cat"],
        input=data,
        capture_output=True,
        env={**os.environ, "CLOISON_ROOT": str(root)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_a_signal_to_the_command_line_reaches_the_command(quick: Instance, root: Path) -> None:
    running = subprocess.Popen(
        [PROGRAM, "exec", "quick", "--", "sh", "-c", "trap 'exit 33' TERM; echo ready; while :; do sleep 0.1; done"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, "CLOISON_ROOT": str(root)},
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    running.terminate()
    assert running.wait(20) == 33
    running.stdout.close()


# --- the console -----------------------------------------------------------------------------------------------------


@pytest.fixture
def talker(launch: object) -> Instance:
    """An init that speaks on its console and repeats what it hears."""
    script = "echo hello from the past; while read line; do echo heard $line; done"
    return launch(f"init.command=/bin/sh -c '{script}'", name="talker")  # type: ignore[operator, no-any-return]


def test_the_console_shows_the_past_and_takes_input(talker: Instance, root: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(root, "console", "talker")
    terminals.append(terminal)
    assert terminal.expect(b"hello from the past").count(b"hello from the past") == 1
    terminal.type(b"a word\r")
    terminal.expect(b"heard a word")
    terminal.type(b"\x01q")
    assert terminal.end() == 0
    assert talker.observe().pid
    assert b"heard a word" in talker.logs()


def test_two_may_look_at_once_and_the_second_sees_nothing_twice(
    talker: Instance, root: Path, terminals: list[Terminal]
) -> None:
    for _ in range(2):
        terminals.append(Terminal(root, "console", "talker"))
        terminals[-1].expect(b"hello from the past")
    terminals[0].type(b"once\r")
    for terminal in terminals:
        assert terminal.expect(b"heard once").count(b"heard once") == 1


def test_the_console_ends_with_the_container(talker: Instance, root: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(root, "console", "talker")
    terminals.append(terminal)
    terminal.expect(b"hello")
    talker.stop(force=True)
    assert terminal.end() == 0


def test_who_does_not_read_does_not_block_the_container(launch: object) -> None:
    loud = launch("init.command=/bin/sh -c 'while :; do echo noise noise noise noise; done'", name="loud")  # type: ignore[operator]
    with loud._engine.driver._monitor(loud.id) as deaf:
        deaf.attach_console()
        before = len(loud.logs())
        time.sleep(0.5)
        assert len(loud.logs()) != before or loud.info().usage.cpu_ns


def test_the_log_is_rotated_and_bounded(launch: object) -> None:
    loud = launch(  # type: ignore[operator]
        "init.command=/bin/sh -c 'i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; sleep 60'",
        "console.log_size=16K",
        name="loud",
    )
    deadline = time.monotonic() + 20
    while b"line 19999" not in loud.logs():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(loud.logs()) <= 2 * (16 << 10)
    lines = loud.logs().splitlines()[1:]
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 20000)), "nothing is lost between the two files"
    assert PAYLOAD

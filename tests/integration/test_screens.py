"""`top` and `stats --watch` on a terminal: what is drawn, which keys they hear, and how the terminal is left."""

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison import Engine, Instance

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_cgroup]

CLOISON = [sys.executable, "-m", "cloison"]
PATIENCE_S = 30


class Screen:
    """A command on a terminal of its own, of 24 by 160."""

    def __init__(self, root: Path, *words: str) -> None:
        self.master, self.slave = os.openpty()
        self.resize(24, 160)
        self.before = termios.tcgetattr(self.slave)
        self.shown = b""
        self.process = subprocess.Popen(
            [*CLOISON, *words],
            env={**os.environ, "CLOISON_ROOT": str(root), "TERM": "xterm", "COLUMNS": "", "LINES": ""},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: bytes) -> bytes:
        """What is shown until `text` is; from here on only what comes later counts."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            left = deadline - time.monotonic()
            ready, _, _ = select.select((self.master,), (), (), max(0, left))
            assert ready, f"{text!r} is not in {self.shown!r}"
            self.shown += os.read(self.master, 65536)
        end = self.shown.index(text) + len(text)
        seen, self.shown = self.shown[:end], self.shown[end:]
        return seen

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def ends(self) -> int:
        """Its exit code; what it still says is read meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select((self.master,), (), (), 0.05)[0]:
                self.shown += os.read(self.master, 65536)
        return self.process.wait(1)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screens(engine: Engine, root: Path) -> Iterator[list[Screen]]:
    opened: list[Screen] = []
    yield opened
    for screen in opened:
        screen.close()


@pytest.fixture
def top(screens: list[Screen], quick: Instance, root: Path) -> Screen:
    screens.append(Screen(root, "top"))
    screens[0].until(b"quick")
    return screens[0]


@pytest.fixture
def watched(screens: list[Screen], quick: Instance, root: Path) -> Screen:
    screens.append(Screen(root, "stats", "--watch=200ms"))
    screens[0].until(b"quick")
    return screens[0]


def test_top_shows_what_runs_and_its_keys(top: Screen) -> None:
    assert b"sort: n=name s=state c=cpu" in top.until(b"q quit")


def test_top_leaves_the_terminal_as_it_was(top: Screen) -> None:
    top.press(b"q")
    assert top.ends() == 0
    assert termios.tcgetattr(top.slave) == top.before
    assert b"\x1b[?1049l" in top.shown  # back on the screen that was there before


def test_top_filters_by_what_is_typed(top: Screen) -> None:
    top.press(b"/qx")
    top.until(b"no name has 'qx' in it")
    top.press(b"\x1b")
    top.until(b"quick")


def test_top_fits_a_terminal_that_changes_its_size(top: Screen) -> None:
    for rows, columns in ((5, 20), (2, 10), (50, 200)):
        top.resize(rows, columns)
        os.kill(top.process.pid, signal.SIGWINCH)
        time.sleep(0.1)
    top.press(b"/quz")  # until the last letter it is found: so the sentence is drawn as a whole
    top.until(b"no name has 'quz' in it")
    assert top.process.poll() is None


@pytest.mark.parametrize("how", [b"\x03", b"q"])
def test_top_and_watch_end_in_peace(top: Screen, root: Path, screens: list[Screen], how: bytes) -> None:
    screens.append(Screen(root, "stats", "--watch"))
    screens[1].until(b"q ends")
    for screen in screens:
        if how == b"\x03":
            os.killpg(screen.process.pid, signal.SIGINT)  # what a terminal of one's own does for Ctrl-C
        else:
            screen.press(how)
    assert [screen.ends() for screen in screens] == [0, 0]
    assert termios.tcgetattr(screens[1].slave) == screens[1].before


def test_a_watch_draws_again_and_again(watched: Screen) -> None:
    for _ in range(3):
        watched.until(b"quick")


def test_a_watch_does_not_show_what_is_typed(watched: Screen) -> None:
    watched.press(b"zzz")
    watched.until(b"quick")
    assert b"zzz" not in watched.until(b"quick")


def test_a_terminal_that_cannot_be_drawn_on_is_named(root: Path, engine: Engine) -> None:
    master, slave = os.openpty()
    environment = {**os.environ, "CLOISON_ROOT": str(root), "TERM": "no-such-terminal"}
    done = subprocess.run(
        [*CLOISON, "top"], env=environment, stdin=slave, stdout=slave, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(master)
    os.close(slave)
    assert done.returncode == 2
    assert done.stderr.startswith("cloison: top: this terminal cannot be drawn on")

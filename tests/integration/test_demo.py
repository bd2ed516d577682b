"""`make demo` does what it says: the main job, end to end, and nothing is left of it."""

import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration import traces

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.debian
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_runs_to_its_end_and_leaves_nothing() -> None:
    done = subprocess.run([ROOT / "demo" / "demo.sh"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert shown.count("\nrunning\n") == 2, "after the start, and after the reboot"
    assert "\nhello from busy\n" in shown
    assert "1 packets transmitted, 1 received" in shown
    bridge = re.search(r"^  interface +(\S+)$", shown, re.MULTILINE)
    assert bridge is not None
    assert bridge[1] not in [name for _index, name in socket.if_nameindex()]
    assert traces.left(ROOT / "build" / "demo") == []

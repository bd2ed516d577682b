import os
import subprocess
import sys

import pytest

PROGRAM = f"""
import sys
sys.path[:0] = {[entry for entry in sys.path if entry]!r}
from cloison.cli.main import main
main()
"""


def run(shell_words: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, its streams as the shell says."""
    line = f'exec "$@" {shell_words}'
    argv = ["sh", "-c", line, "sh", sys.executable, "-I", "-c", PROGRAM, *words]
    return subprocess.run(argv, capture_output=True, text=True, env={"PATH": os.defpath})


def test_a_full_disk_is_an_error_of_its_own() -> None:
    done = run(">/dev/full", "--version")
    assert done.returncode == 6
    assert done.stderr == "cloison: the output cannot be written: No space left on device      [no-space]\n"


def test_who_does_not_read_hears_no_complaint() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_reason_to_fail(closed: str) -> None:
    assert run(closed, "--version").returncode == 0
    assert run(closed, "--nonsense").returncode == 2


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    opened = PROGRAM.replace("main()\n", "").replace("import main\n", "import main, open_streams\n")
    show = "open_streams(); import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in (0, 2)))"
    argv = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-I", "-c", opened + show]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.stdout == "/dev/null /dev/null\n"

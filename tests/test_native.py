"""The launcher's C code under the tools that find what tests do not: the analyser, the sanitizers, the fuzzer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.plan import worlds

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "native").glob("*.c"))
FUZZ_SECONDS = "15"
# The search for leaks starts a thread when the program ends, which it cannot in a process that has entered a pid
# namespace for its children; it then tries for ever. The launcher allocates nothing.
NO_LEAK_SEARCH = """
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }
"""


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_analyser_finds_nothing(source: Path) -> None:
    command = ["gcc", "-std=c11", "-O2", "-fanalyzer", "-Wall", "-Wextra", "-Werror", "-c", "-o", "/dev/null"]
    found = subprocess.run([*command, source], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launcher with the address and undefined behaviour sanitizers."""
    program = tmp_path_factory.mktemp("sanitized") / "launcher"
    options = program.with_suffix(".c")
    options.write_text(NO_LEAK_SEARCH)
    flags = ["-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    subprocess.run(["gcc", *flags, *SOURCES, options, "-o", program], check=True)
    return program


def test_every_cut_of_a_plan_is_refused_without_a_finding(sanitized: Path, tmp_path: Path) -> None:
    from cloison.plan.codec import encode

    whole = encode(worlds.start_plan())
    for size in [0, 1, 31, 32, 33, *range(40, len(whole), len(whole) // 40)]:
        (tmp_path / "plan").write_bytes(whole[:size])
        with (tmp_path / "plan").open("rb") as file:
            printed = subprocess.run([sanitized, "--print"], stdin=file, capture_output=True)
        assert printed.returncode == 2, (size, printed.stderr)
        assert b"Sanitizer" not in printed.stderr


@pytest.mark.needs_root
def test_a_container_lives_and_ends_under_the_sanitizers(sanitized: Path, tmp_path: Path) -> None:
    script = """
import cloison
engine = cloison.open()
web = engine.launch("busybox", "web", config=["nics.eth0.type=empty", "limits.memory=64M"])
assert web.exec(["cat"], input=b"x" * 100000).stdout == b"x" * 100000
assert web.exec(["false"]).code == 1
web.kill("SIGKILL")
assert web.wait(20)
web.delete()
"""
    environment = {**os.environ, "CLOISON_LAUNCHER": str(sanitized), "CLOISON_ROOT": str(tmp_path / "root")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Sanitizer" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_fuzzer_finds_nothing_in_a_bounded_run() -> None:
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    done = subprocess.run([ROOT / "tools" / "fuzz.sh", FUZZ_SECONDS], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]

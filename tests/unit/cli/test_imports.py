"""What a command may import: that is where the time of a short command goes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = frozenset(
    {"aiohttp", "asyncio", "click", "ctypes", "dataclasses", "difflib", "hashlib", "http", "httpx", "json", "logging"}
    | {"pathlib", "pyseccomp", "rich", "seccomp", "shlex", "shutil", "signal", "subprocess", "tarfile", "tempfile"}
    | {"tomllib", "traceback", "urllib", "zlib"}
)
OURS = 88  # modules of cloison that a start may need; how many it needed when this was written: 87

# A new interpreter runs one command on an installation with the instance `web`, whose launcher does nothing at all.
PROBE = """
import os, sys
sys.path[:0] = {path!r}
before = set(sys.modules)
from cloison.cli.main import run
code = run({words!r})
found = sorted(set(sys.modules) - before)
print("\\n" + " ".join([str(code), *found]), file=sys.__stdout__)
"""
INSTANCE = """
import os, sys
sys.path[:0] = {path!r}
from cloison.engine import records
from cloison.engine.engine import open_engine
from cloison.spec.config import Config, Security
config = Config(security=Security(seccomp=False))
record = records.Record("0123456789ab", "web", "container", "sha256:0", "tiny", 1, 1 << 20, config, layers=("/",),
                        command=("/sbin/init",))
engine = open_engine()
with engine.store.transaction() as changes:
    records.claim_name(changes, record.name, record.id)
    records.save(changes, record)
os.makedirs(engine.layout.instance(record.id))
"""


def python(script: str, root: Path, **values: object) -> str:
    """What a script says in an interpreter of its own, which knows the installation `root`."""
    environment = {"CLOISON_ROOT": str(root), "CLOISON_LAUNCHER": "/bin/true", "PATH": os.defpath}
    words = [sys.executable, "-I", "-c", script.format(path=[entry for entry in sys.path if entry], **values)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("installation")
    python(INSTANCE, root)
    return root


def imported(root: Path, *words: str) -> tuple[int, set[str]]:
    """The exit code of a command, and the modules that it imported."""
    code, *modules = python(PROBE, root, words=list(words)).splitlines()[-1].split()
    return int(code), set(modules)


def heavy(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} & HEAVY


def test_a_start_imports_little(installation: Path) -> None:
    code, modules = imported(installation, "start", "web")
    assert code == 4  # a launcher that does nothing has not started anything, and that was seen
    assert "cloison.plan.start" in modules
    assert heavy(modules) == set()
    assert len([name for name in modules if name.startswith("cloison")]) <= OURS


def test_an_exec_imports_little(installation: Path) -> None:
    code, modules = imported(installation, "exec", "web", "--", "id")
    assert code == 125  # it is not running
    assert heavy(modules) <= {"signal"}  # whose handlers pass signals on


def test_what_carries_an_exec_imports_little(installation: Path) -> None:
    script = (
        "import sys; sys.path[:0] = {path!r}; import cloison.plan.execute, cloison.runtime.relay; print(*sys.modules)"
    )
    assert heavy(set(python(script, installation).split())) <= {"signal"}


def test_a_list_imports_little(installation: Path) -> None:
    code, modules = imported(installation, "ls")
    assert code == 0
    assert heavy(modules) == set()


def test_statistics_import_little(installation: Path) -> None:
    code, modules = imported(installation, "stats")
    assert code == 0
    assert "cloison.engine.ledger" in modules
    assert heavy(modules) == set()


def test_a_start_knows_nothing_of_the_ledger_where_nothing_is_left_to_book(installation: Path) -> None:
    _, modules = imported(installation, "start", "web")
    assert {"cloison.engine.accounting", "cloison.engine.ledger"} & modules == set()


def test_what_settles_a_nic_imports_little(installation: Path) -> None:
    modules = "cloison.engine.acceptance, cloison.engine.following"
    found = python(f"import sys; sys.path[:0] = {{path!r}}; import {modules}; print(*sys.modules)", installation)
    assert heavy(set(found.split())) <= {"zlib"}  # the name of a table of packet rules is a checksum
    assert {"cloison.network.host", "cloison.network.upkeep", "cloison.kernel.netlink"} & set(found.split()) == set()


def test_a_command_spares_itself_typing_extensions(installation: Path) -> None:
    script = (
        "import sys; sys.path[:0] = {path!r}; from cloison.cli import main; main._import_msgspec();"
        "loaded = 'typing_extensions' in sys.modules; import typing_extensions; print(loaded, 'msgspec' in sys.modules)"
    )
    assert python(script, installation).split() == ["False", "True"]  # and whoever wants it has it afterwards


def test_an_option_costs_click_alone(installation: Path) -> None:
    _, modules = imported(installation, "kill", "web")
    assert heavy(modules) <= {"click", "signal"}


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["launch", "--help"]])
def test_help_needs_no_engine(installation: Path, words: list[str]) -> None:
    code, modules = imported(installation, *words)
    assert code == 0
    assert {name for name in modules if name.startswith(("cloison.engine", "cloison.runtime", "sqlite3"))} == set()

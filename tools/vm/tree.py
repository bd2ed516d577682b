"""What is tested, as the archive that the guest unpacks over its root file system.

    cloison/                                    the checkout: what git tracks of tests/ and tools/, pyproject.toml
    cloison/build/{launcher-test,payload}       the tests' programs
    cloison/.run.json                           a Run: what inside.py is to do
    usr/local/lib/python3.11/dist-packages/…    the installed package, launcher included
    usr/bin/cloison                             its command

The package is the one that this checkout's .venv has: what `make build` has built, and the other tests test.
"""

import io
import sysconfig
import tarfile
from pathlib import Path
from typing import Final

import msgspec

from tools.vm.base import CHECKOUT, PYTHON

PROGRAMS: Final = ("launcher-test", "payload")
TRACKED: Final = ("pyproject.toml", "tests", "tools")
COMMAND: Final = b"#!/usr/bin/python3\nimport sys\nfrom cloison.cli.main import main\nsys.exit(main())\n"


class Run(msgspec.Struct, frozen=True):
    """What the guest does: `words` are those after `pytest`; deadlines of its tests are multiplied by `patience`; no
    test may be skipped for want of what a `promised` marker asks for."""

    words: tuple[str, ...]
    patience: float
    promised: tuple[str, ...]
    deadline_s: float  # from the boot


def pack(archive: Path, run: Run) -> None:
    """Write the archive. The time of each file is kept, so that bytecode stays valid."""
    packages = Path(sysconfig.get_path("purelib"))
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in TRACKED:
            tar.add(CHECKOUT / name, f"cloison/{name}", filter=_without_bytecode)
        for name in PROGRAMS:
            tar.add(CHECKOUT / "build" / name, f"cloison/build/{name}", filter=_owned_by_root)
        for path in sorted(packages.glob("cloison*")):
            tar.add(path, f"usr/local/lib/python{PYTHON}/dist-packages/{path.name}", filter=_without_bytecode)
        _add(tar, "cloison/.run.json", msgspec.json.encode(run), 0o644)
        _add(tar, "usr/bin/cloison", COMMAND, 0o755)


def _owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def _without_bytecode(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """This checkout's Python need not be the guest's."""
    return None if "__pycache__" in info.name.split("/") else _owned_by_root(info)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    info = _owned_by_root(tarfile.TarInfo(name))
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))

"""Which images this machine runs."""

from pathlib import Path

import pytest

from cloison.images import architecture
from cloison.kernel import foreign

ENTRY = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: {}\noffset 0\nmagic 7f454c46\n"


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(foreign, "_REGISTERED", str(tmp_path))
    monkeypatch.setattr(architecture, "host_architecture", lambda: "amd64")
    return tmp_path


@pytest.mark.usefixtures("registered")
def test_a_processor_runs_its_own_programs_and_those_of_its_parents() -> None:
    assert architecture.runs_here("amd64")
    assert architecture.runs_here("i386")
    assert not architecture.runs_here("arm64")
    assert not architecture.runs_here("riscv64")


@pytest.mark.usefixtures("registered")
def test_what_nobody_has_heard_of_is_left_to_the_kernel() -> None:
    assert architecture.runs_here("")
    assert architecture.runs_here("z80")


def test_a_registered_interpreter_runs_others_where_it_was_opened_beforehand(registered: Path) -> None:
    (registered / "qemu-aarch64").write_text(ENTRY.format("POCF"))
    assert architecture.runs_here("arm64")
    (registered / "qemu-aarch64").write_text(ENTRY.format("POC"))  # it would be looked for in the instance
    assert not architecture.runs_here("arm64")
    (registered / "qemu-aarch64").write_text(ENTRY.format("POCF").replace("enabled", "disabled"))
    assert not architecture.runs_here("arm64")

"""What a host has: programs, ranges of ids, ceilings, space."""

import os
import struct
from pathlib import Path

import pytest

from cloison.kernel import inventory

PT_LOAD, PT_INTERP = 1, 3


def elf(*kinds: int, is_64: bool = True, is_little: bool = True) -> bytes:
    """The first page of an executable with program headers of these kinds."""
    endian = "<" if is_little else ">"
    ident = b"\x7fELF" + bytes((2 if is_64 else 1, 1 if is_little else 2)) + bytes(10)
    if is_64:
        head = ident + struct.pack(f"{endian}HHIQQQIHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, len(kinds))
        headers = [struct.pack(f"{endian}I52x", kind) for kind in kinds]
        return head + bytes(64 - len(head)) + b"".join(headers)
    head = ident + struct.pack(f"{endian}HHIIIIIHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, len(kinds))
    headers = [struct.pack(f"{endian}I28x", kind) for kind in kinds]
    return head + bytes(52 - len(head)) + b"".join(headers)


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    return tmp_path / "program"


@pytest.mark.parametrize("is_64", [True, False])
@pytest.mark.parametrize("is_little", [True, False])
def test_a_program_with_an_interpreter_is_not_static(executable: Path, is_64: bool, is_little: bool) -> None:  # noqa: FBT001
    executable.write_bytes(elf(PT_LOAD, PT_INTERP, is_64=is_64, is_little=is_little))
    assert not inventory.is_static(str(executable))
    executable.write_bytes(elf(PT_LOAD, PT_LOAD, is_64=is_64, is_little=is_little))
    assert inventory.is_static(str(executable))


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", elf(*[PT_LOAD] * 300)[:4096]])
def test_what_cannot_be_read_as_a_program_is_not_static(executable: Path, content: bytes) -> None:
    executable.write_bytes(content)
    assert not inventory.is_static(str(executable))


def test_ranges_of_ids_are_found_by_name_and_by_number(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("root:100000:65536\nother:200000:65536\n0:300000:1000\nbroken\nroot:x:y\n")
    assert inventory.subordinate_ids(str(file), 0) == ((100000, 65536), (300000, 1000))


def test_a_host_without_that_file_gives_no_range(tmp_path: Path) -> None:
    assert inventory.subordinate_ids(str(tmp_path / "none"), 0) == ()


def test_a_user_without_a_name_is_its_number() -> None:
    assert inventory.user_name(4000000000) == "4000000000"


def test_a_parameter_is_read_by_its_name() -> None:
    assert inventory.ceiling("kernel.pid_max") == int(Path("/proc/sys/kernel/pid_max").read_text())


def test_a_parameter_that_the_kernel_does_not_have_is_none() -> None:
    assert inventory.ceiling("kernel.number_of_angels") is None


def test_space_is_what_this_user_may_use(tmp_path: Path) -> None:
    found = inventory.space(str(tmp_path))
    whole = os.statvfs(tmp_path)
    assert 0 < found.free_bytes <= found.total_bytes == whole.f_blocks * whole.f_frsize

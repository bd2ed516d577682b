"""The cache of filters: what is read from it, and what is made again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloison.kernel import seccomp as door
from cloison.runtime.seccomp import filter_for
from cloison.spec.oci import Seccomp, SeccompArg, SeccompSyscall

PROFILE = Seccomp("SCMP_ACT_ALLOW", syscalls=(SeccompSyscall(("kexec_load",), "SCMP_ACT_ERRNO", 1),))
OTHER = Seccomp("SCMP_ACT_ALLOW", syscalls=(SeccompSyscall(("kexec_load",), "SCMP_ACT_ERRNO", 38),))


class Compiler:
    """Stands in for libseccomp: each program that it makes says how many there were before."""

    def __init__(self, library: Path) -> None:
        self.asked: list[tuple[door.Action, list[door.Rule], tuple[str, ...]]] = []
        self.library = library

    def compile_filter(self, default: door.Action, rules: list[door.Rule], architectures: tuple[str, ...]) -> bytes:
        self.asked.append((default, rules, architectures))
        return b"12345\n%02d" % len(self.asked)

    def library_path(self) -> str:
        return str(self.library)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Compiler]:
    library = tmp_path / "lib seccomp.so.2"
    library.touch()
    compiler = Compiler(library)
    monkeypatch.setattr(door, "compile_filter", compiler.compile_filter)
    monkeypatch.setattr(door, "library_path", compiler.library_path)
    yield compiler


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache" / "seccomp")


def only_file(cache: str) -> Path:
    (path,) = Path(cache).iterdir()
    return path


def test_a_filter_is_compiled_once(compiler: Compiler, cache: str) -> None:
    assert filter_for(PROFILE, cache) == filter_for(PROFILE, cache) == b"12345\n01"


def test_another_profile_has_another_filter(compiler: Compiler, cache: str) -> None:
    assert filter_for(PROFILE, cache) != filter_for(OTHER, cache)


def test_profiles_with_one_checksum_do_not_get_each_others_filter(
    compiler: Compiler, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("binascii.crc32", lambda data: 7)
    assert filter_for(PROFILE, cache) == b"12345\n01"
    assert filter_for(OTHER, cache) == b"12345\n02"
    only_file(cache)


def test_another_libseccomp_makes_another_filter(compiler: Compiler, cache: str) -> None:
    filter_for(PROFILE, cache)
    compiler.library.unlink()
    compiler.library.touch()
    assert filter_for(PROFILE, cache) == b"12345\n02"


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_a_file_that_is_not_whole_is_made_again(compiler: Compiler, cache: str, length: int) -> None:
    filter_for(PROFILE, cache)
    path = only_file(cache)
    path.write_bytes(path.read_bytes()[:length])
    assert filter_for(PROFILE, cache) == b"12345\n02"


def test_a_damaged_program_is_made_again(compiler: Compiler, cache: str) -> None:
    filter_for(PROFILE, cache)
    path = only_file(cache)
    path.write_bytes(path.read_bytes().replace(b"12345", b"12845"))
    assert filter_for(PROFILE, cache) == b"12345\n02"


def test_a_cache_that_cannot_be_written_costs_time_only(compiler: Compiler, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert filter_for(PROFILE, str(tmp_path / "file" / "cache")) == b"12345\n01"


def test_nobody_else_may_write_into_the_cache(compiler: Compiler, cache: str) -> None:
    filter_for(PROFILE, cache)
    assert Path(cache).stat().st_mode & 0o777 == 0o700
    assert only_file(cache).stat().st_mode & 0o777 == 0o600


def test_the_words_of_a_profile_reach_the_compiler(compiler: Compiler, cache: str) -> None:
    argument = SeccompArg(1, 255, "SCMP_CMP_MASKED_EQ", 3)
    filter_for(
        Seccomp(
            "SCMP_ACT_ERRNO",
            default_errno_ret=38,
            architectures=("SCMP_ARCH_X86",),
            syscalls=(SeccompSyscall(("ioctl", "read"), "SCMP_ACT_ALLOW", args=(argument,)),),
        ),
        cache,
    )
    condition = door.Condition(1, "SCMP_CMP_MASKED_EQ", 255, 3)
    rule = door.Rule(("ioctl", "read"), door.Action("SCMP_ACT_ALLOW"), (condition,))
    assert compiler.asked == [(door.Action("SCMP_ACT_ERRNO", 38), [rule], ("SCMP_ARCH_X86",))]

"""What cloison uses of pyseccomp 0.1.2, which brings no types of its own."""

from typing import Protocol, overload

KILL_PROCESS: int
KILL_THREAD: int
TRAP: int
LOG: int
ALLOW: int

NE: int
LT: int
LE: int
EQ: int
GE: int
GT: int
MASKED_EQ: int

def ERRNO(x: int) -> int: ...  # noqa: N802, its own spelling
def TRACE(x: int) -> int: ...  # noqa: N802
def system_arch() -> int: ...
@overload
def resolve_syscall(arch: int, syscall: str) -> int: ...
@overload
def resolve_syscall(arch: int, syscall: int) -> bytes: ...

class _HasFileno(Protocol):
    def fileno(self) -> int: ...

class Arch:
    NATIVE: int
    X86: int
    X86_64: int
    X32: int
    ARM: int
    AARCH64: int
    MIPS: int
    MIPS64: int
    MIPS64N32: int
    MIPSEL: int
    MIPSEL64: int
    MIPSEL64N32: int
    PARISC: int
    PARISC64: int
    PPC: int
    PPC64: int
    PPC64LE: int
    S390: int
    S390X: int
    RISCV64: int

class Arg:
    def __init__(self, arg: int, op: int, data_a: int, data_b: int = 0) -> None: ...

class SyscallFilter:
    def __init__(self, defaction: int) -> None: ...
    def add_arch(self, arch: int) -> None: ...
    def exist_arch(self, arch: int) -> bool: ...
    def add_rule(self, action: int, syscall: int | str, *args: Arg) -> None: ...
    def export_bpf(self, file: _HasFileno) -> None: ...

"""A system call filter for a profile: compiled once, then read from a file.

Compiling takes some 50 ms, nearly all of it to load libseccomp; reading takes a tenth of one. The name of a file is a
checksum, and the file holds what it was made from, which is compared: two profiles with one checksum only take turns.

    <cache_dir>/seccomp-1f0c93aa                one profile on one architecture
        1f0c93aa 1716212345678901234 /usr/lib/x86_64-linux-gnu/libseccomp.so.2.5.4\\n
        `- checksum of the rest     `- when that file was last changed     `- the libseccomp that compiled it
        x86_64 {"defaultAction":"SCMP_ACT_ALLOW",...}\\n
        the program, as `kernel.seccomp` describes it

A file that cannot be read, is not whole, or was made by another libseccomp is made again. It is written beside and
renamed, so two that make it at the same time do no harm, and there is no lock. `cache_dir` must belong to the user:
whoever can write there chooses the filters.
"""

import binascii
import contextlib
import os

import msgspec

from cloison.kernel import seccomp as door
from cloison.spec.oci import Seccomp, SeccompSyscall


def filter_for(profile: Seccomp, cache_dir: str) -> bytes:
    """The program that carries out `profile` on this machine.

    Raises Invalid for a profile that cannot be compiled, Unsupported where there is no libseccomp."""
    wanted = os.uname().machine.encode() + b" " + msgspec.json.encode(profile)
    path = f"{cache_dir}/seccomp-{binascii.crc32(wanted):08x}"
    program = _kept(path, wanted)
    if program is None:
        program = _compiled(profile)
        with contextlib.suppress(OSError):  # who may not write there, or finds the disk full, compiles each time
            _keep(path, wanted, program)
    return program


def _kept(path: str, wanted: bytes) -> bytes | None:
    """The program in the file `path`; None where it is missing, damaged, out of date or of another profile."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        content = os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    head, _, rest = content.partition(b"\n")
    profile, _, program = rest.partition(b"\n")
    if profile != wanted or not program:
        return None
    checksum, changed_ns, library = head.split(b" ", 2)
    if checksum != b"%08x" % binascii.crc32(rest) or changed_ns != _changed_ns(os.fsdecode(library)):
        return None
    return program


def _keep(path: str, wanted: bytes, program: bytes) -> None:
    library = door.library_path()
    rest = wanted + b"\n" + program
    head = b"%08x %s %s\n" % (binascii.crc32(rest), _changed_ns(library), os.fsencode(library))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    beside = f"{path}.{os.urandom(4).hex()}"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, head + rest)
    finally:
        os.close(fd)
    os.rename(beside, path)


def _changed_ns(path: str) -> bytes:
    try:
        return b"%d" % os.stat(path).st_mtime_ns
    except OSError:
        return b"gone"


def _compiled(profile: Seccomp) -> bytes:
    default = door.Action(profile.default_action, profile.default_errno_ret)
    return door.compile_filter(default, [_rule(syscall) for syscall in profile.syscalls], profile.architectures)


def _rule(syscall: SeccompSyscall) -> door.Rule:
    conditions = tuple(door.Condition(arg.index, arg.op, arg.value, arg.value_two) for arg in syscall.args)
    return door.Rule(syscall.names, door.Action(syscall.action, syscall.errno_ret), conditions)

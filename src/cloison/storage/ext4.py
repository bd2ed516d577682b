"""An ext4 on a file or a block device: made, checked, made larger and smaller.

Source: mke2fs(8), e2fsck(8), resize2fs(8).
"""

import re

from cloison.base.errors import Host, Invalid
from cloison.base.units import exact_size, format_size
from cloison.storage.programs import Programs

LEAST_BYTES = 16 << 20
NO_INODES = "the number of inodes of an ext4 is settled when it is made"
_BLOCK_BYTES = 4096
_EMPTY = "assume_storage_prezeroed=1,nodiscard,root_owner=0:0"  # it is new: there is nothing to be zeroed


def rounded(length: int) -> int:
    """Whole blocks. Raises Invalid for what is too small for an ext4."""
    expect_enough("limits.disk", length)
    return -(-length // _BLOCK_BYTES) * _BLOCK_BYTES


def expect_enough(key: str, length: int) -> None:
    """Raises Invalid for what is too small for an ext4."""
    if length < LEAST_BYTES:
        raise Invalid(
            f"{key}={exact_size(length)} is too little for a file system",
            hint=f"the least is {exact_size(LEAST_BYTES)}",
        )


def make(programs: Programs, at: str, *, inodes: int | None, has_user_quotas: bool = False) -> None:
    """A new one, on what is empty."""
    options = ["-N", str(inodes)] if inodes is not None else []
    if has_user_quotas:
        options += ["-O", "quota", "-E", f"{_EMPTY},quotatype=usrquota:grpquota"]
    else:
        options += ["-E", _EMPTY]
    programs.run("mkfs.ext4", "-q", "-F", "-m", "0", *options, at)


def replay(programs: Programs, at: str) -> None:
    """Put into place what is in the journal of a copy of one that was mounted."""
    programs.run("e2fsck", "-E", "journal_only", "-y", at, fine=(0, 1))


def check(programs: Programs, at: str) -> None:
    """What resize2fs wants first. Source: e2fsck(8), "EXIT CODE": 1 is "errors corrected", a journal's replay too."""
    programs.run("e2fsck", "-f", "-p", at, fine=(0, 1))


def grow(programs: Programs, at: str) -> None:
    """As large as the device that it is on."""
    programs.run("resize2fs", at)


def shrink(programs: Programs, at: str, wanted: int) -> None:
    """Make one that is not mounted smaller. Raises Invalid for less than is used.

    resize2fs says how many blocks it needs at least: "New size smaller than minimum (4711)"."""
    check(programs, at)
    try:
        programs.run("resize2fs", at, f"{wanted // 1024}K")
    except Host as problem:
        needed = re.search(r"smaller than minimum \((\d+)\)", problem.sentence)
        if needed is None:
            raise
        least = format_size(int(needed[1]) * _block_bytes(at))
        raise Invalid(
            f"limits.disk={exact_size(wanted)} is less than what is used: at least {least} are needed",
            hint="delete files inside, or choose more",
        ) from problem


def _block_bytes(at: str) -> int:
    """Small ones have blocks of 1 KiB: s_log_block_size, at byte 24 of its superblock, which begins at byte 1024."""
    with open(at, "rb") as file:
        file.seek(1024 + 24)
        return 1024 << int.from_bytes(file.read(4), "little")

"""Programs for other processors that this kernel has an interpreter for.

Source: Documentation/admin-guide/binfmt-misc.rst; update-binfmts(8), which Debian's qemu-user-static calls.
"""

_REGISTERED = "/proc/sys/fs/binfmt_misc"


def interprets(machine: str) -> bool:
    """Whether programs for `machine`, as QEMU calls it ("aarch64"), are run by QEMU here, also in instances: the
    interpreter was opened when it was registered (flag F)."""
    try:
        with open(f"{_REGISTERED}/qemu-{machine}", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    return "enabled" in lines and any(line.startswith("flags:") and "F" in line[6:] for line in lines)

"""Names of processor architectures, as Debian and the OCI write them (they agree on those that there are here)."""

import os

from cloison.kernel import foreign

_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386", "ppc64le": "ppc64el"}
_QEMU = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armel": "arm",
    "armhf": "arm",
    "i386": "i386",
    "mips64el": "mips64el",
    "ppc64el": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
_RUN_TOO = {"amd64": ("i386",), "arm64": ("armel", "armhf")}  # the processor itself runs these


def host_architecture() -> str:
    """The architecture of this kernel: "amd64"."""
    machine = os.uname().machine
    return _NAMES.get(machine, machine)


def runs_here(architecture: str) -> bool:
    """Whether this machine runs programs of an architecture: its own, one that its processor knows as well, or one that
    the kernel has an interpreter for. Of what nobody here has heard of, the kernel is to judge."""
    host = host_architecture()
    if architecture == host or architecture in _RUN_TOO.get(host, ()) or architecture not in _QEMU:
        return True
    return foreign.interprets(_QEMU[architecture])

"""Names of processor architectures, as Debian and the OCI write them (they agree on those that there are here)."""

import os

_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386", "ppc64le": "ppc64el"}


def host_architecture() -> str:
    """The architecture of this kernel: "amd64"."""
    machine = os.uname().machine
    return _NAMES.get(machine, machine)

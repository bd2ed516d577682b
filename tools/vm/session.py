"""One run of the guest: what it is asked to do, and where what comes out of it is left (build/vm)."""

import os
import shutil
import sys
from typing import Final

from tools.vm import base, images, machine, tree

PLACE: Final = base.CHECKOUT / "build" / "vm"
SELECTED: Final = ("-m", "guest", "tests/integration", "tests/kernel", "tests/vm")
PROMISED: Final = (
    "needs_bridge_vlan",
    "needs_cgroup",
    "needs_cgroup2",
    "needs_ipvlan",
    "needs_lvm",
    "needs_lxcfs",
    "needs_project_quotas",
    "needs_pure_v2",
    "needs_root",
    "needs_vlan",
)
PROMISED_TOO: Final = ("needs_systemd_host", "needs_userns", "debian")
PATIENCE: Final = 5.0  # emulation makes programs about ten times slower; deadlines of tests are generous already
DEADLINE_S: Final = 3000.0
NEEDED: Final = {"qemu-system-x86_64": "qemu-system-x86", "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs"}


def missing_here() -> str:
    """What this machine lacks to run the guest, or nothing."""
    if os.geteuid() != 0:
        return "not root"
    lost = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    return f"Debian package not installed: {', '.join(lost)}" if lost else ""


def run(words: tuple[str, ...] = SELECTED) -> machine.Results:
    """Build what is missing, boot, and print what the tests say. Raises cache.Failed, CloisonError, machine.Hung."""
    disks = machine.Disks(base.obtain(), PLACE / "tree.tar", images.obtain())
    PLACE.mkdir(parents=True, exist_ok=True)
    tree.pack(disks.tree, tree.Run(words, PATIENCE, (*PROMISED, *PROMISED_TOO), DEADLINE_S))
    return machine.run(disks, PLACE, deadline_s=DEADLINE_S, hear=_say)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()

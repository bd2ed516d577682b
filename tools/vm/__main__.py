"""The command: `make test-vm`, or `.venv/bin/python -m tools.vm [WORDS FOR PYTEST]`.

Exit code: pytest's own; 6 where there is no guest to run it in, 70 where the guest ended without results. What came
out of it is left in build/vm.
"""

import os
import shutil
import sys
import time
from pathlib import Path

from tools.vm import base, machine, tree

PLACE = base.CHECKOUT / "build" / "vm"
SELECTED = ("-m", "guest", "tests/integration", "tests/kernel", "tests/vm")
PATIENCE = 10.0
DEADLINE_S = 1500.0
NEEDED = {"qemu-system-x86_64": "qemu-system-x86", "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs"}


def main(words: tuple[str, ...]) -> int:
    """Run the tests of `words`, or those marked `guest`, in the guest."""
    if missing := missing_here():
        print(f"cloison: no guest: {missing}", file=sys.stderr)
        return 6
    began = time.monotonic()
    try:
        results = run_guest(words or SELECTED)
    except (base.Failed, machine.Hung) as failure:
        print(f"cloison: {failure}", file=sys.stderr)
        return 70
    passed = time.monotonic() - began
    print(f"cloison: the guest took {passed:.0f} s; systemd was up after {results.booted_s:.0f} s", file=sys.stderr)
    return results.code


def missing_here() -> str:
    """What this machine lacks to run the guest, or nothing."""
    if os.geteuid() != 0:
        return "not root"
    lost = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    return f"Debian package not installed: {', '.join(lost)}" if lost else ""


def run_guest(words: tuple[str, ...], place: Path = PLACE) -> machine.Results:
    """Build what is missing, boot, and follow the tests. Raises base.Failed, machine.Hung."""
    image = base.obtain()
    place.mkdir(parents=True, exist_ok=True)
    archive = place / "tree.tar"
    tree.pack(archive, tree.Run(words, PATIENCE))
    return machine.run(image, archive, place, deadline_s=DEADLINE_S, hear=_say)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))

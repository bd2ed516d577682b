"""The command: `make test-vm`, or `.venv/bin/python -m tools.vm [WORDS FOR PYTEST]`.

Exit code: pytest's own; 6 where there can be no guest, 70 where it ended without results. What came out of it is left
in build/vm.
"""

import sys
import time

from cloison.base.errors import CloisonError
from tools.vm import cache, machine, session


def main(words: tuple[str, ...]) -> int:
    """Run the tests of `words`, or those marked `guest`, in the guest."""
    if missing := session.missing_here():
        print(f"cloison: no guest: {missing}", file=sys.stderr)
        return 6
    began = time.monotonic()
    try:
        results = session.run(words or session.SELECTED)
    except CloisonError as failure:
        print(f"cloison: no guest: {failure}", file=sys.stderr)
        return 6
    except (cache.Failed, machine.Hung) as failure:
        print(f"cloison: {failure}", file=sys.stderr)
        return 70
    passed = time.monotonic() - began
    print(f"cloison: the guest took {passed:.0f} s; systemd was up after {results.booted_s:.0f} s", file=sys.stderr)
    return results.code


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))

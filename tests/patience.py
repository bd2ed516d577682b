"""How long a test waits for what comes soon: longer on a machine that is emulated, in the guest of `make test-vm`.

These are deadlines for what has gone wrong, not measurements: where all is well, nobody waits that long.
"""

import os

FACTOR = float(os.environ.get("CLOISON_TEST_PATIENCE") or 1)


def patient(seconds: float) -> float:
    """So many seconds on a machine of today, and as much longer as this one is slower."""
    return seconds * FACTOR

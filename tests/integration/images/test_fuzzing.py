"""A few seconds of archives that nobody has thought of; `make fuzz` takes longer, and lets coverage lead it."""

import os

import pytest

from tests.fuzz.archives import by_chance

pytestmark = pytest.mark.needs_root
SECONDS = float(os.environ.get("CLOISON_FUZZ_SECONDS", "15"))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_no_archive_reaches_outside_or_breaks_the_unpacker() -> None:
    number = int.from_bytes(os.urandom(4))
    count, whole = by_chance(SECONDS, number)
    assert count > 50 and 0 < whole < count, (number, count, whole)
